"""The table of picture formats: how each is recognised and coded, and what it keeps.

`pictures` is the way in; this module knows the formats and nothing of paths or of enhancement.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from neid_tf.pictures import apng, bmp, jpeg, pillow, png, tiff, tiff_write, webp
from neid_tf.pictures.raster import FormatError, Raster

METADATA = ("EXIF", "ICC", "XMP", "IPTC", "density", "comments", "text", "colour chunks", "GeoTIFF")
"""The kinds of metadata that :attr:`Format.keeps` names."""
_LARGEST = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Format:
    """How a file format is recognised, coded and what it can hold.

    Attributes:
        suffixes: file name suffixes, lower case.
        matches: whether a file that starts with these 64 bytes is one.
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
        library: a module that decodes it and may be missing, or "".
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

    def type_for(self, dtype: np.dtype) -> np.dtype:
        """Return the type that samples are written in: their own, or the largest there is."""
        return np.dtype(dtype if dtype.name in self.types else self.types[-1])


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(starts)


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    """Return whether a file of boxes (ISO 14496-12) names one of these brands first of ours."""
    ours = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1")

    def matches(data: bytes) -> bool:
        named = [data[8:12], *(data[at : at + 4] for at in range(16, min(len(data), 64), 4))]
        known = [brand for brand in named if brand in ours and brand != b"mif1"]
        return data[4:8] == b"ftyp" and bool(known) and known[0] in brands

    return matches


FORMATS = {
    "JPEG": Format(
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        matches=_starts(b"\xff\xd8\xff"),
        decode=jpeg.decode_jpeg,
        encode=jpeg.encode_jpeg,
        channels=(1, 3),
        keeps=("EXIF", "ICC", "XMP", "IPTC", "density", "comments"),
        longest_side=jpeg.LONGEST_SIDE,
    ),
    "PNG": Format(
        suffixes=(".png", ".apng"),
        matches=_starts(png.SIGNATURE),
        decode=png.decode_png,
        encode=png.encode_png,
        decode_all=apng.decode_frames,
        encode_all=apng.encode_frames,
        types=("uint8", "uint16"),
        several="frames",
        keeps=("EXIF", "ICC", "XMP", "IPTC", "density", "comments", "text", "colour chunks"),
        longest_side=png.LONGEST_SIDE,
    ),
    "BMP": Format(
        suffixes=(".bmp", ".dib"),
        matches=_starts(b"BM"),
        decode=bmp.decode_bmp,
        encode=bmp.encode_bmp,
        channels=(1, 3, 4),
        keeps=("density",),
    ),
    "TIFF": Format(
        suffixes=(".tif", ".tiff"),
        matches=_starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        decode=tiff.decode_tiff,
        encode=tiff_write.encode_tiff,
        decode_all=tiff.decode_pages,
        encode_all=tiff_write.encode_pages,
        types=("uint8", "uint16", "float32"),
        several="pages",
        bands=True,
        keeps=("EXIF", "ICC", "XMP", "IPTC", "density", "GeoTIFF"),
    ),
    "WEBP": Format(
        suffixes=(".webp",),
        matches=lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP",
        decode=webp.decode_webp,
        encode=webp.encode_webp,
        decode_all=webp.decode_frames,
        encode_all=webp.encode_frames,
        channels=(3, 4),
        several="frames",
        keeps=("EXIF", "ICC", "XMP"),
        longest_side=webp.LONGEST_SIDE,
    ),
    "GIF": Format(
        suffixes=(".gif",),
        matches=_starts(b"GIF87a", b"GIF89a"),
        decode=pillow.decode_gif,
        decode_all=pillow.decode_gif_frames,
        several="frames",
    ),
    "AVIF": Format(
        suffixes=(".avif",),
        matches=_brand(b"avif", b"avis"),
        decode=pillow.decode_avif,
    ),
    "HEIC": Format(
        suffixes=(".heic", ".heif"),
        matches=_brand(b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"),
        decode=pillow.decode_heic,
        library="pillow_heif",
    ),
    "JPEG XL": Format(
        suffixes=(".jxl",),
        matches=_starts(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
        decode=pillow.decode_jxl,
        library="pillow_jxl",
    ),
}
WRITTEN_INSTEAD = "PNG"
"""The format of pictures that are read from one that is not written."""


def is_available(format: Format) -> bool:
    """Return whether what decodes a format is installed."""
    return not format.library or importlib.util.find_spec(format.library) is not None


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
        return [read, f"as {WRITTEN_INSTEAD}", "–", "–", *rest]
    depths = {"uint8": "8 bit", "uint16": "16 bit", "float32": "float"}
    side = f"{format.longest_side:,}" if format.longest_side < _LARGEST else "–"
    held = [yes(kind in format.keeps) for kind in METADATA]
    samples = ", ".join(depths[name] for name in format.types)
    return [
        *("yes", "yes", samples, yes(4 in format.channels), format.several or "–"),
        *(yes(format.bands), *held, side),
    ]
