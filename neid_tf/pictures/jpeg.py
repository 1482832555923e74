"""JPEG: its segments, which hold the metadata, and its samples."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

from PIL import JpegImagePlugin

from neid_tf.pictures import budget, metadata
from neid_tf.pictures.pillow import image_of, opened, samples_of
from neid_tf.pictures.raster import QUALITY, Extras, FormatError, Raster

LONGEST_SIDE = 65_500
"""The longest side that libjpeg writes, in pixels."""
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE"
_LONGEST_SEGMENT = 65_533
_APP0, _APP1, _APP2, _APP13, _COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xFE
_MOST_SEGMENTS = 10_000
_START, _END, _SCAN, _ALONE = 0xD8, 0xD9, 0xDA, 0x01
# Between them lie fill bytes, coded samples, and the marks of a restart.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def decode_jpeg(data: bytes, max_pixels: int) -> Raster:
    """Decode a JPEG: gray, colour or CMYK (which becomes sRGB).

    Args:
        data: the file. Of several pictures in it (MPO) the first is decoded.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large, or has more scans or segments than is sensible.
    """
    found = list(segments(data))
    with opened(JpegImagePlugin.JpegImageFile, data, max_pixels) as image:
        scans = sum(marker == _SCAN for marker, *_ in _marked(data))
        budget.check_effort(scans * image.width * image.height, max_pixels, f"{scans} scans")
        samples, notes = samples_of(image), _notes(found, _behind(data))
        icc, exif = image.info.get("icc_profile"), image.info.get("exif")
        if not icc and any(m == _APP2 and body.startswith(_ICC) for m, body in found):
            notes = (*notes, metadata.PROFILE_LEFT_OUT)
        if image.mode == "CMYK":
            icc, notes = None, (*notes, metadata.INKS_CONVERTED)
    return Raster(samples, exif, icc, False, _extras(found), notes=notes)


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the body of each segment before the first scan."""
    for marker, start, stop in _marked(data):
        if marker in (_SCAN, _END):
            return
        yield marker, data[start:stop]


def _marked(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each marker up to the picture's end, and where the body of its segment lies."""
    at, count = 2, 0
    while found := _MARKER.search(data, at):
        marker, at = data[found.end() - 1], found.end()
        if marker in (_START, _ALONE):
            continue
        count += 1
        if count > _MOST_SEGMENTS:
            raise FormatError(f"more than {_MOST_SEGMENTS:,} segments are not supported")
        length = 0 if marker == _END else max(int.from_bytes(data[at : at + 2], "big"), 2)
        yield marker, at + 2, at + length
        if marker == _END:
            return
        at += length


def _behind(data: bytes) -> bytes:
    """Return what lies behind the picture."""
    for marker, start, _ in _marked(data):
        if marker == _END:
            return data[start - 2 :]
    return b""


def _extras(found: list[tuple[int, bytes]]) -> Extras:
    fields, comments = {}, []
    for marker, body in found:
        if marker == _APP0 and body[:5] == b"JFIF\0" and len(body) >= 12:
            unit, across, down = struct.unpack_from(">BHH", body, 7)
            fields["density"] = _density(unit, across, down)
        elif marker == _APP1 and body.startswith(_XMP):
            fields["xmp"] = body.removeprefix(_XMP)
        elif marker == _COMMENT:
            comments.append(body)
    iptc = metadata.iptc_of_photoshop(_photoshop(found))
    return Extras(**fields, iptc=iptc, comments=tuple(comments))


def _photoshop(found: list[tuple[int, bytes]]) -> bytes:
    """Return Photoshop's blocks without a header; what is long goes on in the next segment."""
    bodies = [body for marker, body in found if marker == _APP13]
    start = metadata.PHOTOSHOP
    return b"".join(body.removeprefix(start) for body in bodies if body.startswith(start))


def _density(unit: int, across: int, down: int) -> tuple[float, float, bool] | None:
    if not across or not down or (unit == 0 and across == down):
        return None
    factor = 2.54 if unit == 2 else 1.0
    return across * factor, down * factor, unit in (1, 2)


def _notes(found: list[tuple[int, bytes]], behind: bytes) -> tuple[str, ...]:
    notes = []
    several = any(marker == _APP2 and body.startswith(b"MPF\0") for marker, body in found)
    if several:
        notes.append("further pictures behind the first (MPO, gain map) are left out")
    notes += metadata.behind_left_out(behind, several)
    if any(
        marker == _APP1 and body.startswith(b"http://ns.adobe.com/xmp/ext")
        for marker, body in found
    ):
        notes.append("the extended part of its XMP is left out")
    lost = {marker - _APP0 for marker, body in found if _is_unknown(marker, body)}
    if lost:
        notes.append(f"segments left out: {', '.join(f'APP{n}' for n in sorted(lost))}")
    if lost := metadata.further_resources(_photoshop(found)):
        notes.append(f"resources of Photoshop left out: {', '.join(map(str, lost))}")
    return tuple(notes)


def _is_unknown(marker: int, body: bytes) -> bool:
    """Tell whether a segment is of an application, and none that is kept or told otherwise.

    Adobe's two say how the samples are coded.
    """
    first_bytes = (b"JFIF", b"JFXX", b"Exif", b"http://ns.adobe.com", _ICC, b"MPF")
    known = (*first_bytes, metadata.PHOTOSHOP, b"Adobe", b"Ducky")
    return _APP0 <= marker <= _APP0 + 15 and not body.startswith(known)


def encode_jpeg(raster: Raster) -> bytes:
    """Encode 8-bit gray or RGB as JPEG with full colour resolution (4:4:4).

    Raises:
        FormatError: if a side is longer than 65,500 pixels.
    """
    file, exif = io.BytesIO(), raster.exif or b""
    if max(raster.samples.shape[:2]) > LONGEST_SIDE:
        raise FormatError(f"a JPEG's sides are at most {LONGEST_SIDE} pixels")
    image_of(raster.samples).save(
        file,
        "JPEG",
        exif=exif if _fits(exif) else b"",
        icc_profile=raster.icc,
        quality=raster.quality or QUALITY,
        subsampling=0,
    )
    data = file.getvalue()
    if raster.extras.density:
        across, down, per_inch = raster.extras.density
        dots = (min(max(round(value), 1), 65535) for value in (across, down))
        data = data[:13] + struct.pack(">BHH", per_inch, *dots) + data[18:]
    return _with_segments(data, _own_segments(raster.extras))


def holds_segments(exif: bytes | None, extras: Extras) -> bool:
    """Return whether each piece of metadata fits in a segment; what does not is not written."""
    return _fits(exif or b"") and all(_fits(body) for _, body in _own_bodies(extras))


def _fits(body: bytes) -> bool:
    """Tell whether a segment holds so much, with what has to come before the metadata in it."""
    return len(body) <= _LONGEST_SEGMENT


def _own_bodies(extras: Extras) -> list[tuple[int, bytes]]:
    """Return marker and body of the segments that Pillow does not write."""
    bodies = [(_APP1, _XMP + extras.xmp)] if extras.xmp else []
    if extras.iptc:
        bodies.append((_APP13, metadata.photoshop_of_iptc(extras.iptc)))
    return bodies + [(_COMMENT, comment) for comment in extras.comments]


def _own_segments(extras: Extras) -> bytes:
    return b"".join(
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        for marker, body in _own_bodies(extras)
        if _fits(body)
    )


def _with_segments(data: bytes, extra: bytes) -> bytes:
    """Put segments behind those that have to come first: JFIF and EXIF."""
    at = 2
    while data[at] == 0xFF and data[at + 1] in (_APP0, _APP1):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at] + extra + data[at:]
