"""Large TIFFs, read by windows with rasterio (the extra ``geo``); what is no picture is filled."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator

import numpy as np
import tifffile

from neid_tf.pictures import budget, geo, hidden
from neid_tf.pictures.marks import DNG_VERSION
from neid_tf.pictures.picture import Picture, PictureError, from_raster
from neid_tf.pictures.quiet import library_warnings_silenced
from neid_tf.pictures.raster import Extras, FormatError, Raster
from neid_tf.pictures.tiff import (
    ICC,
    ORIENTATION_LEFT_OUT,
    empty_note,
    main_pages,
    mask_of,
    orientation_of,
    pages_below,
    tags_left_out,
)
from neid_tf.pictures.tiff_samples import (
    colours_and_bands,
    declared_as_colours,
    looks_like_colours,
    roles_of,
)
from neid_tf.support.errors import errors_named
from neid_tf.support.libraries import optional_import

CACHE_MEGABYTES = 256
"""How much of a file's decoded tiles is kept."""
LARGEST_BLOCK = 2**24
"""The most pixels of a tile or strip: each is decoded whole."""
MOST_BANDS = 16
_TYPES = ("uint8", "uint16", "float32")
_KINDS = ("MINISBLACK", "RGB")
_JPEG = 7
_BAND = 2**20  # Pixels that are looked at at a time where all of a picture is.
# What GDAL reads and writes beside a place.
_KEPT_TAGS = {269, 270, 305, 306, 315, 316, 33432, ICC}


def pixels_of(path: str | os.PathLike[str]) -> int:
    """Return width × height of a TIFF's first page, from its header; 0 for what is no TIFF."""
    try:
        with library_warnings_silenced, tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            return page.imagewidth * page.imagelength
    except Exception:
        # Reading it in earnest tells what is wrong.
        return 0


class Windows:
    """A TIFF of one page whose parts are read when they are asked for.

    Args:
        path: the file.

    Attributes:
        page: the page, as tifffile has it.
        file: the same as rasterio has it, inside of ``with``.
        roles: what its samples are.
        notes: what of the file is left out, a line each.
        metadata_notes: likewise, of its metadata.

    Raises:
        FormatError: for what can't be done so.
        MissingLibraryError: if rasterio is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        with optional_import("a TIFF of this size"):
            import rasterio
        with library_warnings_silenced, tifffile.TiffFile(path) as tiff:
            pages, beside = main_pages(tiff, keeps_overviews=True)
            self.page = pages[0]
            if len(pages) > 1 or self.page.index:
                raise FormatError("it has several pages")
            tags = geo.carried_tags(self.page)
            if orientation_of(self.page) != 1 and not geo.is_placed(tags):
                raise FormatError("it is to be turned")
            below = self.page.subifds or ()
            # Of pages below GDAL knows those before the first that can't be read.
            if mask_of(self.page) and len(below) > len(pages_below(self.page)):
                raise FormatError("not all pages below it can be read, and one is its mask")
            beside = beside if below else ()
            self.nodata, self.notes = geo.nodata_of(tags), (*_notes(self.page), *beside)
            self.metadata_notes = _metadata_notes(self.page)
        _check_page(self.page)
        self.height, self.width = self.page.imagelength, self.page.imagewidth
        self.dtype, self.roles = np.dtype(self.page.dtype), roles_of(self.page)
        self._path, self._rasterio = path, rasterio
        self._row = functools.lru_cache(4)(self._read_row)

    def __enter__(self) -> Windows:
        options = {"GDAL_CACHEMAX": CACHE_MEGABYTES, "GDAL_TIFF_INTERNAL_MASK": True}
        with contextlib.ExitStack() as opened, errors_named(self._path, PictureError):
            opened.enter_context(library_warnings_silenced)
            opened.enter_context(self._rasterio.Env(**options))
            self.file = opened.enter_context(self._rasterio.open(self._path, driver="GTiff"))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @functools.cached_property
    def has_mask(self) -> bool:
        """Whether a mask beside the samples says where there is a picture."""
        return self.file.mask_flag_enums[0] == [self._rasterio.enums.MaskFlags.per_dataset]

    def read(self, rows: slice, columns: slice) -> Picture:
        """Return a part of the picture; where there is no picture it continues what is beside.

        Args:
            rows, columns: slices with a start and a stop.

        Raises:
            PictureError: where that part is damaged, or is of values that are no picture's.
        """
        with errors_named(self._path, PictureError):
            stored = np.moveaxis(self._reading(self.file.read, rows, columns), 0, -1)
            valid = geo.valid_pixels(stored, self.nodata)
            if valid is not None and stored.dtype.kind == "f":
                stored = np.where(valid[..., None], stored, stored.dtype.type(0))
            stored = np.ascontiguousarray(stored)
            samples, bands = colours_and_bands(self.page, stored, None)
            if self.has_mask:
                kept = self._reading(self.file.dataset_mask, rows, columns) > 0
                valid = kept if valid is None else valid & kept
            extras = Extras(nodata=self.nodata)
            return from_raster(Raster(samples, extras=extras, bands=bands, valid=valid), "TIFF")

    def _reading(self, read, rows, columns):
        window = ((rows.start, rows.stop), (columns.start, columns.stop))
        try:
            return read(window=window)
        except OSError as error:
            raise FormatError(f"truncated or damaged TIFF: {error}") from error

    def read_across(self, rows: slice) -> np.ndarray:
        """Return the colours of whole rows, filled from all of the picture as one in memory is.

        Args:
            rows: a slice with a start and a stop.

        Returns:
            H×W×3.
        """
        every = slice(0, self.width)
        pixels = self.read(rows, every).pixels
        if self.can_hide:
            for row in np.flatnonzero(self._nearest_row[rows] != np.arange(rows.start, rows.stop)):
                pixels[row] = self._row(int(self._nearest_row[rows.start + row]))
        return pixels

    @property
    def can_hide(self) -> bool:
        """Whether there may be pixels that are not seen."""
        return self.nodata is not None or self.has_mask or bool(self.roles.alpha)

    def _read_row(self, row: int) -> np.ndarray:
        return self.read(slice(row, row + 1), slice(0, self.width)).pixels[0]

    @functools.cached_property
    def _nearest_row(self) -> np.ndarray:
        """For each row the nearest in which something is seen."""
        some = np.concatenate([self._seen(rows) for rows in self.bands()])
        return hidden.nearest(some[None])[0]

    def _seen(self, rows: slice) -> np.ndarray:
        picture = self.read(rows, slice(0, self.width))
        seen = hidden.visible(picture.alpha, picture.valid)
        return np.ones(rows.stop - rows.start, bool) if seen is None else seen.any(axis=1)

    def bands(self, scale: int = 1) -> Iterator[slice]:
        """Yield slices of rows that together are all, each of a number that divides by ``scale``.

        They take little memory, however wide the picture is.
        """
        step = max(_BAND // self.width // scale, 4) * scale
        for top in range(0, self.height, step):
            yield slice(top, min(top + step, self.height))


def _metadata_notes(page: tifffile.TiffPage) -> tuple[str, ...]:
    return tags_left_out(page, _KEPT_TAGS, ": a TIFF that is done by windows holds none")


def _notes(page: tifffile.TiffPage) -> tuple[str, ...]:
    notes = [*empty_note(page)]
    if orientation_of(page) != 1:
        notes.append(ORIENTATION_LEFT_OUT)
    if looks_like_colours(page):
        notes.append(declared_as_colours(page))
    return tuple(notes)


def _check_page(page: tifffile.TiffPage) -> None:
    """Refuse what is not done by windows."""
    kind = tifffile.PHOTOMETRIC(page.photometric).name
    if kind not in _KINDS and not (kind == "YCBCR" and page.compression == _JPEG):
        raise FormatError(f"it has colours of the kind {kind}")
    if DNG_VERSION in page.tags:
        raise FormatError("it is a camera's raw file")
    name = np.dtype(page.dtype).name if page.dtype else "unknown"
    if name not in _TYPES or page.bitspersample != 8 * np.dtype(name).itemsize:
        raise FormatError(f"it has samples of {page.bitspersample} bits of the type {name}")
    if page.samplesperpixel > MOST_BANDS or page.imagedepth > 1:
        raise FormatError(f"it has {page.samplesperpixel} bands and {page.imagedepth} layers")
    budget.check_size(page.imagewidth, page.imagelength, budget.LONGEST_SIDE**2)
    height, width = page.tilelength, page.tilewidth
    if not page.is_tiled:
        height, width = page.rowsperstrip, 0 if page.compression == 1 else page.imagewidth
    if height * width > LARGEST_BLOCK:
        raise FormatError(
            f"its parts are of {width}x{height} pixels; gdal_translate -co TILED=YES makes it tiled"
        )
