"""BMP, plain and run-length encoded."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import BmpImagePlugin

from neid_tf.pictures import budget, metadata
from neid_tf.pictures.pillow import image_of, opened, samples_of
from neid_tf.pictures.raster import INCH, Extras, FormatError, Raster

_RLE8, _RLE4 = 1, 2
_COST = 32
_USUAL = 2835  # Dots per metre, 72 per inch: what programs write that know nothing of it.


def decode_bmp(data: bytes, max_pixels: int) -> Raster:
    """Decode a BMP of 1 to 32 bits per pixel, plain or run-length encoded.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    with opened(BmpImagePlugin.BmpImageFile, data, max_pixels) as image:
        compression = _compression(data)
        if compression in (_RLE8, _RLE4):
            samples = _decoded_runs(data, compression, *image.size, max_pixels)
        else:
            samples = samples_of(image)
    icc, notes = _profile(data)
    return Raster(samples, None, icc, extras=Extras(density=_density(data)), notes=notes)


def _compression(data: bytes) -> int:
    return int.from_bytes(data[30:34], "little") if data[14] >= 40 else 0


def _profile(data: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the colour profile that a header of version 5 names, and what is left out of it."""
    if data[14] < 124:
        return None, ()
    kind, start, size = (data[70:74], *struct.unpack_from("<II", data, 126))
    if kind == b"KNIL":
        return None, ("its colour profile, which is a file of its own, is left out",)
    if kind != b"DEBM":
        return None, ()
    return data[14 + start : 14 + start + min(size, metadata.MAX_ICC_BYTES)] or None, ()


def _density(data: bytes) -> tuple[float, float, bool] | None:
    if data[14] < 40:
        return None
    across, down = struct.unpack_from("<ii", data, 38)
    if across < 1 or down < 1 or across == down == _USUAL:
        return None
    return across * INCH, down * INCH, True


def _decoded_runs(
    data: bytes, compression: int, width: int, height: int, max_pixels: int
) -> np.ndarray:
    """Decode runs into the indices of a palette, and these into H×W×3 colours.

    Pillow makes every pixel that a jump leaves out, and would take gigabytes for a kilobyte.
    """
    # Each command, two bytes, takes the time of some tens of pixels.
    budget.check_effort(_COST * (len(data) // 2), max_pixels, "its runs")
    header, (start,) = struct.unpack_from("<I", data, 14)[0], struct.unpack_from("<I", data, 10)
    count = struct.unpack_from("<I", data, 46)[0] or (256 if compression == _RLE8 else 16)
    table = np.frombuffer(data[14 + header : 14 + header + 4 * min(count, 256)], np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    entries = table[: len(table) // 4 * 4].reshape(-1, 4)
    palette[: len(entries)] = entries[:, 2::-1]
    indices = np.zeros((height, width), np.uint8)
    _run(data, start, compression == _RLE4, indices)
    return palette[indices[::-1]]


def _run(data: bytes, at: int, is_4_bit: bool, indices: np.ndarray) -> None:
    """Follow the commands, two bytes each, from the lowest row of the picture up."""
    x = y = 0
    while y < len(indices):
        if at + 2 > len(data):
            raise FormatError("truncated BMP: the file ends inside its runs")
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            pair = (value >> 4, value & 15) if is_4_bit else (value, value)
            row = indices[y, x : x + count]
            row[::2], row[1::2] = pair
            x += count
        elif value == 0:
            x, y = 0, y + 1
        elif value == 1:
            return
        elif value == 2:
            if at + 2 > len(data):
                raise FormatError("truncated BMP: the file ends inside its runs")
            x, y, at = x + data[at], y + data[at + 1], at + 2
        else:
            length = (value + 1) // 2 if is_4_bit else value
            literal = np.frombuffer(data[at : at + length], np.uint8)
            if len(literal) < length:
                raise FormatError("truncated BMP: the file ends inside its runs")
            if is_4_bit:
                literal = np.stack([literal >> 4, literal & 15], 1).reshape(-1)[:value]
            row = indices[y, x : x + value]
            row[:] = literal[: len(row)]
            x, at = x + value, at + length + length % 2


def encode_bmp(raster: Raster) -> bytes:
    """Encode 8-bit gray, RGB or RGB and alpha as BMP, which holds no metadata but its density."""
    image, file = image_of(raster.samples), io.BytesIO()
    density = raster.extras.density
    dots = [round(d / INCH) for d in density[:2]] if density and density[2] else []
    across, down = dots or (_USUAL, _USUAL)
    if image.mode != "RGBA":
        image.save(file, "BMP")
        data = bytearray(file.getvalue())
        struct.pack_into("<ii", data, 38, across, down)
        return bytes(data)
    # Pillow writes alpha under a header that has no alpha; this is the one that has (version 4).
    pixels = image.tobytes("raw", "BGRA", 0, -1)
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    size = (len(pixels), across, down, 0, 0)
    header = struct.pack("<IiiHHI5I4I", 108, *image.size, 1, 32, 3, *size, *masks)
    header += b"BGRs" + bytes(48)
    return struct.pack("<2sIII", b"BM", 122 + len(pixels), 0, 122) + header + pixels
