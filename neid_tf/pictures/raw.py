"""Camera raw, developed with LibRaw (rawpy, the extra ``raw``); and its EXIF."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from neid_tf.pictures import budget, marks
from neid_tf.pictures.exif import (
    EXIF_DIRECTORY,
    ORIENTATION,
    PLACE_DIRECTORY,
    rewritten,
    with_texts,
)
from neid_tf.pictures.jpeg import segments
from neid_tf.pictures.raster import FormatError, Raster
from neid_tf.pictures.tiff import exif_of_directory
from neid_tf.support.libraries import optional_import

_FUJI, _PANASONIC = b"FUJIFILMCCD-RAW", b"IIU\0"
_OLYMPUS = (b"IIRO", b"IIRS", b"MMOR")
_STARTS = (_FUJI, _PANASONIC, *_OLYMPUS, b"FOVb", b"\0MRM")
_CANON_BOXES = b"ftypcrx "
_PHASE_ONE = (b"IIII", b"MMMM")
_PHOTOMETRIC, _SUB_DIRECTORIES, _XMP = 262, 330, 700
_SENSOR, _LINEAR = 32803, 34892
_MOST_DIRECTORIES, _MOST_BELOW = 20_000, 64
_SRGB = (2.4, 12.92)
"""Exponent and slope at the dark end of the sRGB curve."""


def is_raw(data: bytes) -> bool:
    """Tell whether a file is a camera's raw one.

    Many are TIFFs whose first page is a thumbnail. What is taken for one says that it is a DNG, or
    has a page of a sensor's samples, wherever it is: 64 bytes of a file do not tell that.
    """
    if data.startswith(_STARTS) or data[4:12] == _CANON_BOXES:
        return True
    if not data.startswith(marks.TIFF):
        return False
    if data[8:10] == b"CR" or data[8:12] in _PHASE_ONE:
        return True
    return any(
        marks.DNG_VERSION in found or found.get(_PHOTOMETRIC) in (_SENSOR, _LINEAR)
        for found in _directories(data)
    )


def _directories(data: bytes) -> Iterator[dict[int, int]]:
    """Yield the entries of each directory of a TIFF, and of those below; damage ends them."""
    order, is_big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    layout = [("tag", "u2"), ("kind", "u2"), ("count", "u8" if is_big else "u4")]
    entry = np.dtype([(name, order + kind) for name, kind in layout] + [("value", "V8")])
    if not is_big:
        entry = np.dtype([*entry.descr[:3], ("value", "V4")])
    address = order + ("Q" if is_big else "I")
    with contextlib.suppress(struct.error, ValueError):
        pending, seen = [struct.unpack_from(address, data, 8 if is_big else 4)[0]], set()
        while pending and len(seen) < _MOST_DIRECTORIES:
            at = pending.pop(0)
            if at in seen or not 0 < at < len(data):
                continue
            seen.add(at)
            (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, at)
            start = at + (8 if is_big else 2)
            entries = np.frombuffer(data, entry, min(count, 4096), start)
            yield {int(e["tag"]): _short(e, order) for e in entries}
            for e in entries[entries["tag"] == _SUB_DIRECTORIES]:
                pending += _addresses(data, e, address)
            pending += struct.unpack_from(address, data, start + count * entry.itemsize)


def _short(entry: np.void, order: str) -> int:
    """Return an entry's value as if it were one number of two bytes."""
    return struct.unpack_from(order + "H", entry["value"].tobytes())[0]


def _addresses(data: bytes, entry: np.void, address: str) -> list[int]:
    value, count = entry["value"].tobytes(), min(int(entry["count"]), _MOST_BELOW)
    width = 8 if entry["kind"] in (16, 18) else 4
    each = address[0] + ("Q" if width == 8 else "I")
    if count * width > len(value):
        (start,) = struct.unpack(address, value)
        value = data[start : start + count * width]
    return [struct.unpack_from(each, value, n * width)[0] for n in range(count)]


def decode_raw(data: bytes, max_pixels: int) -> Raster:
    """Develop a camera's raw file: 16-bit sRGB, the camera's white balance, no auto-brightening.

    It comes upright: the EXIF block says nothing of a turn.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged or too large, or LibRaw does not know the camera.
        MissingLibraryError: if rawpy is not installed.
    """
    with optional_import("camera raw"):
        import rawpy
    try:
        with rawpy.RawPy() as raw:
            raw.open_buffer(io.BytesIO(data))
            sizes = raw.sizes
            budget.check_size(sizes.iwidth, sizes.iheight, max_pixels)
            budget.check_bytes(2 * sizes.raw_width * sizes.raw_height, max_pixels)
            raw.unpack()
            known = any(raw.camera_whitebalance[:3])
            samples = raw.postprocess(
                gamma=_SRGB, no_auto_bright=True, output_bps=16, use_camera_wb=True
            )
    except rawpy.LibRawError as error:
        reason = error.args[0] if error.args else "unknown"
        reason = reason.decode("ascii", "replace") if isinstance(reason, bytes) else str(reason)
        raise FormatError(f"damaged or unsupported raw file: {reason}") from error
    exif, notes = _metadata(data)
    if not known:
        notes.append("it says no white balance: daylight is taken")
    return Raster(samples, exif, notes=tuple(notes))


def _metadata(data: bytes) -> tuple[bytes | None, list[str]]:
    """Return the EXIF block of a raw file, and notes on what of its metadata is left out."""
    # Broken or strange metadata must not cost the user the picture.
    with contextlib.suppress(Exception):
        if data.startswith(_FUJI) or data[4:12] == _CANON_BOXES:
            block = _of_preview(data) if data.startswith(_FUJI) else _of_boxes(data)
            exif, had_notes = rewritten(block)
            exif.pop(ORIENTATION, None)
            block, has_xmp = exif.tobytes(), True
        else:
            block, had_notes = _of_directories(data)
            has_xmp = any(_XMP in found for found in _directories(_as_tiff(data)))
        if block:
            lost = ["its XMP"] * has_xmp + ["its maker's notes"] * had_notes
            return block, [f"left out: {', '.join(lost)}"] if lost else []
    return None, ["no EXIF is read of it"]


def _as_tiff(data: bytes) -> bytes:
    """Return a file whose magic number is a TIFF's; that of some cameras is another."""
    if data.startswith(marks.TIFF):
        return data
    return (marks.TIFF[0] if data[:2] == b"II" else marks.TIFF[1]) + data[4:]


def _of_directories(data: bytes) -> tuple[bytes | None, bool]:
    order = "<" if data[:2] == b"II" else ">"
    is_big = data.startswith(marks.TIFF[2:])
    (first,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
    return exif_of_directory(data, order, is_big, first)


def _of_preview(data: bytes) -> bytes | None:
    start, length = struct.unpack_from(">II", data, 84)
    found = segments(data[start : start + length])
    return next((body for _, body in found if body.startswith(b"Exif\0\0")), None)


def _of_boxes(data: bytes) -> bytes | None:
    """Return what lies in Canon's boxes, each a block of its own, as one block."""
    made = _box(data, b"CMT1")
    made.update(with_texts(made))
    for directory, name in ((EXIF_DIRECTORY, b"CMT2"), (PLACE_DIRECTORY, b"CMT4")):
        if entries := with_texts(_box(data, name)):
            made[directory] = entries
    return made.tobytes() if len(made) else None


def _box(data: bytes, name: bytes) -> Image.Exif:
    exif, at = Image.Exif(), data.find(name, 0, 2**20)
    if at >= 4:
        exif.load(data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")])
    return exif
