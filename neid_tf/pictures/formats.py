"""The table of picture formats: how each is recognised and coded, and what it keeps.

`pictures` is the way in; this module knows the formats and nothing of paths or of enhancement.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import typing
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from neid_tf.pictures import jpeg, marks, png
from neid_tf.pictures.raster import FormatError, Raster
from neid_tf.support.libraries import MissingLibraryError

_DOTS = ("density", "pixel aspect ratio")
METADATA = ("EXIF", "ICC", "XMP", "IPTC", *_DOTS, "comments", "text", "colour chunks", "GeoTIFF")
"""The kinds of metadata that :attr:`Format.keeps` names."""
_LARGEST = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Format:
    """How a file format is recognised, coded and what it can hold.

    Attributes:
        suffixes: file name suffixes, lower case.
        matches: whether a file that starts with these 64 bytes is one, or, for camera raw in TIFFs,
            one of these bytes.
        decode: (data, max_pixels) → raster; raises FormatError or whatever its library raises.
        encode: raster → data, for rasters of these channels and types; None where it is only read.
        decode_all: (data, max_pixels) → all its pages or frames; None where there is one.
        encode_all: rasters → data of all of them.
        channels: how many channels it may have; 1 gray, 2 gray and alpha, 3 RGB, 4 with alpha.
        types: NumPy's names of the types of samples that are written, the smallest first.
        several: "pages", "frames", or "" where a file holds one picture.
        bands: whether further bands are kept.
        keeps: which of :data:`METADATA` are written.
        longest_side: the longest side that can be written, in pixels.
        library: a module that codes it and may be missing, or "".
        instead: the format that such pictures are written as, where this one is only read.
        bits: of integer samples, how many it may have at most.
        lossy: whether there is a quality to choose; of a TIFF where its source has one.
    """

    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    decode: Callable[[bytes, int], Raster]
    encode: Callable[[Raster], bytes] | None = None
    decode_all: Callable[[bytes, int], Iterator[Raster]] | None = None
    encode_all: Callable[[Iterable[Raster]], bytes] | None = None
    channels: tuple[int, ...] = (1, 2, 3, 4)
    types: tuple[str, ...] = ("uint8",)
    several: str = ""
    bands: bool = False
    keeps: tuple[str, ...] = ()
    longest_side: int = _LARGEST
    library: str = ""
    instead: str = "PNG"
    bits: int = 16
    lossy: bool = False

    def type_for(self, dtype: np.dtype) -> np.dtype:
        """Return the type that samples are written in: their own, or the largest there is."""
        return np.dtype(dtype if dtype.name in self.types else self.types[-1])


def _in(module: str, name: str) -> Callable:
    """Return a function of a module of this folder, which is loaded when it is first called."""

    def call(*arguments: typing.Any) -> typing.Any:
        return getattr(importlib.import_module(f"neid_tf.pictures.{module}"), name)(*arguments)

    return call


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(starts)


def _brand(start: bytes) -> Callable[[bytes], bool]:
    return lambda data: marks.heif_brand(data).startswith(start)


FORMATS = {
    "JPEG": Format(
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
        matches=_starts(b"\xff\xd8\xff"),
        decode=jpeg.decode_jpeg,
        encode=jpeg.encode_jpeg,
        channels=(1, 3),
        keeps=("EXIF", "ICC", "XMP", "IPTC", *_DOTS, "comments"),
        longest_side=jpeg.LONGEST_SIDE,
        lossy=True,
    ),
    "PNG": Format(
        suffixes=(".png", ".apng"),
        matches=_starts(png.SIGNATURE),
        decode=png.decode_png,
        encode=png.encode_png,
        decode_all=_in("apng", "decode_frames"),
        encode_all=_in("apng", "encode_frames"),
        types=("uint8", "uint16"),
        several="frames",
        keeps=("EXIF", "ICC", "XMP", "IPTC", *_DOTS, "comments", "text", "colour chunks"),
        longest_side=png.LONGEST_SIDE,
    ),
    "BMP": Format(
        suffixes=(".bmp", ".dib"),
        matches=_starts(b"BM"),
        decode=_in("bmp", "decode_bmp"),
        encode=_in("bmp", "encode_bmp"),
        channels=(1, 3, 4),
        keeps=("density",),
    ),
    "camera raw": Format(
        suffixes=marks.CAMERA_RAW,
        matches=_in("raw", "is_raw"),
        decode=_in("raw", "decode_raw"),
        library="rawpy",
        instead="TIFF",
    ),
    "TIFF": Format(
        suffixes=(".tif", ".tiff"),
        matches=_starts(*marks.TIFF),
        decode=_in("tiff", "decode_tiff"),
        encode=_in("tiff_write", "encode_tiff"),
        decode_all=_in("tiff", "decode_pages"),
        encode_all=_in("tiff_write", "encode_pages"),
        types=("uint8", "uint16", "float32"),
        several="pages",
        bands=True,
        keeps=("EXIF", "ICC", "XMP", "IPTC", *_DOTS, "GeoTIFF"),
        lossy=True,
    ),
    "WEBP": Format(
        suffixes=(".webp",),
        matches=lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP",
        decode=_in("webp", "decode_webp"),
        encode=_in("webp", "encode_webp"),
        decode_all=_in("webp", "decode_frames"),
        encode_all=_in("webp", "encode_frames"),
        channels=(3, 4),
        several="frames",
        keeps=("EXIF", "ICC", "XMP"),
        longest_side=marks.LONGEST_WEBP,
        lossy=True,
    ),
    "GIF": Format(
        suffixes=(".gif",),
        matches=_starts(b"GIF87a", b"GIF89a"),
        decode=_in("gif", "decode_gif"),
        decode_all=_in("gif", "decode_gif_frames"),
        several="frames",
    ),
    "AVIF": Format(
        suffixes=(".avif", ".avifs"),
        matches=_brand(b"av"),
        decode=_in("heif", "decode_avif"),
        encode=_in("heif", "encode_avif"),
        channels=(3, 4),
        bits=marks.HEIF_BITS,
        keeps=("EXIF", "ICC", "XMP"),
        longest_side=marks.LONGEST_HEIF,
        lossy=True,
    ),
    "HEIC": Format(
        suffixes=(".heic", ".heif", ".hif", ".heics"),
        matches=_brand(b"he"),
        decode=_in("heif", "decode_heic"),
        encode=_in("heif", "encode_heic"),
        channels=(1, 3, 4),
        types=("uint8", "uint16"),
        keeps=("EXIF", "ICC", "XMP"),
        longest_side=marks.LONGEST_HEIF,
        library="pillow_heif",
        bits=marks.HEIF_BITS,
        lossy=True,
    ),
    "JPEG XL": Format(
        suffixes=(".jxl",),
        matches=_starts(marks.JPEG_XL_CODESTREAM, marks.JPEG_XL),
        decode=_in("jpegxl", "decode_jpegxl"),
        encode=_in("jpegxl", "encode_jpegxl"),
        keeps=("EXIF", "XMP"),
        library="pillow_jxl",
        lossy=True,
    ),
    "JPEG 2000": Format(
        suffixes=(".jp2",),
        matches=_starts(marks.JPEG_2000),
        decode=_in("jpeg2000", "decode_jpeg2000"),
        encode=_in("jpeg2000", "encode_jpeg2000"),
        types=("uint8", "uint16"),
        keeps=("EXIF", "ICC", "XMP", "IPTC", "density"),
        lossy=True,
    ),
    "JPEG 2000 codestream": Format(
        suffixes=(".j2k", ".j2c", ".jpc", ".jpx", ".jpf"),
        matches=_starts(marks.JPEG_2000_CODESTREAM),
        decode=_in("jpeg2000", "decode_jpeg2000"),
        instead="JPEG 2000",
    ),
    "PNM": Format(
        suffixes=(".pnm", ".pgm", ".ppm"),
        matches=_starts(b"P2", b"P3", b"P5", b"P6"),
        decode=_in("pnm", "decode_pnm"),
        encode=_in("pnm", "encode_pnm"),
        channels=(1, 3),
        types=("uint8", "uint16"),
        keeps=("comments",),
    ),
    "PBM": Format(
        suffixes=(".pbm",),
        matches=_starts(b"P1", b"P4"),
        decode=_in("pnm", "decode_pnm"),
    ),
    "PAM": Format(
        suffixes=(".pam",),
        matches=_starts(b"P7\n"),
        decode=_in("pnm", "decode_pnm"),
        encode=_in("pnm", "encode_pam"),
        types=("uint8", "uint16"),
        keeps=("comments",),
    ),
}
NAMES = {
    "jpeg": "JPEG",
    "png": "PNG",
    "tiff": "TIFF",
    "webp": "WEBP",
    "avif": "AVIF",
    "heic": "HEIC",
    "jxl": "JPEG XL",
}
"""The formats that a user may ask for, by the names that they are asked for by."""


def is_available(format: Format) -> bool:
    """Return whether what decodes a format is installed."""
    return not format.library or importlib.util.find_spec(format.library) is not None


def check_available(name: str) -> None:
    """Raise MissingLibraryError where what codes a format is not installed."""
    if not is_available(FORMATS[name]):
        raise MissingLibraryError(name, FORMATS[name].library)


def format_of_content(start: bytes) -> str:
    """Return the name of the format of a file that starts with these bytes (64 suffice).

    Raises:
        FormatError: if it is none of `FORMATS`.
    """
    if not start:
        raise FormatError("the file is empty")
    for name, known in FORMATS.items():
        if known.matches(start):
            return name
    raise FormatError(f"not a picture of a known format ({', '.join(FORMATS)})")


def table() -> str:
    """Return what each format keeps, as a table in Markdown for the documentation."""
    columns = ("format", "read", "written", "samples", "alpha", "several", "further bands")
    columns = (*columns, *METADATA, "longest side")
    rows = [columns, ["---"] * len(columns)]
    for name, format in FORMATS.items():
        rows.append([name, *_cells(format)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(format: Format) -> list[str]:
    def yes(held: object) -> str:
        return "yes" if held else "–"

    if not format.encode:
        read = f"with `{format.library}`" if format.library else "yes"
        several = f"{format.several} (read)" if format.several else "–"
        rest = [several, *["–"] * (2 + len(METADATA))]
        return [read, f"as {format.instead}", "–", "–", *rest]
    depths = {"uint8": "8 bit", "uint16": f"{format.bits} bit", "float32": "float"}
    coded = f"with `{format.library}`" if format.library else "yes"
    side = f"{format.longest_side:,}" if format.longest_side < _LARGEST else "–"
    held = [yes(kind in format.keeps) for kind in METADATA]
    samples = ", ".join(depths[name] for name in format.types)
    return [
        *(coded, coded, samples, yes(4 in format.channels), format.several or "–"),
        *(yes(format.bands), *held, side),
    ]
