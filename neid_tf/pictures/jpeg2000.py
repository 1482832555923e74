"""JPEG 2000: its boxes (ISO 15444-1), which hold the metadata, and its codestream."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import imagecodecs
import numpy as np
from PIL import Jpeg2KImagePlugin

from neid_tf.pictures import budget, metadata
from neid_tf.pictures.exif import EXIF_HEADER
from neid_tf.pictures.marks import JPEG_2000_CODESTREAM
from neid_tf.pictures.pillow import opened, samples_of
from neid_tf.pictures.raster import (
    INCH,
    QUALITY,
    Extras,
    FormatError,
    Raster,
    with_channels,
    without_single_channel,
)
from neid_tf.pixels.samples import from_levels, unassociated

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_EXIF = b"JpgTiffExif->JP2"
_RGB, _GRAY = 16, 17
_OPACITY, _ASSOCIATED = 1, 2
_KNOWN = (b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"rreq", b"jp2i", b"free")
_MOST_COMPONENTS = 4
_CODING = 0x52  # Of the segment that says how all is coded.


def boxes(data: bytes, at: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the body of each box from a place on; a box that is cut ends them."""
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1 and at + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = at + length if length else len(data)
        if not start <= end <= len(data):
            return
        yield name, data[start:end]
        at = end


def decode_jpeg2000(data: bytes, max_pixels: int) -> Raster:
    """Decode a JPEG 2000, in its boxes or bare, of up to 16 bits.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large, or its colours are not supported.
    """
    found = [] if data.startswith(JPEG_2000_CODESTREAM) else list(boxes(data))
    streams = [body for name, body in found if name == b"jp2c"] if found else [data]
    stream = streams[0] if streams else b""
    count, bits = _checked_header(stream, max_pixels)
    # Those of the first picture; others may follow.
    header = list(boxes(next((body for name, body in found if name == b"jp2h"), b"")))
    order, space = _order(header), _colour_space(header)
    is_plain = not any(name == b"pclr" for name, _ in header) and space in (_RGB, _GRAY)
    # Pillow knows palettes, inks, luminance with colour differences and coarser components; but no
    # other order, and no gray of several bands.
    mixed = is_plain and (order != sorted(order) or (space == _GRAY and count > 2))
    if bits <= 8 and not mixed:
        samples = _of_pillow(data, 8 if not is_plain else bits, max_pixels)
    elif not is_plain:
        raise FormatError(f"colours of the kind {space} are not supported with {bits} bits")
    else:
        stored = with_channels(imagecodecs.jpeg2k_decode(data))
        samples = from_levels(stored, 2**bits - 1, np.uint8 if bits <= 8 else np.uint16)
    bands, channels = None, samples.shape[-1]
    meaning = _meaning(header, bool(found)) if channels in (2, 4) else _OPACITY
    if meaning == _ASSOCIATED:
        samples = unassociated(samples)
    elif meaning != _OPACITY:
        samples, bands = samples[..., :-1], samples[..., -1:]
    exif, extras, notes = _metadata(found, header)
    if (further := len(streams) - 1) > 0:
        notes = (*notes, f"{further} further pictures of it are left out")
    icc = next((b[3:] for n, b in header if n == b"colr" and b[:1] in (b"\2", b"\3")), None)
    return Raster(samples, exif, icc, _is_reversible(stream), extras, bands, notes=notes)


def _definitions(header: list[tuple[bytes, bytes]]) -> list[tuple[int, int, int]]:
    """Return number, meaning and colour of each channel, as far as a header says it."""
    body = dict(header).get(b"cdef", b"")[2:]
    return sorted(struct.iter_unpack(">3H", body[: len(body) // 6 * 6]))


def _order(header: list[tuple[bytes, bytes]]) -> list[int]:
    """Return which colour each channel is, from 1; one that is none comes last."""
    return [colour if kind == 0 else 1 << 16 for _, kind, colour in _definitions(header)]


def _meaning(header: list[tuple[bytes, bytes]], in_boxes: bool) -> int:
    """Return what the channel is that is no colour; in boxes that do not say it, it is a band."""
    kinds = [kind for _, kind, _ in _definitions(header) if kind]
    return kinds[0] if kinds else 1 << 16 if in_boxes else _OPACITY


def _checked_header(stream: bytes, max_pixels: int) -> tuple[int, int]:
    """Check the sizes that a codestream announces; return its channels, and bits per sample."""
    if not stream.startswith(JPEG_2000_CODESTREAM) or len(stream) < 48:
        raise FormatError("truncated or damaged JPEG 2000: it has no codestream")
    right, bottom, left, top, across, down = struct.unpack_from(">6I", stream, 8)
    (count,) = struct.unpack_from(">H", stream, 40)
    budget.check_size(right - left, bottom - top, max_pixels)
    if not 1 <= count <= _MOST_COMPONENTS or len(stream) < 42 + 3 * count:
        raise FormatError(f"{count} channels are not supported")
    if across < 1 or down < 1:
        raise FormatError("damaged JPEG 2000: its tiles are empty")
    budget.check_size(max(right, 1), max(bottom, 1), max(8 * max_pixels, 2**24))
    depths = {stream[42 + 3 * n] for n in range(count)}
    bits = max(depths) + 1
    if len(depths) > 1 or bits > 16:
        raise FormatError("samples that are signed, of over 16 bits or of several depths")
    return count, bits


def _colour_space(header: list[tuple[bytes, bytes]]) -> int:
    bodies = [body for name, body in header if name == b"colr" and body[:1] == b"\1"]
    return int.from_bytes(bodies[0][3:7], "big") if bodies else _RGB


def _of_pillow(data: bytes, bits: int, max_pixels: int) -> np.ndarray:
    with opened(Jpeg2KImagePlugin.Jpeg2KImageFile, data, max_pixels) as image:
        samples = samples_of(image)
    if bits == 8:
        return samples
    return from_levels(samples >> (8 - bits), 2**bits - 1, np.uint8)  # Pillow's white is less.


def _is_reversible(stream: bytes) -> bool:
    """Tell whether the wavelets are those of whole numbers, which lose nothing."""
    at = 2
    while stream[at : at + 1] == b"\xff" and at + 13 < len(stream):
        if stream[at + 1] == _CODING:
            return stream[at + 13] == 1
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return False


def _metadata(
    found: list[tuple[bytes, bytes]], header: list[tuple[bytes, bytes]]
) -> tuple[bytes | None, Extras, tuple[str, ...]]:
    labelled = [(body[:16], body[16:]) for name, body in found if name == b"uuid"]
    values = dict(labelled)
    known = _KNOWN if values.keys() - {_XMP, _IPTC, _EXIF} else (*_KNOWN, b"uuid")
    notes = metadata.left_out("boxes", {name for name, _ in found} - {*known})
    extras = Extras(xmp=values.get(_XMP), iptc=values.get(_IPTC), density=_density(header))
    return values.get(_EXIF), extras, notes


def _density(header: list[tuple[bytes, bytes]]) -> tuple[float, float, bool] | None:
    inner = dict(boxes(dict(header).get(b"res ", b"")))
    body = inner.get(b"resc") or inner.get(b"resd")
    with contextlib.suppress(Exception):
        top, below, left, right, down, across = struct.unpack(">4H2b", body)
        across, down = left / right * 10.0**across * INCH, top / below * 10.0**down * INCH
        return (across, down, True) if across > 0 and down > 0 else None
    return None


def encode_jpeg2000(raster: Raster) -> bytes:
    """Encode 8- or 16-bit samples in the boxes of a JP2.

    Without loss where the raster is and no quality is asked for; else of a peak signal-to-noise
    ratio of 30 dB and a fifth of the quality: 49 dB for 95.
    """
    lossless = raster.lossless and raster.quality is None
    level = 0 if lossless else 30 + (raster.quality or QUALITY) / 5
    samples = without_single_channel(raster.samples)
    coded = imagecodecs.jpeg2k_encode(samples, level, codecformat="jp2", reversible=lossless)
    found = dict(boxes(coded))
    extras = raster.extras
    exif = (raster.exif or b"").removeprefix(EXIF_HEADER)
    labelled = [(_EXIF, exif), (_XMP, extras.xmp), (_IPTC, extras.iptc)]
    parts = [(b"jP  ", found[b"jP  "]), (b"ftyp", found[b"ftyp"])]
    parts.append((b"jp2h", _header_of(raster, dict(boxes(found[b"jp2h"]))[b"ihdr"])))
    parts += [(b"uuid", label + body) for label, body in labelled if body]
    return b"".join(_box(*part) for part in [*parts, (b"jp2c", found[b"jp2c"])])


def _box(name: bytes, body: bytes) -> bytes:
    if len(body) + 8 >= 2**32:
        return struct.pack(">I4sQ", 1, name, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, name) + body


def _header_of(raster: Raster, first: bytes) -> bytes:
    """Return the boxes that say what the samples mean."""
    channels, density = raster.samples.shape[-1], raster.extras.density
    space = b"\1\0\0" + struct.pack(">I", _RGB if channels > 2 else _GRAY)
    parts = [(b"ihdr", first), (b"colr", b"\2\0\0" + raster.icc if raster.icc else space)]
    if channels in (2, 4):
        meanings = [(n, 0, n + 1) for n in range(channels - 1)] + [(channels - 1, 1, 0)]
        body = b"".join(struct.pack(">3H", *meaning) for meaning in meanings)
        parts.append((b"cdef", struct.pack(">H", channels) + body))
    if density and density[2]:
        across, down = (min(max(round(value / INCH), 1), 65535) for value in density[:2])
        parts.append((b"res ", _box(b"resc", struct.pack(">4H2b", down, 1, across, 1, 0, 0))))
    return b"".join(_box(*part) for part in parts)
