"""PNG: chunks, samples, text and colour."""

from __future__ import annotations

import binascii
import contextlib
import dataclasses
import struct
import zlib
from collections.abc import Iterable, Iterator

import imagecodecs
import numpy as np

from neid_tf.pictures import budget, metadata, xmp
from neid_tf.pictures.exif import EXIF_HEADER
from neid_tf.pictures.raster import (
    INCH,
    Extras,
    FormatError,
    Raster,
    with_channels,
    without_single_channel,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LONGEST_SIDE = 1_000_000
"""The longest side that libpng takes, in pixels."""
_HEADER_END = len(SIGNATURE) + 25
_IMAGE_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_FRAME_CHUNKS = (b"acTL", b"fcTL", b"fdAT")
_COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"tIME")
_LINEAR = 70_000  # Of gAMA, which is 45,455 for a curve near sRGB's and 100,000 for light.
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_COMMENT = b"Comment" + bytes(5)  # Not packed, of no language.
_RAW_PROFILE = b"Raw profile type "
_MAX_TEXT_BYTES = 2**24
# Runs only, each pixel told by its neighbours (Paeth): for pictures a third of the time of the
# library's default search for repetitions, and smaller files.
_CODING = {"level": 4, "strategy": 3, "filter": 0x80}


def decode_png(data: bytes, max_pixels: int) -> Raster:
    """Decode a PNG of any depth; palettes and transparent colours become RGB and alpha.

    Args:
        data: the file. Of an animation the default picture is decoded.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    size = size_of(data)
    budget.check_size(*size, max_pixels)
    image, others, still, damaged, end = [], [], False, [], 0
    for name, body, end in _chunks(data, damaged):  # noqa: B007
        still |= name == b"IDAT" and not any(other == b"fcTL" for other, _ in others)
        (image if name in _IMAGE_CHUNKS else others).append((name, body))
    budget.check_bytes(_unfolded(image[0][1]), max_pixels)
    frames = sum(name == b"fcTL" for name, _ in others)
    raster = Raster(samples_of(image), **_described(others))
    if raster.icc is None and any(name == b"iCCP" for name, _ in others):
        damaged.append(b"iCCP")
    notes = (
        *_notes(others, frames),
        *metadata.left_out("damaged chunks", damaged),
        *metadata.behind_left_out(data[end:]),
    )
    # A still picture that is no frame of the animation is one more.
    return dataclasses.replace(raster, pages=max(frames + still, 1), notes=notes)


def size_of(data: bytes) -> tuple[int, int]:
    """Return width and height from the header of a PNG."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise FormatError("truncated or damaged PNG: it has no header")
    return struct.unpack_from(">II", data, 16)


def _unfolded(header: bytes) -> int:
    width, height, depth, kind = struct.unpack_from(">IIBB", header)
    return width * height * {0: 2, 2: 4, 3: 4, 4: 2, 6: 4}.get(kind, 4) * (2 if depth > 8 else 1)


def samples_of(chunks: Iterable[tuple[bytes, bytes]]) -> np.ndarray:
    """Decode the samples, H×W×C, of a picture's chunks (name, body)."""
    # Without the other chunks an animation is its first picture and no junk text can do harm.
    return with_channels(imagecodecs.png_decode(png_file(chunks)))


def chunks_of(data: bytes, damaged: list[bytes] | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's name and checked body; skip damaged chunks without pixels.

    Args:
        data: the file.
        damaged: gets the names of those that are skipped.
    """
    return ((name, body) for name, body, _ in _chunks(data, damaged))


def _chunks(data, damaged=None):
    """Yield what :func:`chunks_of` does, and where each chunk ends."""
    at, name, seen, view = len(SIGNATURE), b"", set(), memoryview(data)
    while name != b"IEND":
        if len(data) < at + 12:
            raise FormatError("truncated PNG: the file ends before its last chunk")
        length, name = struct.unpack_from(">I4s", data, at)
        body = view[at + 8 : at + 8 + length]
        if len(data) < at + 12 + length:
            raise FormatError(
                f"truncated PNG: the file ends inside chunk {name.decode('latin-1')!r}"
            )
        sound = zlib.crc32(body, zlib.crc32(name)) == int.from_bytes(
            data[at + 8 + length : at + 12 + length], "big"
        )
        at += 12 + length
        if sound:
            seen.add(name)
            yield name, body if name == b"IDAT" else bytes(body), at
        elif name in (*_IMAGE_CHUNKS, *_FRAME_CHUNKS):
            raise FormatError(
                f"damaged PNG: chunk {name.decode('latin-1')!r} does not match its checksum"
            )
        elif damaged is not None:
            damaged.append(name)
    if b"IDAT" not in seen:
        raise FormatError("damaged PNG: it holds no picture data")


def png_chunk(name: bytes, body: bytes) -> bytes:
    """Return one PNG chunk: length, name, body, checksum.

    Args:
        name: four letters.
        body: what the chunk holds.
    """
    return b"".join(_pieces(name, body))


def png_file(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file of these chunks (name, body); their bodies are copied once."""
    return b"".join([SIGNATURE, *(piece for chunk in chunks for piece in _pieces(*chunk))])


def _pieces(name: bytes, body: bytes) -> tuple[bytes, bytes, bytes]:
    checksum = zlib.crc32(body, zlib.crc32(name))
    return struct.pack(">I4s", len(body), name), body, struct.pack(">I", checksum)


# Metadata


def _notes(others: list[tuple[bytes, bytes]], frames: int) -> tuple[str, ...]:
    notes = []
    known = (*_FRAME_CHUNKS, *_COLOUR_CHUNKS, *TEXT_CHUNKS, b"iCCP", b"eXIf", b"pHYs")
    notes += metadata.left_out("chunks", {name for name, _ in others} - {*known})
    notes += [
        note
        for name, body in others
        if name == b"cICP" and len(body) == 4
        for note in metadata.taken_for_srgb(body[0], body[1], told=True)
    ]
    gamma = [int.from_bytes(body, "big") for name, body in others if name == b"gAMA"]
    if gamma and gamma[0] > _LINEAR and not {b"iCCP", b"sRGB", b"cICP"} & {n for n, _ in others}:
        notes.append(metadata.LINEAR_TAKEN_FOR_SRGB)
    announced = [struct.unpack_from(">I", body)[0] for name, body in others if name == b"acTL"]
    if frames and announced and announced[0] != frames:
        notes.append(f"it announces {announced[0]} frames and holds {frames}")
    return tuple(notes)


def _described(others: list[tuple[bytes, bytes]]) -> dict:
    """Return the fields of a Raster that chunks beside the picture's fill."""
    found, extras, chunks = {"exif": None, "icc": None}, {}, []
    for name, body in others:
        if name == b"iCCP":
            found["icc"] = _inflated(body.partition(b"\0")[2][1:], metadata.MAX_ICC_BYTES)
        elif name == b"eXIf":
            found["exif"] = body
        elif name == b"pHYs" and len(body) == 9:
            extras["density"] = _density(*struct.unpack(">IIB", body))
        elif name == b"acTL" and len(body) == 8:
            extras["loops"] = struct.unpack(">II", body)[1]
        elif name in TEXT_CHUNKS:
            kind, value = _profile(name, body)
            if kind == "exif":
                found["exif"] = found["exif"] or value
            elif kind:
                extras[kind] = value
            elif name == b"tEXt" and body.startswith(b"Comment\0"):
                extras["comments"] = (*extras.get("comments", ()), body[8:])
            elif name == b"iTXt" and body.startswith(_COMMENT):
                extras["comments"] = (*extras.get("comments", ()), body.removeprefix(_COMMENT))
            else:
                chunks.append((name, body))
        elif name in _COLOUR_CHUNKS:
            chunks.append((name, body))
    return found | {"extras": Extras(**extras, chunks=tuple(chunks))}


def _density(across: int, down: int, unit: int) -> tuple[float, float, bool] | None:
    if not across or not down:
        return None
    factor = INCH if unit == 1 else 1
    return across * factor, down * factor, unit == 1


def _inflated(packed: bytes, limit: int) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(packed, limit + 1)
    except zlib.error:
        return None


def _profile(name: bytes, body: bytes) -> tuple[str, bytes | None]:
    """Return what kind of metadata a text chunk holds, and its bytes; "" for plain text.

    XMP lies in a chunk of its own; ImageMagick keeps EXIF, IPTC and XMP as hexadecimal text.
    """
    keyword, _, rest = body.partition(b"\0")
    if name == b"iTXt" and keyword == _XMP_KEYWORD:
        text = rest[2:].split(b"\0", 2)[-1]
        packet = _inflated(text, xmp.MAX_BYTES) if rest[:1] == b"\1" else text
        return "xmp", packet
    if name == b"tIME" or not keyword.startswith(_RAW_PROFILE):
        return "", None
    text = _inflated(rest[1:], _MAX_TEXT_BYTES) if name == b"zTXt" else rest
    lines = (text or b"").split()
    try:
        value = binascii.unhexlify(b"".join(lines[2:]))
    except binascii.Error:
        return "", None
    kind = keyword.removeprefix(_RAW_PROFILE).lower()
    if value.startswith(EXIF_HEADER) and kind in (b"exif", b"app1"):
        return "exif", value
    if kind in (b"iptc", b"8bim"):
        return "iptc", metadata.iptc_of_photoshop(value) or (
            value if value[:1] == b"\x1c" else None
        )
    if kind == b"xmp":
        return "xmp", value
    return "", None


def _extra_chunks(raster: Raster) -> bytes:
    """Return the chunks that lie between the header and the picture."""
    extras = raster.extras
    chunks = [(name, body) for name, body in extras.chunks if name in _COLOUR_CHUNKS]
    if raster.samples.shape[-1] < 3:
        chunks = [(name, body) for name, body in chunks if name != b"cICP"]  # It is for RGB only.
    if raster.icc:
        # A file says its colours once: as a profile, or as sRGB.
        chunks = [(name, body) for name, body in chunks if name != b"sRGB"]
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(raster.icc)))
    if extras.density:
        chunks.append((b"pHYs", _physical(*extras.density)))
    if raster.exif:
        chunks.append((b"eXIf", raster.exif.removeprefix(EXIF_HEADER)))
    if extras.xmp:
        chunks.append((b"iTXt", _XMP_KEYWORD + bytes(5) + extras.xmp))
    if extras.iptc:
        chunks.append((b"zTXt", _raw_profile(b"iptc", metadata.photoshop_of_iptc(extras.iptc))))
    chunks += [_comment(text.replace(b"\0", b" ")) for text in extras.comments]
    chunks += [(name, body) for name, body in extras.chunks if name in TEXT_CHUNKS]
    return b"".join(png_chunk(*chunk) for chunk in chunks)


def _comment(text: bytes) -> tuple[bytes, bytes]:
    """Return the chunk of a comment: of UTF-8, or of Latin-1 where it is none."""
    with contextlib.suppress(UnicodeDecodeError):
        if not text.decode().isascii():
            return b"iTXt", _COMMENT + text
    return b"tEXt", b"Comment\0" + text


def _physical(across: float, down: float, per_inch: bool) -> bytes:
    factor = INCH if per_inch else 1
    dots = (min(max(round(value / factor), 1), 2**31 - 1) for value in (across, down))
    return struct.pack(">IIB", *dots, per_inch)


def _raw_profile(kind: bytes, block: bytes) -> bytes:
    block = block.removeprefix(metadata.PHOTOSHOP)
    text = b"\n%s\n%8d\n%s\n" % (kind, len(block), binascii.hexlify(block))
    return _RAW_PROFILE + kind + b"\0\0" + zlib.compress(text)


def encode_png(raster: Raster) -> bytes:
    """Encode a raster of 8 or 16 bits as PNG."""
    plain = imagecodecs.png_encode(without_single_channel(raster.samples), **_CODING)
    view = memoryview(plain)
    return b"".join((view[:_HEADER_END], _extra_chunks(raster), view[_HEADER_END:]))
