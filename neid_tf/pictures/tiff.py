"""TIFF: the many ways its samples may be stored, its pages, and its EXIF among its own tags."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import math
import re
import struct
from collections.abc import Container, Iterable, Iterator, Sequence

import numpy as np
import tifffile
from PIL import Image

from neid_tf.pictures import budget, geo, lzw, metadata, webp
from neid_tf.pictures.exif import (
    ORIENTATION,
    RESOLUTION,
    RESOLUTION_UNIT,
    SUB_DIRECTORIES,
    as_density,
    directories,
    entries_of,
    text_of,
)
from neid_tf.pictures.marks import LAYOUT_TAGS, SAMPLE_TAGS, SHAPE
from neid_tf.pictures.raster import Extras, FormatError, Layout, Raster
from neid_tf.pictures.tiff_samples import (
    JPEG_COMPRESSIONS,
    colours_and_bands,
    declared_as_colours,
    looks_like_colours,
    roles_of,
    samples_of,
    stored_samples,
)

TEXT_TAGS = (269, 270, 271, 272, 285, 305, 306, 315, 316, 33432)
WHOLE_TAGS = {18246: "H", 18249: "H", **dict.fromkeys(range(40091, 40096), "B")}
"""Tags of whole numbers that travel as texts do, Windows' rating and its texts, and their types."""
XMP, IPTC, ICC = 700, 33723, 34675
_MOST_CHANNELS, _MOST_PAGES = 16, 10_000
_FREE_TILE, _HEADER = 2**22, 8
_INCOMPLETE = "truncated or damaged TIFF: a part of its picture is not in the file"
_LZW, _WEBP_COMPRESSION = 5, 50001
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# None, CCITT, LZW, JPEG, deflate, PackBits, LZMA, Zstandard, WebP: decoders that are told, or whose
# data tells, how much comes out.
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000, 50001, 50013)
_REDUCED, MASK = 1, 4
KEPT_TAGS = {*TEXT_TAGS, *WHOLE_TAGS, *SUB_DIRECTORIES, XMP, IPTC, ICC}
"""Tags that are carried over, beside those of a place and of the layout."""
_SHORT_NAMES = {**dict.fromkeys(SUB_DIRECTORIES, "EXIF"), IPTC: "IPTC"}
ORIENTATION_LEFT_OUT = "its orientation tag, which its place excludes, is left out"
"""What is said of a GeoTIFF that has one."""


def decode_tiff(data: bytes, max_pixels: int) -> Raster:
    """Decode the main page of a TIFF: the first that is no reduced copy and no mask.

    Gray, RGB, palette, CMYK and YCbCr; 1 to 16 bits unsigned (1 to 8 become 8 bits, 9 to 16
    become 16), or float samples in [0, 1], which stay floats. Float samples up to 0.001
    outside of [0, 1] are clipped. CMYK becomes 8-bit sRGB. Associated alpha is divided out;
    extra samples of no declared meaning are kept as further bands. A mask of its own (a
    bilevel page behind it, or below it) says where there is a picture.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: for other kinds of samples, float samples that are not finite or further
            outside of [0, 1], a picture without its data, or a picture that is too large.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages, notes = main_pages(file)
        raster = _decoded(pages[0], data, max_pixels, (*notes, *_layout_notes(data)))
        return dataclasses.replace(raster, pages=len(pages))


def decode_pages(data: bytes, max_pixels: int) -> Iterator[Raster]:
    """Yield all pages of a TIFF but reduced copies and masks; see :func:`decode_tiff`.

    Args:
        data: the file.
        max_pixels: the largest width × height of a page.

    Raises:
        FormatError: as :func:`decode_tiff`; it names the page.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages, notes = main_pages(file)
        notes += _layout_notes(data)
        total = sum(page.imagewidth * page.imagelength for page in pages)
        budget.check_effort(total, max_pixels, f"its {len(pages)} pages")
        for number, page in enumerate(pages, 1):
            try:
                raster = _decoded(page, data, max_pixels, notes if number == 1 else ())
            except FormatError as error:
                raise FormatError(f"page {number}: {error}") from error
            yield dataclasses.replace(raster, pages=len(pages))


def _layout_notes(data: bytes) -> tuple[str, ...]:
    """Say that a file that is laid out for the cloud, as GDAL does it, becomes another."""
    is_cog = b"LAYOUT=IFDS_BEFORE_DATA" in data[:256]
    return ("its layout for the cloud (COG) is left out",) if is_cog else ()


def main_pages(
    file: tifffile.TiffFile, keeps_overviews: bool = False
) -> tuple[list[tifffile.TiffPage], tuple[str, ...]]:
    """Return the pages that are pictures of their own, and what is said of the others.

    Args:
        file: the file.
        keeps_overviews: whether what is written has reduced copies too.
    """
    count = len(file.pages)
    if not count:
        raise FormatError("truncated or damaged TIFF: it holds no page")
    if count > _MOST_PAGES:
        raise FormatError(f"{count} pages are not supported, only {_MOST_PAGES}")
    pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
    below = [sub for page in pages for sub in pages_below(page)]
    lost = sum(len(page.subifds or ()) for page in pages) - len(below)
    notes, whole = [], [page for page in pages if not page.subfiletype & (_REDUCED | MASK)]
    further = [page for page in below if not page.subfiletype & (_REDUCED | MASK)]
    whole, further = (whole, further) if whole else (further, ())
    if not whole:
        raise FormatError("it holds only reduced copies of its picture")
    reduced = sum(page.subfiletype & _REDUCED for page in (*pages, *below))
    if reduced and not keeps_overviews:
        copies = "copy" if reduced == 1 else "copies"
        notes.append(f"{reduced} reduced {copies} of it (preview, overview) left out")
    masks = sum(page.subfiletype & (_REDUCED | MASK) == MASK for page in (*pages, *below))
    if masks := masks - sum(mask_of(page) is not None for page in whole):
        notes.append(f"{masks} mask{'s' if masks > 1 else ''} of it left out")
    if (behind := _announced(pages[0]) - len(pages)) > 0:
        notes.append(f"{behind} pictures that lie behind its pages left out")
    for count, which in ((len(further), ""), (lost, ", which can't be read,")):
        if count:
            notes.append(f"{count} page{'s' if count > 1 else ''} below it{which} left out")
    return whole, tuple(notes)


def _announced(page: tifffile.TiffPage) -> int:
    """Return how many pictures a file's description says there are, in pages or behind one."""
    if found := re.match(r"ImageJ=.*?^images=(\d+)", page.description, re.DOTALL | re.MULTILINE):
        return int(found[1])
    if page.description.startswith(SHAPE) and '"truncated": true' in page.description:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            of_all = math.prod(json.loads(page.description)["shape"])
            return of_all // math.prod(page.shape)
    return 0


def mask_of(page: tifffile.TiffPage) -> tifffile.TiffPage | None:
    """Return the mask of a page, which lies behind it, as GDAL writes it, or below it; or None.

    It is nonzero where there is a picture.
    """
    size = (page.imagelength, page.imagewidth)
    if page.subifds:
        beside = pages_below(page)
    elif isinstance(page.index, int):
        pages = page.parent.pages
        behind = (pages[index] for index in range(page.index + 1, len(pages)))
        beside = itertools.takewhile(lambda other: other.subfiletype & (_REDUCED | MASK), behind)
    else:
        return None
    for other in beside:
        is_mask = other.subfiletype & (_REDUCED | MASK) == MASK and other.samplesperpixel == 1
        if is_mask and (other.imagelength, other.imagewidth) == size:
            return other
    return None


def pages_below(page: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    """Return the pages below a page that can be read."""
    # TiffPage.pages has none of them where the first can't be read.
    found, above = [], page.index if isinstance(page.index, tuple) else (page.index,)
    for number, offset in enumerate(page.subifds or ()):
        with contextlib.suppress(Exception):
            page.parent.filehandle.seek(offset)
            found.append(tifffile.TiffPage(page.parent, index=(*above, number)))
    return found


def _decoded(
    page: tifffile.TiffPage, data: bytes, max_pixels: int, notes: tuple[str, ...]
) -> Raster:
    budget.check_size(page.imagewidth, page.imagelength, max_pixels)
    _check_layout(page, max_pixels)
    _check_data(page, data, max_pixels)
    icc, orientation, tags = _bytes(page, ICC), orientation_of(page), geo.carried_tags(page)
    if geo.is_placed(tags) and orientation != 1:
        # Programs for maps do not turn; a picture that is turned would lie elsewhere.
        orientation, notes = 1, (*notes, ORIENTATION_LEFT_OUT)
    stored = stored_samples(page)
    nodata = geo.nodata_of(tags)
    valid, mask = geo.valid_pixels(stored, nodata), mask_of(page)
    if mask:
        valid = _seen_through(mask, data, max_pixels, valid)
    if valid is not None and stored.dtype.kind == "f":
        stored = np.where(valid[..., None], stored, stored.dtype.type(0))
    samples, bands = colours_and_bands(page, stored, icc)
    notes += (*empty_note(page), *tags_left_out(page, KEPT_TAGS))
    if stored.dtype == np.float64:
        notes = (*notes, "of the 64 bits of its samples 32 are kept")
    if looks_like_colours(page):
        notes = (*notes, declared_as_colours(page))
    if tifffile.PHOTOMETRIC(page.photometric).name == "SEPARATED":
        icc, notes = None, (*notes, metadata.INKS_CONVERTED)
        if stored.dtype.itemsize > 1:
            notes = (*notes, f"of the {8 * stored.dtype.itemsize} bits of its inks 8 are kept")
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else None
    extras = Extras(
        xmp=_bytes(page, XMP),
        iptc=_bytes(page, IPTC),
        density=_density(page),
        tags=tags,
        nodata=nodata,
        layout=Layout(
            tile, tifffile.COMPRESSION(page.compression).name.lower(), roles_of(page).order
        ),
        masked=mask is not None,
    )
    lossless = page.compression not in JPEG_COMPRESSIONS
    order, is_big = page.parent.byteorder, page.parent.is_bigtiff
    exif, had_notes = exif_of_directory(data, order, is_big, page.offset, orientation)
    if had_notes:
        notes = (*notes, "its maker's notes are left out")
    if any(code in page.tags and code not in entries_of(exif) for code in SUB_DIRECTORIES):
        notes = (*notes, "of its EXIF what can't be read is left out")
    return Raster(samples, exif, icc, lossless, extras, bands, valid, notes=notes)


def orientation_of(page: tifffile.TiffPage) -> int:
    """Return how a page is to be turned, 1 to 8."""
    value = page.tags.valueof(ORIENTATION, default=1)
    value = value[0] if isinstance(value, bytes) and value else value
    return value if value in range(1, 9) else 1


def _seen_through(
    mask: tifffile.TiffPage, data: bytes, max_pixels: int, valid: np.ndarray | None
) -> np.ndarray | None:
    """Return where there is a picture, H×W, after its mask too; None for everywhere."""
    _check_layout(mask, max_pixels)
    _check_data(mask, data, max_pixels)
    kept = samples_of(mask).reshape(mask.imagelength, mask.imagewidth) != 0
    kept = kept if valid is None else valid & kept
    return None if kept.all() else kept


def tags_left_out(
    page: tifffile.TiffPage, kept: Container[int], reason: str = ""
) -> tuple[str, ...]:
    """Say which tags of a page are left out.

    Args:
        page: with its tags.
        kept: the numbers of those that are carried over beside its place.
        reason: why the others are not.
    """
    carried = {*LAYOUT_TAGS, *geo.CARRIED}
    left = {tag.code for tag in page.tags if tag.code not in carried and tag.code not in kept}
    broken = [code for code in _codes(page) if code not in page.tags and code not in SAMPLE_TAGS]
    notes = [f"{_names(left)} left out{reason}"] if left else []
    return (*notes, *([f"{_names(broken)}, which can't be read, left out"] if broken else ()))


def _names(codes: Iterable[int]) -> str:
    known = (_SHORT_NAMES.get(code) or tifffile.TIFF.TAGS.get(code, str(code)) for code in codes)
    return ", ".join(sorted({*known}))


def _codes(page: tifffile.TiffPage) -> list[int]:
    """Return the numbers of all tags of a page; tifffile passes over those it can't read."""
    file, form = page.parent.filehandle, page.parent.tiff
    file.seek(page.offset)
    (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    entries = file.read(count * form.tagsize)
    places = range(0, len(entries) - form.tagsize + 1, form.tagsize)
    return [struct.unpack_from(f"{form.byteorder}H", entries, at)[0] for at in places]


def _bytes(page: tifffile.TiffPage, code: int) -> bytes | None:
    """Return the bytes of a tag; some writers declare text or numbers."""
    tag, file = page.tags.get(code), page.parent.filehandle
    if tag is None or not tag.count:
        return None
    file.seek(tag.valueoffset)
    return file.read(tag.valuebytecount)


def _density(page: tifffile.TiffPage) -> tuple[float, float, bool] | None:
    with contextlib.suppress(Exception):
        across, down = (page.tags[code].value for code in RESOLUTION)
        across, down = (top / bottom for top, bottom in (across, down))
        is_sound = all(0 < pixels < 2**32 for pixels in (across, down))
        if page.description.startswith("ImageJ=") and is_sound and (across, down) != (1, 1):
            return across, down, False  # Its unit is told there.
        return as_density(across, down, page.tags.valueof(RESOLUTION_UNIT, default=2))
    return None


def _check_layout(page: tifffile.TiffPage, max_pixels: int) -> None:
    channels = page.samplesperpixel
    if not 1 <= channels <= _MOST_CHANNELS:
        raise FormatError(f"{channels} channels are not supported")
    if page.imagedepth > 1:
        raise FormatError(f"a volume of {page.imagedepth} layers is not supported")
    if page.compression not in _COMPRESSIONS:
        kind = getattr(page.compression, "name", repr(page.compression))
        raise FormatError(f"damaged or unsupported TIFF: compression {kind} is not read")
    width = page.dtype.itemsize if page.dtype else 1
    pixels = page.imagewidth * page.imagelength
    budget.check_bytes(pixels * channels * width, max_pixels)
    if not isinstance(page.planarconfig, int) or page.planarconfig not in (1, 2):
        # tifffile would decode a part of the samples, and leave the rest as the memory was.
        raise FormatError("damaged or unsupported TIFF: its planar configuration can't be read")
    # Tiles may be larger than the picture, and are decoded whole.
    if page.is_tiled:
        tile = page.tilewidth * page.tilelength
        if tile > max(max_pixels, _FREE_TILE):
            raise FormatError(
                f"tiles of {page.tilewidth}x{page.tilelength} pixels are not supported"
            )
        budget.check_effort(tile * math.prod(page.chunked), max_pixels, "its tiles")


def empty_pieces(page: tifffile.TiffPage) -> int:
    """Return how many strips or tiles a sparse file says are empty: they have no address, no bytes.

    Raises:
        FormatError: where all are, or one has an address and no bytes, or bytes and no address.
    """
    places = np.array(page.dataoffsets, np.uint64) >= _HEADER
    lengths = np.array(page.databytecounts, np.uint64) > 0
    count = min(len(places), len(lengths))
    if not places.any() or (places[:count] != lengths[:count]).any():
        raise FormatError(_INCOMPLETE)
    return count - int(places[:count].sum())


def empty_note(page: tifffile.TiffPage) -> tuple[str, ...]:
    """Say how many strips or tiles are empty; see :func:`empty_pieces`."""
    what, count = "tiles" if page.is_tiled else "strips", empty_pieces(page)
    return (f"{count} of its {math.prod(page.chunked)} {what} are empty",) if count else ()


def _check_data(page: tifffile.TiffPage, data: bytes, max_pixels: int) -> None:
    """Refuse a file without all of its strips or tiles, which would read as black areas."""
    pieces = list(zip(page.dataoffsets, _byte_counts(page), strict=False))
    missing = math.prod(page.chunked) > len(pieces) and not page.is_contiguous
    if empty_pieces(page):
        pieces = [piece for piece in pieces if any(piece)]
    if missing or not all(at <= len(data) - count for at, count in pieces):
        raise FormatError(_INCOMPLETE)
    # Pieces may share their bytes; a decoder goes through them again and again.
    budget.check_bytes(sum(count for _, count in pieces), max_pixels, "its compressed samples")
    for offset, count in pieces:
        size = None
        if page.compression in JPEG_COMPRESSIONS:
            size = _jpeg_size(data, offset, offset + count)
        elif page.compression == _WEBP_COMPRESSION:
            size = webp.size_of(data[offset : offset + min(count, 64)])
        elif page.compression == _LZW:
            lzw.check(_forward(data[offset : offset + count], page.fillorder))
        if size and size[0] * size[1] > max(max_pixels, _FREE_TILE):
            raise FormatError(f"a piece of {size[0]}x{size[1]} pixels is not supported")


def _forward(piece: bytes, fillorder: int) -> bytes:
    """Return bytes with their bits in the usual order."""
    return piece.translate(_TURNED) if fillorder == 2 else piece


def _byte_counts(page: tifffile.TiffPage) -> Sequence[int]:
    """Return how many bytes of each piece of a page are read.

    A strip that is not compressed has as many as its rows take, whatever the file says.
    """
    counts = page.databytecounts
    plain = page.compression == 1 and isinstance(page.bitspersample, int)
    if page.is_tiled or not plain or len(counts) != math.prod(page.chunked):
        return counts
    row = -(-math.prod(page.chunks[1:]) * page.bitspersample // 8)
    strips = max(math.ceil(page.imagelength / page.rowsperstrip), 1)
    rows = (
        min(page.rowsperstrip, page.imagelength - index % strips * page.rowsperstrip)
        for index in range(len(counts))
    )
    return [min(count, row * height) for count, height in zip(counts, rows, strict=True)]


def _jpeg_size(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Return width and height that a JPEG's frame header announces; None where there is none."""
    at += 2
    while at + 9 < end and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[p : p + 2], "big") for p in (at + 5, at + 7))
            return width, height
        at += 2 + max(length, 2)
    return None


def exif_of_directory(
    data: bytes, order: str, is_big: bool, at: int, orientation: int = 1
) -> tuple[bytes | None, bool]:
    """Return the descriptive tags as an EXIF block; the orientation alone if they are broken.

    Args:
        data: the file.
        order: "<" or ">", of its bytes.
        is_big: whether it is a BigTIFF.
        at: where the directory with the tags lies.
        orientation: what the block is to say.

    Returns:
        The block, or None where there is nothing to say; and whether there were maker's notes,
        which are not in it.
    """
    exif, had_notes = Image.Exif(), False
    # Broken or strange metadata must not cost the user the picture.
    with contextlib.suppress(Exception):
        found = Image.Exif()
        found.endian, found.bigtiff = order, is_big
        found.load_from_fp(io.BytesIO(data), at)
        described = Image.Exif()
        for tag in TEXT_TAGS:
            text = text_of(found.get(tag, ""))
            # What tifffile writes as a description is about the layout of the file.
            if text and not text.startswith(SHAPE):
                described[tag] = text
        described.update((tag, found[tag]) for tag in WHOLE_TAGS if tag in found)
        below, had_notes = directories(found)
        described.update(below)
        described.tobytes()
        exif = described
    if orientation in range(2, 9):
        exif[ORIENTATION] = orientation
    return exif.tobytes() if len(exif) else None, had_notes
