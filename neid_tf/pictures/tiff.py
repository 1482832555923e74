"""TIFF: the many ways its samples may be stored, and its EXIF, which lies among its own tags."""

from __future__ import annotations

import contextlib
import io
import math
import struct

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from neid_tf.pictures import metadata
from neid_tf.pictures.raster import (
    FormatError,
    Raster,
    check_size,
    with_channels,
    without_single_channel,
)
from neid_tf.pixels.samples import to_type, white

_TEXT_TAGS = (270, 271, 272, 305, 306, 315, 316, 33432)
_SUB_DIRECTORIES = (0x8769, 0x8825)
_ICC = 34675
# Its value is an address in the file it came from.
_INTEROPERABILITY = 0xA005
_MOST_CHANNELS = 16
_LARGEST_FREE_TILE = 2**22
_FLOAT_TOLERANCE = 1e-3
_JPEG_COMPRESSIONS = (6, 7)


def decode_tiff(data: bytes, max_pixels: int) -> Raster:
    """Decode the first page of a TIFF.

    Gray, RGB, palette, CMYK and YCbCr; 1 to 16 bits unsigned (1 to 8 become 8 bits, 9 to 16
    become 16), or float samples in [0, 1], which become 16 bits. Float samples up to 0.001
    outside of [0, 1] are clipped. CMYK becomes 8-bit sRGB. Associated alpha is divided out;
    extra samples of no declared meaning are dropped.

    Raises:
        FormatError: for other kinds of samples, float samples that are not finite or further
            outside of [0, 1], a picture without its data, or one over max_pixels.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if not file.pages:
            raise FormatError("truncated or damaged TIFF: it holds no page")
        page = file.pages[0]
        check_size(page.imagewidth, page.imagelength, max_pixels)
        _check_layout(page, max_pixels)
        _check_data(page, len(data))
        icc = page.tags.valueof(_ICC, default=None)
        icc = icc if isinstance(icc, bytes) else None
        orientation = page.tags.valueof(metadata.ORIENTATION, default=1)
        samples = _colours(page, _channels_last(page), icc)
        lossless = page.compression not in _JPEG_COMPRESSIONS
    return Raster(samples, _exif_from_tags(data, orientation), icc, lossless)


def _check_layout(page: tifffile.TiffPage, max_pixels: int) -> None:
    if not 1 <= page.samplesperpixel <= _MOST_CHANNELS:
        raise FormatError(f"{page.samplesperpixel} channels are not supported")
    if page.imagedepth > 1:
        raise FormatError(f"a volume of {page.imagedepth} layers is not supported")
    # Tiles may be larger than the picture, and are decoded whole.
    if page.is_tiled and page.tilewidth * page.tilelength > max(max_pixels, _LARGEST_FREE_TILE):
        raise FormatError(f"tiles of {page.tilewidth}x{page.tilelength} pixels are not supported")


def _check_data(page: tifffile.TiffPage, size: int) -> None:
    """Refuse a file without all of its strips or tiles, which would read as black areas."""
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    missing = math.prod(page.chunked) > len(pieces) and not page.is_contiguous
    if missing or any(count < 1 or offset + count > size for offset, count in pieces):
        raise FormatError("truncated or damaged TIFF: a part of its picture is not in the file")


def _channels_last(page: tifffile.TiffPage) -> np.ndarray:
    samples = page.asarray()
    if page.axes == "SYX":
        samples = np.moveaxis(samples, 0, -1)
    elif page.axes not in ("YX", "YXS"):
        raise FormatError(f"samples of axes {page.axes} are not supported")
    return with_channels(samples)


def _colours(page: tifffile.TiffPage, stored: np.ndarray, icc: bytes | None) -> np.ndarray:
    """Return the page's samples as gray or RGB, with or without alpha, in 8 or 16 bits."""
    kind = tifffile.PHOTOMETRIC(page.photometric).name
    if kind == "PALETTE":
        return np.moveaxis(page.colormap[:, stored[..., 0]] >> 8, 0, -1).astype(np.uint8)
    samples = _full_range(stored, page.bitspersample)
    if kind == "SEPARATED" and samples.shape[-1] >= 4:
        inks = samples[..., :4] if samples.dtype == np.uint8 else samples[..., :4] // 257
        return metadata.cmyk_to_rgb(inks.astype(np.uint8), icc)
    if kind == "YCBCR" and samples.dtype == np.uint8:
        return _rgb_from_ycbcr(page, samples)
    if kind not in ("MINISWHITE", "MINISBLACK", "RGB"):
        raise FormatError(f"colours of the kind {kind} are not supported")
    colours = 3 if kind == "RGB" else 1
    if samples.shape[-1] < colours:
        raise FormatError(f"{samples.shape[-1]} channels are too few for {kind}")
    if kind == "MINISWHITE":
        samples = samples.copy()
        samples[..., 0] = white(samples.dtype) - samples[..., 0]
    return _with_alpha(samples, colours, page.extrasamples)


def _full_range(stored: np.ndarray, bits: int) -> np.ndarray:
    """Return samples of any supported type as uint8 or uint16 over the whole range."""
    if stored.dtype.kind == "f":
        return _from_float(stored)
    if stored.dtype.kind not in "bu" or not isinstance(bits, int) or bits > 16:
        raise FormatError(f"{stored.dtype} samples are not supported, only uint8, uint16 and float")
    white, dtype = (255, np.uint8) if bits <= 8 else (65535, np.uint16)
    if bits in (8, 16):
        return stored.astype(dtype, copy=False)
    top = 2**bits - 1
    return ((stored.astype(np.uint32) * white + top // 2) // top).astype(dtype)


def _from_float(stored: np.ndarray) -> np.ndarray:
    if not np.isfinite(stored).all():
        raise FormatError("it holds samples that are NaN or infinite")
    low, high = float(stored.min()), float(stored.max())
    if low < -_FLOAT_TOLERANCE or high > 1 + _FLOAT_TOLERANCE:
        raise FormatError(f"float samples must lie in [0, 1], these in [{low:g}, {high:g}]")
    return to_type(stored, np.uint16)


def _rgb_from_ycbcr(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    if page.compression in _JPEG_COMPRESSIONS:
        return samples
    image = Image.frombytes("YCbCr", samples.shape[1::-1], samples.tobytes())
    return np.asarray(image.convert("RGB"))


def _with_alpha(samples: np.ndarray, colours: int, extra: tuple[int, ...]) -> np.ndarray:
    meaning = extra[0] if extra else 0
    if samples.shape[-1] == colours or meaning not in (1, 2):
        return samples[..., :colours]
    if meaning == 2:
        return samples[..., : colours + 1]
    return _unassociated(samples[..., : colours + 1])


def _unassociated(samples: np.ndarray) -> np.ndarray:
    """Divide the alpha in the last channel out of the colours."""
    top = white(samples.dtype)
    alpha = samples[..., -1:].astype(np.uint64)
    divisor = np.maximum(alpha, 1)
    colours = (samples[..., :-1].astype(np.uint64) * top + divisor // 2) // divisor
    return np.concatenate([np.minimum(colours, top), alpha], axis=-1).astype(samples.dtype)


def _exif_from_tags(data: bytes, orientation: int) -> bytes | None:
    """Return the descriptive tags as an EXIF block; the orientation alone if they are broken."""
    exif = Image.Exif()
    # Broken or strange metadata must not cost the user the picture.
    with contextlib.suppress(Exception):
        found = Image.Exif()
        found.load_from_fp(io.BytesIO(data))
        described = Image.Exif()
        described.update({tag: found[tag] for tag in _TEXT_TAGS if tag in found})
        for tag in _SUB_DIRECTORIES:
            if entries := _sub_directory(found, tag):
                described[tag] = entries
        described.tobytes()
        exif = described
    if orientation in range(2, 9):
        exif[metadata.ORIENTATION] = orientation
    return exif.tobytes() if len(exif) else None


def _sub_directory(exif: Image.Exif, tag: int) -> dict:
    entries = exif.get_ifd(tag)
    return {name: value for name, value in entries.items() if name != _INTEROPERABILITY}


def encode_tiff(raster: Raster) -> bytes:
    """Encode any raster as a deflate-compressed TIFF, with the main tags of its EXIF."""
    # Metadata that does not fit into a TIFF must not cost the user the picture.
    if raster.exif:
        with contextlib.suppress(Exception):
            return _encode_with_exif(raster)
    return _encode(raster, [])


def _encode_with_exif(raster: Raster) -> bytes:
    exif = Image.Exif()
    exif.load(raster.exif)
    tags = [(tag, "s", 0, str(exif[tag]), True) for tag in _TEXT_TAGS if tag in exif]
    found = {tag: _sub_directory(exif, tag) for tag in _SUB_DIRECTORIES}
    present = {tag: entries for tag, entries in found.items() if entries}
    # tifffile refuses to write these two tags: their neighbours keep the places for them.
    tags += [(tag - 1, "I", 1, 0, True) for tag in present]
    data = bytearray(_encode(raster, tags))
    for tag, entries in present.items():
        _append_directory(data, tag, entries)
    return bytes(data)


def _append_directory(data: bytearray, tag: int, entries: dict) -> None:
    """Write a sub-directory at the end of the file and its address into the tag's place."""
    data += bytes(len(data) % 2)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if file.is_bigtiff:
            raise FormatError("EXIF is not written into a TIFF of over 4 GB")
        place = file.pages[0].tags[tag - 1].offset
    struct.pack_into("<HHII", data, place, tag, 4, 1, len(data))
    directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=tag)
    directory.update(entries)
    data += directory.tobytes(len(data))


def _encode(raster: Raster, tags: list[tuple]) -> bytes:
    file, channels = io.BytesIO(), raster.samples.shape[-1]
    tifffile.imwrite(
        file,
        without_single_channel(raster.samples),
        byteorder="<",
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        compressionargs={"level": 4},
        predictor=True,
        metadata=None,
        software=False,
        iccprofile=raster.icc,
        extratags=tags,
    )
    return file.getvalue()
