"""Decoders and encoders of single picture formats, between bytes and arrays.

`pictures` is the way in; this module knows the formats and nothing of paths or of enhancement.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin

from neid_tf.pictures import metadata, tiff
from neid_tf.pictures.raster import (
    FormatError,
    Raster,
    check_size,
    with_channels,
    without_single_channel,
)

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_END = len(_PNG_SIGNATURE) + 25
_PNG_IMAGE_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# Runs only, each pixel told by its neighbours (Paeth): for pictures a third of the time of the
# library's default search for repetitions, and smaller files.
_PNG_CODING = {"level": 4, "strategy": 3, "filter": 0x80}
_LONGEST_JPEG_EXIF = 65_533
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode_png(data: bytes, max_pixels: int) -> Raster:
    """Decode a PNG of any depth; palettes and transparent colours become RGB and alpha."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise FormatError("truncated or damaged PNG: it has no header")
    check_size(*struct.unpack_from(">II", data, 16), max_pixels)
    image, icc, exif = [], None, None
    for name, body in _png_chunks(data):
        if name in _PNG_IMAGE_CHUNKS:
            image.append(png_chunk(name, body))
        elif name == b"iCCP":
            icc = _inflated_icc(body)
        elif name == b"eXIf":
            exif = body
    # Without the other chunks an animation is its first picture and no junk text can do harm.
    samples = imagecodecs.png_decode(_PNG_SIGNATURE + b"".join(image))
    return Raster(with_channels(samples), exif, icc)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's name and checked body; skip damaged chunks without pixels."""
    at, name, seen = len(_PNG_SIGNATURE), b"", set()
    while name != b"IEND":
        if len(data) < at + 12:
            raise FormatError("truncated PNG: the file ends before its last chunk")
        length, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        whole = data[at : at + 12 + length]
        at += 12 + length
        if len(data) < at:
            raise FormatError(
                f"truncated PNG: the file ends inside chunk {name.decode('latin-1')!r}"
            )
        if whole == png_chunk(name, body):
            seen.add(name)
            yield name, body
        elif name in _PNG_IMAGE_CHUNKS:
            raise FormatError(
                f"damaged PNG: chunk {name.decode('latin-1')!r} does not match its checksum"
            )
    if b"IDAT" not in seen:
        raise FormatError("damaged PNG: it holds no picture data")


def png_chunk(name: bytes, body: bytes) -> bytes:
    """Return one PNG chunk: length, four-letter name, body, checksum."""
    checksum = zlib.crc32(body, zlib.crc32(name))
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def _inflated_icc(body: bytes) -> bytes | None:
    # The chunk is a name, a zero, the number of the only compression there is, and the profile.
    packed = body.partition(b"\0")[2][1:]
    try:
        return zlib.decompressobj().decompress(packed, metadata.MAX_ICC_BYTES + 1)
    except zlib.error:
        return None


def encode_png(raster: Raster) -> bytes:
    """Encode any raster as PNG."""
    plain = imagecodecs.png_encode(without_single_channel(raster.samples), **_PNG_CODING)
    extra = b""
    if raster.icc:
        extra += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(raster.icc))
    if raster.exif:
        extra += png_chunk(b"eXIf", raster.exif.removeprefix(metadata.EXIF_HEADER))
    return plain[:_PNG_HEADER_END] + extra + plain[_PNG_HEADER_END:]


def decode_jpeg(data: bytes, max_pixels: int) -> Raster:
    """Decode a JPEG: gray, colour or CMYK (which becomes sRGB); of several pictures the first."""
    raster = _decode_with_pillow(JpegImagePlugin.JpegImageFile, data, max_pixels)
    return dataclasses.replace(raster, lossless=False)


def decode_bmp(data: bytes, max_pixels: int) -> Raster:
    """Decode a BMP of 1 to 32 bits per pixel, plain or run-length encoded."""
    return _decode_with_pillow(BmpImagePlugin.BmpImageFile, data, max_pixels)


def decode_webp(data: bytes, max_pixels: int) -> Raster:
    """Decode a WebP; of an animation the first picture."""
    chunks = dict(_webp_chunks(data))
    check_size(*_webp_size(data), max_pixels)
    # Not with Pillow, which enforces a limit of its own on this format.
    samples = imagecodecs.webp_decode(data, index=0)
    return Raster(
        with_channels(samples), chunks.get(b"EXIF"), chunks.get(b"ICCP"), b"VP8L" in chunks
    )


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + length]
        # A frame of an animation holds 16 bytes of its own and then chunks like the others.
        at += 8 + (16 if name == b"ANMF" else length + length % 2)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the first chunk: an extended, a lossless or a lossy header."""
    name, header = data[12:16], data[20:30]
    if len(header) == 10 and name == b"VP8X":
        extent = struct.unpack("<HBHB", header[4:])
        return extent[0] + (extent[1] << 16) + 1, extent[2] + (extent[3] << 16) + 1
    if len(header) == 10 and name == b"VP8L":
        bits = int.from_bytes(header[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if len(header) == 10 and name == b"VP8 ":
        width, height = struct.unpack("<HH", header[6:])
        return width & 0x3FFF, height & 0x3FFF
    raise FormatError("truncated or damaged WebP: it has no header")


def _decode_with_pillow(
    plugin: Callable[[io.BytesIO], ImageFile.ImageFile], data: bytes, max_pixels: int
) -> Raster:
    # The plugin itself, because Image.open enforces a process-wide limit and prints warnings.
    try:
        image = plugin(io.BytesIO(data))
    except SyntaxError as error:
        raise FormatError(f"truncated, damaged or unsupported header ({error})") from error
    with image:
        check_size(*image.size, max_pixels)
        icc, exif = image.info.get("icc_profile"), image.info.get("exif")
        image.load()
        if image.mode == "CMYK":
            samples = metadata.cmyk_to_rgb(np.asarray(image), icc)
        else:
            samples = np.asarray(image.convert(_pillow_mode(image)))
    return Raster(with_channels(samples), exif, icc)


def _pillow_mode(image: Image.Image) -> str:
    wanted = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}
    if image.mode not in wanted:
        raise FormatError(f"pixels of mode {image.mode} are not supported")
    return wanted[image.mode]


def encode_jpeg(raster: Raster) -> bytes:
    """Encode 8-bit gray or RGB as JPEG of quality 95 with full colour resolution (4:4:4)."""
    exif = raster.exif if len(raster.exif or b"") <= _LONGEST_JPEG_EXIF else None
    return _encode_with_pillow(raster, "JPEG", exif=exif, quality=95, subsampling=0)


def encode_webp(raster: Raster) -> bytes:
    """Encode 8-bit RGB or RGB and alpha as WebP: lossless, or else of quality 95."""
    # The method is the encoder's effort: the default, 4, takes twice the time, for files of the
    # same size with loss and 2 to 5% smaller ones without.
    lossless = {"lossless": True, "exact": True, "quality": 0, "method": 1}
    how = lossless if raster.lossless else {"quality": 95, "method": 2}
    return _encode_with_pillow(raster, "WEBP", exif=raster.exif, **how)


def _encode_with_pillow(raster: Raster, name: str, exif: bytes | None, **how) -> bytes:
    file = io.BytesIO()
    metadata = {"exif": exif or b"", "icc_profile": raster.icc}
    _pillow_image(raster.samples).save(file, name, **metadata, **how)
    return file.getvalue()


def _pillow_image(samples: np.ndarray) -> Image.Image:
    height, width, channels = samples.shape
    return Image.frombytes(_MODES[channels], (width, height), samples.tobytes())


def encode_bmp(raster: Raster) -> bytes:
    """Encode 8-bit gray, RGB or RGB and alpha as BMP, which holds no metadata."""
    image, file = _pillow_image(raster.samples), io.BytesIO()
    if image.mode != "RGBA":
        image.save(file, "BMP")
        return file.getvalue()
    # Pillow writes alpha under a header that has no alpha; this is the one that has (version 4).
    pixels = image.tobytes("raw", "BGRA", 0, -1)
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    size = (len(pixels), 2835, 2835, 0, 0)
    header = struct.pack("<IiiHHI5I4I", 108, *image.size, 1, 32, 3, *size, *masks)
    header += b"BGRs" + bytes(48)
    return struct.pack("<2sIII", b"BM", 122 + len(pixels), 0, 122) + header + pixels


@dataclasses.dataclass(frozen=True)
class Format:
    """How a file format is recognised, coded and what it can hold.

    Attributes:
        suffixes: file name suffixes, lower case.
        starts: what such a file starts with, any of them.
        decode: (data, max_pixels) → raster; raises FormatError or whatever its library raises.
        encode: raster → data, for rasters of these channels and depth.
        channels: how many channels it may have; 1 gray, 2 gray and alpha, 3 RGB, 4 with alpha.
        deep: whether it holds 16-bit samples besides 8-bit ones.
    """

    suffixes: tuple[str, ...]
    starts: tuple[bytes, ...]
    decode: Callable[[bytes, int], Raster]
    encode: Callable[[Raster], bytes]
    channels: tuple[int, ...] = (1, 2, 3, 4)
    deep: bool = True


FORMATS = {
    "JPEG": Format(
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        starts=(b"\xff\xd8\xff",),
        decode=decode_jpeg,
        encode=encode_jpeg,
        channels=(1, 3),
        deep=False,
    ),
    "PNG": Format(
        suffixes=(".png",),
        starts=(_PNG_SIGNATURE,),
        decode=decode_png,
        encode=encode_png,
    ),
    "BMP": Format(
        suffixes=(".bmp", ".dib"),
        starts=(b"BM",),
        decode=decode_bmp,
        encode=encode_bmp,
        channels=(1, 3, 4),
        deep=False,
    ),
    "TIFF": Format(
        suffixes=(".tif", ".tiff"),
        starts=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        decode=tiff.decode_tiff,
        encode=tiff.encode_tiff,
    ),
    "WEBP": Format(
        suffixes=(".webp",),
        starts=(b"RIFF",),
        decode=decode_webp,
        encode=encode_webp,
        channels=(3, 4),
        deep=False,
    ),
}


def format_of_content(start: bytes) -> str:
    """Return the name of the format of a file that starts with these bytes (16 suffice).

    Raises:
        FormatError: if it is none of `FORMATS`.
    """
    if not start:
        raise FormatError("the file is empty")
    for name, known in FORMATS.items():
        if start.startswith(known.starts) and (name != "WEBP" or start[8:12] == b"WEBP"):
            return name
    raise FormatError(f"not a picture of a known format ({', '.join(FORMATS)})")
