"""AVIF and HEIC, which phones write: pictures in the boxes of ISO 23008-12."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import struct
from collections.abc import Iterator

import numpy as np
from PIL import AvifImagePlugin, ImageFile

from neid_tf.pictures import budget, metadata
from neid_tf.pictures.jpeg2000 import boxes
from neid_tf.pictures.marks import HEIF_BITS
from neid_tf.pictures.pillow import MODES, image_of, opened, raster_of
from neid_tf.pictures.raster import QUALITY, Raster, with_channels
from neid_tf.pixels.samples import from_levels, unassociated
from neid_tf.support.libraries import optional_import

# A third and a seventh of the usual time, for files of the same quality that are 5 and 15% larger.
_SPEED, _EFFORT = 8, {"preset": "ultrafast"}
# The encoder's own takes three times the bytes of a JPEG, and from 94 on there is nothing to gain.
_HEIC_QUALITY = (0, 95, 100), (0, 72, 94)
_KNOWN = {b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"idat", b"mini"}
_ALPHA = {b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"}
_FREE_PIXELS = 2**20


def decode_avif(data: bytes, max_pixels: int) -> Raster:
    """Decode an AVIF of 8, 10 or 12 bits; of a sequence the first picture.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    told = _properties(data)
    _check_sizes(told[1], max_pixels)
    with opened(AvifImagePlugin.AvifImageFile, data, max_pixels) as image:
        raster = raster_of(image, lossless=False, notes=_notes(image, data, told))
        several = image.n_frames > 1
    if (bits := _bits(*told)) <= 8:
        return raster
    if several:  # The decoder of more bits would decode all of them.
        return dataclasses.replace(raster, notes=(*raster.notes, "8 bits of its samples are read"))
    import imagecodecs

    return _deep(raster, imagecodecs.avif_decode(data), bits)


def _deep(raster: Raster, stored: np.ndarray, bits: int) -> Raster:
    """Return a raster with these samples of more than 8 bits."""
    samples = from_levels(with_channels(stored), 2**bits - 1, np.uint16)
    return dataclasses.replace(raster, samples=samples)


def _notes(image: ImageFile.ImageFile, data: bytes, told: tuple[list, list]) -> tuple[str, ...]:
    """Return what of a file, and of what its properties tell, is left out or taken otherwise."""
    notes, count = [], getattr(image, "n_frames", 1) - 1
    if count > 0:
        notes.append(f"{count} further pictures of it are left out")
    if image.info.get("depth_images") or image.info.get("aux") or _has_auxiliary(data):
        notes.append("what lies beside it (depth, gain map) is left out")
    notes += metadata.left_out("boxes", {name for name, _ in boxes(data)} - _KNOWN)
    properties = itertools.chain(*told)
    colours = [body for name, body in properties if name == b"colr" and body[:4] == b"nclx"]
    if colours and len(colours[0]) >= 8:
        primaries, transfer = struct.unpack_from(">HH", colours[0], 4)
        has_profile = bool(image.info.get("icc_profile"))
        notes += metadata.taken_for_srgb(primaries, transfer, has_profile)
    return tuple(notes)


def _has_auxiliary(data: bytes) -> bool:
    """Tell whether there is a picture beside the main one that is no alpha, or a gain map."""
    meta = b"".join(body for name, body in boxes(data) if name == b"meta")
    kinds = {part.split(b"\0", 1)[0] for part in meta.split(b"auxC\0\0\0\0")[1:]}
    return bool(kinds - _ALPHA) or b"\0\0tmap" in meta


def _check_sizes(properties: list[tuple[bytes, bytes]], max_pixels: int) -> None:
    """Check every size that properties announce: decoders trust them before they decode.

    Pictures are coded a little larger than they are shown.
    """
    limit = max(2 * max_pixels, _FREE_PIXELS)
    for name, body in properties:
        if name == b"ispe" and len(body) >= 12:
            width, height = struct.unpack_from(">II", body, 4)
            if width and height:
                budget.check_size(width, height, limit)


def _bits(*told: list[tuple[bytes, bytes]]) -> int:
    """Return the bits of a sample that the first of the properties tells; 8 if none does."""
    return next(filter(None, (_bits_told(*one) for one in itertools.chain(*told))), 8)


def _bits_told(name: bytes, body: bytes) -> int:
    """Return the bits of a sample that a property tells; 0 if none."""
    if name == b"pixi" and len(body) >= 6 and body[4]:
        return body[5]
    if name == b"hvcC" and len(body) >= 18:
        return 8 + (body[17] & 7)
    if name == b"av1C" and len(body) >= 3 and body[2] & 0x40:
        return 12 if body[2] & 0x20 else 10
    return 8 if name == b"av1C" else 0


def _properties(data: bytes) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """Return the properties (name, body) of the main picture, and those of all pictures."""
    main, every = [], []
    for meta in (list(boxes(body, 4)) for name, body in boxes(data) if name == b"meta"):
        number = next((_number(body) for name, body in meta if name == b"pitm"), 0)
        for held in (list(boxes(body)) for name, body in meta if name == b"iprp"):
            listed = [one for name, body in held if name == b"ipco" for one in boxes(body)]
            every += listed
            for place in (n for name, body in held if name == b"ipma" for n in _of(number, body)):
                main += listed[place - 1 : place] if place else []
    return main, every


def _number(body: bytes) -> int:
    """Return the number of the main picture."""
    return int.from_bytes(body[4:6] if body[:1] == b"\0" else body[4:8], "big")


def _of(number: int, body: bytes) -> Iterator[int]:
    """Yield which of the properties, counted from 1, a picture has; a table that is cut ends it."""
    at, wide, kind = 8, body[3:4] == b"\1", ">H" if body[:1] == b"\0" else ">I"
    with contextlib.suppress(struct.error, IndexError):
        while True:
            (found,) = struct.unpack_from(kind, body, at)
            at += struct.calcsize(kind)
            count, at = body[at], at + 1
            for _ in range(count):
                (place,) = struct.unpack_from(">H" if wide else ">B", body, at)
                at += 2 if wide else 1
                if found == number:
                    yield place & (0x7FFF if wide else 0x7F)


def encode_avif(raster: Raster) -> bytes:
    """Encode 8-bit RGB, with or without alpha, as an AVIF of full colour resolution (4:4:4)."""
    file = io.BytesIO()
    image_of(raster.samples).save(
        file,
        "AVIF",
        exif=raster.exif or b"",
        icc_profile=raster.icc,
        xmp=raster.extras.xmp or b"",
        quality=raster.quality or QUALITY,
        subsampling="4:4:4",
        speed=_SPEED,
    )
    return file.getvalue()


def decode_heic(data: bytes, max_pixels: int) -> Raster:
    """Decode a HEIC of 8, 10 or 12 bits with pillow-heif (the extra ``heif``).

    Args:
        data: the file; of several pictures the main one is decoded.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged or too large, or pillow-heif is not installed.
    """
    with optional_import("HEIC"):
        import pillow_heif
    told = _properties(data)
    _check_sizes(told[1], max_pixels)
    with opened(pillow_heif.HeifImageFile, data, max_pixels) as image:
        raster = raster_of(image, lossless=False, notes=_notes(image, data, told))
    if (bits := _bits(*told)) > 8:
        stored = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        raster = _deep(raster, np.asarray(stored), bits)
        if stored.mode.startswith("RGBa"):
            raster = dataclasses.replace(raster, samples=unassociated(raster.samples))
    return raster


def encode_heic(raster: Raster) -> bytes:
    """Encode gray or RGB, with or without alpha, as a HEIC of 8 or 12 bits, 4:4:4."""
    with optional_import("HEIC"):
        import pillow_heif
    height, width, channels = raster.samples.shape
    deep = raster.samples.dtype == np.uint16
    mode = MODES[channels] + (";16" if deep else "")
    made = pillow_heif.from_bytes(mode, (width, height), raster.samples.tobytes())
    if raster.icc:
        made[0].info["icc_profile"], made[0].info["icc_profile_type"] = raster.icc, "prof"
    file = io.BytesIO()
    made.save(
        file,
        quality=round(float(np.interp(raster.quality or QUALITY, *_HEIC_QUALITY))),
        chroma=444,
        enc_params=_EFFORT,
        exif=raster.exif,
        xmp=raster.extras.xmp,
        **({"bit_depth": HEIF_BITS} if deep else {}),
    )
    return file.getvalue()
