"""How the frames of a video are coded: colour, direction, and what gets lost of it."""

from __future__ import annotations

import contextlib
import dataclasses
import typing

import numpy as np

if typing.TYPE_CHECKING:
    import av

ACCURATE = 0x4 | 0x2000 | 0x4000 | 0x40000
"""Bicubic, full chroma, accurate rounding: what swscale does by default darkens by a level."""
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""The colour matrices of ISO/IEC 23091-2 that swscale knows, in its own numbers."""

TRANSPARENT = "transparency is not kept"
"""What is said of a video that has an alpha."""
SPHERICAL = "it is a 360° video: that mark is left out, so players show it flat"
"""What is said of one."""
STEREO = "it is a stereoscopic video: that mark is left out, so players show both pictures"
"""What is said of one."""
_MARKS = {
    "SPHERICAL": SPHERICAL,
    "STEREO3D": STEREO,
    "A53_CC": "the captions in its frames (CEA-608, CEA-708) are left out",
}

_BT709, _BT601, _UNSPECIFIED = 1, 6, 2
_LIMITED_RANGE, _FULL_RANGE, _HDR_CURVES = 1, 2, (16, 18)


@dataclasses.dataclass(frozen=True)
class Color:
    """How a video codes colour, in the numbers of ISO/IEC 23091-2.

    ``matrix`` is the one to compute with; ``tag`` the one to write, which may be "unspecified".
    """

    matrix: int
    tag: int
    range: int
    primaries: int
    curve: int

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Color:
        """Read it off a PyAV frame. The matrix that is not told is guessed as players do."""
        guess = _BT709 if frame.height >= 720 or frame.width >= 1280 else _BT601
        matrix = frame.colorspace if frame.colorspace in MATRICES else guess
        full = frame.color_range == _FULL_RANGE or frame.format.name.startswith(("yuvj", "gray"))
        return cls(
            matrix=matrix,
            tag=_UNSPECIFIED if frame.colorspace == _UNSPECIFIED else matrix,
            range=_FULL_RANGE if full and not frame.format.is_rgb else _LIMITED_RANGE,
            primaries=frame.color_primaries,
            curve=frame.color_trc,
        )


def lost_properties(frame: av.VideoFrame) -> list[str]:
    """Return what of a PyAV frame the written file, 8 bits and 4:2:0, can't hold; a line each."""
    notes, parts = [], frame.format.components
    bits = max(part.bits for part in parts)
    if frame.interlaced_frame:
        notes.append("interlaced, but enhanced and written as whole frames")
    if frame.color_trc in _HDR_CURVES:
        notes.append("HDR levels are enhanced like ordinary ones and written in 8 bits")
    elif bits > 8:
        notes.append(f"{bits} bits a sample, written in 8")
    if any(part.is_alpha for part in parts):
        notes.append(TRANSPARENT)
    notes += [_MARKS[name] for name in marks(frame)]
    if _has_fine_colour(frame.format):
        notes.append("colour is written at half the resolution (4:2:0)")
    return notes


def marks(frame: av.VideoFrame) -> tuple[str, ...]:
    """Return which marks that get lost a PyAV frame has, by the names of FFmpeg."""
    with contextlib.suppress(ValueError):  # PyAV does not know all kinds of side data.
        found = {data.type.name for data in frame.side_data}
        return tuple(name for name in _MARKS if name in found)
    return ()


def _has_fine_colour(layout):
    """Tell whether a pixel format has more colour samples than one for 2×2 pixels."""
    if layout.is_rgb or layout.has_palette:
        return True
    has_colour = sum(not part.is_alpha for part in layout.components) == 3
    return has_colour and (layout.chroma_width(16), layout.chroma_height(16)) != (8, 8)


def reformatter() -> av.video.reformatter.VideoReformatter:
    """Return a converter between pixel formats; each keeps the tables of its conversion."""
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def to_rgb(
    converter: av.video.reformatter.VideoReformatter,
    frame: av.VideoFrame,
    color: Color,
    size: tuple[int, int] | None = None,
    layout: str = "rgb24",
) -> np.ndarray:
    """Return the pixels of a frame, H×W×3.

    Args:
        converter: from :func:`reformatter`.
        frame: a PyAV frame.
        color: how it codes colour.
        size: width and height of the result; None for its own.
        layout: of the result, as FFmpeg calls it.
    """
    width, height = size or (frame.width, frame.height)
    return converter.reformat(
        frame,
        width=width,
        height=height,
        format=layout,
        src_colorspace=MATRICES[color.matrix],
        src_color_range=color.range,
        interpolation=ACCURATE,
    ).to_ndarray()


def to_yuv(
    converter: av.video.reformatter.VideoReformatter,
    pixels: np.ndarray,
    color: Color,
    size: tuple[int, int],
) -> av.VideoFrame:
    """Return pixels as a frame that encoders take, 8 bits and 4:2:0.

    Args:
        converter: from :func:`reformatter`.
        pixels: H×W×3 uint8.
        color: how the frame is to code colour.
        size: width and height of the frame; where it is larger, the edge is repeated.
    """
    import av

    width, height = size
    padding = (0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)
    return converter.reformat(
        av.VideoFrame.from_ndarray(np.pad(pixels, padding, mode="edge")),
        format="yuv420p",
        dst_colorspace=MATRICES[color.matrix],
        dst_color_range=color.range,
        interpolation=ACCURATE,
    )


def display_matrix(frame: av.VideoFrame) -> list[int] | None:
    """Return the nine numbers that say how a PyAV frame is to be turned, or None."""
    try:
        for data in frame.side_data:
            if data.type.name == "DISPLAYMATRIX":
                return np.frombuffer(data, np.int32).tolist()
    except ValueError:  # PyAV does not know all kinds of side data.
        return None


@dataclasses.dataclass(frozen=True)
class Turn:
    """How players turn frames that are stored otherwise; calling it turns N×H×W×C so.

    Attributes:
        swapped: rows become columns, first.
        rows: the rows are then shown in reversed order.
        columns: likewise.
    """

    swapped: bool = False
    rows: bool = False
    columns: bool = False

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return frames as they are shown."""
        return self._mirrored(np.swapaxes(images, 1, 2) if self.swapped else images)

    def back(self, images: np.ndarray) -> np.ndarray:
        """Return frames as they are stored."""
        images = self._mirrored(images)
        return np.swapaxes(images, 1, 2) if self.swapped else images

    def _mirrored(self, images):
        return images[:, :: -1 if self.rows else 1, :: -1 if self.columns else 1]


def upright(frame: av.VideoFrame) -> Turn:
    """Return how the frames of a video are turned when they are shown.

    Args:
        frame: a frame of the video, whose side data say how it is to be turned. Turns that are
            no quarters are left out.
    """
    matrix = display_matrix(frame)
    if matrix is None:
        turns = round(frame.rotation / 90) % 4
        return Turn(turns % 2 == 1, turns in (1, 2), turns in (2, 3))
    a, b, _, c, d = matrix[:5]
    if abs(a) + abs(d) < abs(b) + abs(c):
        return Turn(True, b < 0, c < 0)
    return Turn(False, d < 0, a < 0)
