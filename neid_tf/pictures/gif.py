"""GIF: its frames, which Pillow decodes, and its extensions, which hold the metadata."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy as np
from PIL import GifImagePlugin

from neid_tf.pictures import budget, metadata
from neid_tf.pictures.pillow import opened, raster_of
from neid_tf.pictures.raster import Raster, with_channels

_EXTENSION, _END, _KNOWN = 0x21, 0x3B, re.compile(rb"[\x21\x2c\x3b]")
_APPLICATION, _COMMENT, _CONTROL, _PLAIN_TEXT = 0xFF, 0xFE, 0xF9, 0x01
_XMP, _ICC, _LOOPS = b"XMP DataXMP", b"ICCRGBG1012", (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_XMP_END = b"\x01\xff\xfe\xfd"  # Bytes that lead to the end of any block.
_PALETTE = 0x80
_CUT = "it has no end: what it held behind its last frame, maybe further ones, is lost"


@dataclasses.dataclass
class _Found:
    """What a file holds beside its frames, and where it ends; 0 where it has no end."""

    xmp: bytes | None = None
    icc: bytes | None = None
    comments: dict[bytes, None] = dataclasses.field(default_factory=dict)
    unknown: set[bytes] = dataclasses.field(default_factory=set)
    end: int = 0


def decode_gif(data: bytes, max_pixels: int) -> Raster:
    """Decode the first frame of a GIF; :func:`decode_gif_frames` gives all.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    with opened(GifImagePlugin.GifImageFile, data, max_pixels) as image:
        # Counting the frames goes through the file once, and decodes none.
        return _with_metadata(raster_of(image, pages=image.n_frames), data)


def decode_gif_frames(data: bytes, max_pixels: int) -> Iterator[Raster]:
    """Yield the frames of a GIF, each as the whole picture that is shown.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    with opened(GifImagePlugin.GifImageFile, data, max_pixels) as image:
        budget.check_effort(image.n_frames * image.width * image.height, max_pixels, "its frames")
        first = _with_metadata(raster_of(image, pages=image.n_frames), data)
        height, width = first.samples.shape[:2]
        for number in range(image.n_frames):
            image.seek(number)
            budget.check_size(*image.size, max_pixels)
            # What lies beyond is not shown; for such a frame Pillow makes the picture larger.
            samples = with_channels(np.asarray(image.convert("RGBA")))[:height, :width]
            wait = image.info.get("duration", 0) / 1000
            extras = dataclasses.replace(first.extras, duration=wait, loops=_plays(image))
            yield dataclasses.replace(first, samples=samples, extras=extras)


def _plays(image):
    """Return how often it plays: browsers play it once, and then as often as it tells."""
    repeats = image.info.get("loop")
    return 1 if repeats is None else repeats and repeats + 1


def _with_metadata(raster: Raster, data: bytes) -> Raster:
    """Return a raster with what Pillow passes over in the file, and told of what is left out."""
    found = _walked(data)
    notes = metadata.left_out("extensions", found.unknown)
    notes += metadata.behind_left_out(data[found.end :]) if found.end else (_CUT,)
    extras = dataclasses.replace(raster.extras, xmp=found.xmp, comments=tuple(found.comments))
    return dataclasses.replace(raster, icc=found.icc, extras=extras, notes=(*raster.notes, *notes))


def _walked(data: bytes) -> _Found:
    """Go through the blocks of a file; what is cut ends them."""
    found, at = _Found(), 13 + _palette_bytes(data[10:11])
    # Decoders pass over what is none of these.
    while start := _KNOWN.search(data, at):
        at, kind = start.end(), data[start.start()]
        if kind == _END:
            found.end = at
            return found
        blocks = at + 1 if kind == _EXTENSION else at + 10 + _palette_bytes(data[at + 8 : at + 9])
        after = _end_of(data, blocks)
        if not after:
            return found
        if kind == _EXTENSION:
            _take(found, data[at], data[blocks:after])
        at = after
    return found


def _palette_bytes(flags: bytes) -> int:
    """Return how long the palette is that flags announce."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & _PALETTE else 0


def _end_of(data: bytes, at: int) -> int:
    """Return what is behind the blocks from a place on, which an empty one ends; 0 for none."""
    while at < len(data):
        length = data[at]
        at += 1 + length
        if not length:
            return at
    return 0


def _joined(blocks: bytes) -> bytes:
    """Return what is in blocks."""
    found, at = bytearray(), 0
    while at < len(blocks):
        start, at = at + 1, at + 1 + blocks[at]
        found += blocks[start:at]
    return bytes(found)


def _take(found: _Found, label: int, blocks: bytes) -> None:
    """Keep what an extension holds, or its name."""
    name, rest = blocks[1 : 1 + blocks[0]], blocks[1 + blocks[0] :]
    if label == _COMMENT:
        found.comments[_joined(blocks)] = None  # Many say it anew with each frame.
    elif label == _PLAIN_TEXT:
        found.unknown.add(b"plain text")
    elif label == _CONTROL or name in _LOOPS:
        return
    elif label != _APPLICATION:
        found.unknown.add(b"0x%02X" % label)
    elif name == _XMP and _XMP_END in rest:
        # It lies as it is and not in blocks: of their lengths there are none in it.
        found.xmp = rest[: rest.index(_XMP_END)]
    elif name == _ICC:
        found.icc = _joined(rest)
    else:
        found.unknown.add(name)
