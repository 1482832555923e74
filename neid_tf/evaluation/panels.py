"""Figures that compare pictures: labelled panels side by side, with enlarged crops below each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from neid_tf import pictures
from neid_tf.evaluation import scores
from neid_tf.evaluation.crops import Crop
from neid_tf.pixels.samples import to_8_bit
from neid_tf.support.errors import NeidError

CELL, GAP, FRAME = 320, 8, 2
"""Width of a panel, space around it, and width of the frames of crops, in pixels."""

LABEL_HEIGHT, LABEL_SIZE = 26, 17
"""Height of a label and the size of its letters, in pixels."""

COLOURS = ((230, 40, 40), (40, 130, 255), (255, 190, 0), (40, 200, 80))
"""RGB of the frames of the first crop, the second, and so on."""

_MOST_COLUMNS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """A picture and the label above it.

    Attributes:
        label: one line of text.
        pixels: uint8 H×W×3 RGB.

    Raises:
        ValueError: if pixels have another shape or type.
    """

    label: str
    pixels: np.ndarray

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
            raise NeidError(f"a panel's pixels are uint8 H×W×3, not {dtype} {shape}")


def read(path: Path | str, report: Callable[[str], object] | None = None) -> np.ndarray:
    """Return a picture file's pixels as uint8 RGB, H×W×3, as figures show and score them.

    Args:
        path: the file.
        report: as for :func:`neid_tf.pictures.read_pixels`.

    Raises:
        PictureError: where the file can't be read.
    """
    return to_8_bit(pictures.read_pixels(path, report))


def read_reference(
    path: Path | str,
    source: Path | str,
    low: np.ndarray,
    report: Callable[[str], object] | None = None,
) -> np.ndarray:
    """Return the pixels of a reference, uint8 RGB.

    Args:
        path: the reference's file.
        source: the picture's file, for the message.
        low: the picture, H×W×3.
        report: as for :func:`neid_tf.pictures.read_pixels`.

    Raises:
        NeidError: where the reference has another size than the picture, or too small a one.
        PictureError: where the file can't be read.
    """
    reference = read(path, report)
    if reference.shape != low.shape:
        sizes = [f"{p.shape[1]}×{p.shape[0]}" for p in (reference, low)]
        raise NeidError(f"{path}: {sizes[0]}, but {source} is {sizes[1]}")
    if min(low.shape[:2]) < scores.SMALLEST:
        size = f"{low.shape[1]}×{low.shape[0]}"
        raise NeidError(f"{path}: {size}, scores take at least {scores.SMALLEST}×{scores.SMALLEST}")
    return reference


def compare(
    picture: np.ndarray,
    methods: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    reference: np.ndarray | None = None,
) -> list[Panel]:
    """Return panels of a picture, what each method makes of it, and the reference.

    Args:
        picture: uint8 H×W×3 RGB.
        methods: functions from such a picture to an enhanced one, by their labels.
        reference: the same shape; PSNR and SSIM of the others are then in their labels. They are
            those of :mod:`neid_tf.evaluation.scores`.

    Raises:
        ValueError: for a reference of another shape or type, or smaller than 11×11.
    """
    shown = {"Input": picture}
    for label, method in methods.items():
        shown[label] = method(picture)
    if reference is None:
        return [Panel(label, pixels) for label, pixels in shown.items()]
    scored = [Panel(_scored(label, reference, p), p) for label, p in shown.items()]
    return [*scored, Panel("Reference", reference)]


def _scored(label, reference, output):
    scored = scores.score(reference, output)
    return f"{label}  {scored['psnr']:.2f} dB / {scored['ssim']:.3f}"


def figure(
    panels: Sequence[Panel], crops: Sequence[Crop] = (), columns: int | None = None
) -> np.ndarray:
    """Draw panels in rows on white: label, picture, and below it the crops, enlarged.

    Pictures are scaled to :data:`CELL` at their longer side. Each crop is framed in its colour,
    in the picture as well, and enlarged without smoothing.

    Args:
        panels: at least one, of pictures of one size.
        crops: up to one for each of :data:`COLOURS`.
        columns: panels in a row; None for five at most, in rows of about one length.

    Returns:
        uint8 RGB.

    Raises:
        ValueError: for no panels, pictures of several sizes, too many crops, a crop that is not
            inside the pictures, or less than one column.
    """
    _check(panels, crops, columns)
    columns = columns or math.ceil(len(panels) / math.ceil(len(panels) / _MOST_COLUMNS))
    cells = [_cell(panel, crops) for panel in panels]
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
    return np.concatenate(rows, axis=0)


def _check(panels, crops, columns):
    sizes = {panel.pixels.shape for panel in panels}
    if len(sizes) != 1:
        raise NeidError(f"a figure has pictures of one size, not of {sorted(sizes) or 'none'}")
    if len(crops) > len(COLOURS):
        raise NeidError(f"at most {len(COLOURS)} crops have room in a figure, not {len(crops)}")
    if columns is not None and columns < 1:
        raise NeidError(f"a figure has at least one column, not {columns}")


def _cell(panel, crops):
    """Draw one panel, :data:`CELL` wide within its margin."""
    shown = _fit(panel.pixels, CELL, CELL)
    parts = [label(panel.label), _centred(_with_frames(shown, panel.pixels.shape, crops))]
    if crops:
        room = (CELL - GAP * (len(crops) - 1)) // len(crops)
        parts += [np.full((GAP, CELL, 3), 255, np.uint8)]
        parts += [_centred(_side_by_side([_zoomed(panel, *c, room) for c in _coloured(crops)]))]
    margin = [(GAP // 2, GAP), (GAP // 2, GAP // 2), (0, 0)]
    return np.pad(np.concatenate(parts, axis=0), margin, constant_values=255)


def _coloured(crops):
    return list(zip(crops, COLOURS, strict=False))


def _fit(pixels, width, height):
    """Scale a picture to touch a box from inside."""
    factor = min(width / pixels.shape[1], height / pixels.shape[0])
    size = [max(round(length * factor), 1) for length in pixels.shape[1::-1]]
    enlarge = cv2.INTER_NEAREST if factor > 1.0 else cv2.INTER_AREA
    return cv2.resize(pixels, size, interpolation=enlarge)


def _with_frames(shown, shape, crops):
    """Draw the crops' frames into a picture that was scaled from ``shape``."""
    shown = np.ascontiguousarray(shown).copy()
    down, across = shown.shape[0] / shape[0], shown.shape[1] / shape[1]
    for crop, colour in _coloured(crops):
        first = (round(crop.left * across), round(crop.top * down))
        right, bottom = crop.left + crop.width, crop.top + crop.height
        last = (round(right * across) - 1, round(bottom * down) - 1)
        cv2.rectangle(shown, first, last, colour, FRAME)
    return shown


def _zoomed(panel, crop, colour, room):
    inner = _fit(crop.of(panel.pixels), room - 2 * FRAME, room - 2 * FRAME)
    framed = np.empty((inner.shape[0] + 2 * FRAME, inner.shape[1] + 2 * FRAME, 3), np.uint8)
    framed[:] = colour
    framed[FRAME:-FRAME, FRAME:-FRAME] = inner
    return framed


def _side_by_side(pictures):
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + GAP * (len(pictures) - 1)
    row, left = np.full((height, width, 3), 255, np.uint8), 0
    for picture in pictures:
        row[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + GAP
    return row


def _centred(pixels):
    left = (CELL - pixels.shape[1]) // 2
    sides = [(0, 0), (left, CELL - pixels.shape[1] - left), (0, 0)]
    return np.pad(pixels, sides, constant_values=255)


def label(text: str) -> np.ndarray:
    """Draw one line of text, black on white, smaller where it is too long for a panel.

    Returns:
        uint8 RGB, :data:`LABEL_HEIGHT` × :data:`CELL`.
    """
    image = Image.new("RGB", (CELL, LABEL_HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    size = LABEL_SIZE
    while size > 4 and draw.textlength(text, font=ImageFont.load_default(size)) > CELL:
        size -= 1
    middle = (CELL / 2, LABEL_HEIGHT / 2)
    draw.text(middle, text, fill="black", font=ImageFont.load_default(size), anchor="mm")
    return np.asarray(image)


def stack(figures: Sequence[np.ndarray]) -> np.ndarray:
    """Lay figures one below the other, on white.

    Raises:
        ValueError: for no figures.
    """
    if not figures:
        raise NeidError("there are no figures to lay below each other")
    widest = max(figure.shape[1] for figure in figures)
    sides = [[(0, 0), (0, widest - f.shape[1]), (0, 0)] for f in figures]
    padded = [np.pad(f, s, constant_values=255) for f, s in zip(figures, sides, strict=True)]
    return np.concatenate(padded, axis=0)
