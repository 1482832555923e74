"""Reading picture files: the one place where their content is decoded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import numpy as np

from neid_tf.pictures import packing
from neid_tf.pictures.budget import TooLargeError, check_size
from neid_tf.pictures.formats import FORMATS, format_of_content, is_available
from neid_tf.pictures.loss import pixels_left_out
from neid_tf.pictures.picture import Picture, PictureError, from_raster
from neid_tf.pictures.quiet import library_warnings_silenced
from neid_tf.pictures.raster import FormatError, Raster
from neid_tf.support import files
from neid_tf.support.errors import errors_named
from neid_tf.support.libraries import MissingLibraryError

DEFAULT_MAX_PIXELS = 178_956_970
"""The largest picture read by default: half a gigabyte as 8-bit RGB."""
SERVED_MAX_PIXELS = 50_000_000
"""The largest picture that is read for others by default, as of a web page or of a service."""
SUFFIXES = frozenset(s for f in FORMATS.values() if is_available(f) for s in f.suffixes)
"""The suffixes, lower case, of the files that :func:`read` knows; some need further libraries."""


def read(path: str | os.PathLike[str], max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Read a picture file, known by its content and not by its suffix.

    1 to 8 bits per sample become uint8, 9 to 16 bits uint16; floats stay floats. Palettes become
    RGB, CMYK becomes 8-bit sRGB. Of several pages or frames the main one is read:
    ``Picture.pages`` tells how many there are, and :func:`decode_all` gives all of them.
    ``Picture.notes`` says what else was left out. Broken metadata, and an ICC profile of other
    than the picture's colours, are dropped.

    Args:
        path: the file.
        max_pixels: the largest width × height read; checked before the picture is decoded, and
            with it the memory and time that decoding takes (:mod:`neid_tf.pictures.budget`).

    Raises:
        PictureError: if there is no such file, or it is not a sound picture of these formats, or
            too large. Damage to the coefficients of a JPEG, or to an uncompressed BMP or TIFF,
            cannot be noticed unless the file is also too short: these formats have no checksums.
    """
    return decode(path, content(path), max_pixels)


def read_pixels(
    path: str | os.PathLike[str], report: Callable[[str], object] | None = None
) -> np.ndarray:
    """Return the pixels of a picture file, where nothing else of it counts.

    Args:
        path: the file.
        report: is told, in lines that name the file, which pages, frames and bands are left out,
            of transparency, and all that decoding it says.

    Returns:
        H×W×3 RGB, as :attr:`Picture.pixels`.

    Raises:
        PictureError: as :func:`read`.
    """
    picture = read(path)
    for line in (*picture.notes, *pixels_left_out(picture)) if report else ():
        report(f"{os.fspath(path)}: {line}")
    return picture.pixels


def content(path: str | os.PathLike[str]) -> bytes:
    """Return what is in a picture file; :func:`read` says what is raised."""
    with errors_named(path, PictureError), files.open_regular(path) as file:
        start = file.read(64)
        format_of_content(start)
        file.seek(0)
        return file.read()


def decode(
    path: str | os.PathLike[str],
    data: bytes,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    unpack: bool = True,
) -> Picture:
    """Make a picture of a file's content; :func:`read` says more.

    Args:
        path: for messages.
        data: the file's content.
        max_pixels: as for :func:`read`.
        unpack: whether a packed picture is to get the size that it had, which is limited too then.

    Raises:
        PictureError: as :func:`read`.
    """
    with errors_named(path, PictureError), library_warnings_silenced:
        name = format_of_content(data)
        with _errors_explained(name):
            raster = FORMATS[name].decode(data, max_pixels)
        _check_complaints(name)
        return picture_of(raster, name, max_pixels, unpack)


def decode_all(
    path: str | os.PathLike[str], data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Iterator[Picture]:
    """Yield every page of a TIFF or frame of an animation, or the one picture that there is.

    Each is decoded when it is asked for. A frame is the whole picture that is shown;
    ``extras.duration`` says for how long, in seconds.

    Args:
        path: for messages.
        data: the file's content.
        max_pixels: the largest width × height of each; all together may have 16 times as many.

    Raises:
        PictureError: as :func:`read`; where a page is damaged, when it is asked for.
    """
    with errors_named(path, PictureError):
        name = format_of_content(data)
    main = decode(path, data, max_pixels)
    if main.pages == 1 or FORMATS[name].decode_all is None:
        yield main
        return
    del main
    rasters = FORMATS[name].decode_all(data, max_pixels)
    while True:
        with errors_named(path, PictureError), library_warnings_silenced:
            raster = _next(rasters, name)
            if raster is None:
                return
            picture = picture_of(raster, name, max_pixels)
        yield picture


def picture_of(
    raster: Raster, name: str, max_pixels: int = DEFAULT_MAX_PIXELS, unpack: bool = True
) -> Picture:
    """Make a picture of samples, unless it is packed and was larger than what is read.

    Args:
        raster: the samples, which were checked before they were decoded.
        name: of the format.
        max_pixels: as for :func:`read`.
        unpack: as for :func:`decode`.

    Raises:
        FormatError: if the size from before it was packed is over the limit.
    """
    picture = from_raster(raster, name)
    if unpack and (packed := picture.packing):
        check_size(packed.width, packed.height, max_pixels)
    return picture


def _next(rasters: Iterator[Raster], name: str) -> Raster | None:
    with _errors_explained(name):
        raster = next(rasters, None)
    _check_complaints(name)
    return raster


@contextlib.contextmanager
def _errors_explained(name: str) -> Iterator[None]:
    """Name the format in an error of its decoder, which on damaged files may be any."""
    try:
        yield
    except (FormatError, MemoryError, MissingLibraryError):
        raise
    except Exception as error:
        # Of these kinds the text helps a user.
        speaks = isinstance(error, (OSError, ValueError, RuntimeError, SyntaxError))
        speaks = speaks and not isinstance(error, UnicodeError)
        detail = " ".join(str(error).split())[:200]
        said = f": {detail}" if speaks and detail else ""
        raise FormatError(f"damaged or unsupported {name}{said}") from error


def _check_complaints(name: str) -> None:
    """Refuse a file that a decoder complained of, although it gave something."""
    if said := library_warnings_silenced.complaints():
        detail = " ".join(said[0].split())[:200]
        raise FormatError(f"truncated or damaged {name}: {detail}")


def count_pixels(data: bytes) -> int:
    """Return width × height of a file's content without decoding it; 0 if it is not sound.

    A packed picture counts as a quarter of what it was: so many pixels does a network double.
    """
    try:
        with library_warnings_silenced:
            FORMATS[format_of_content(data)].decode(data, 0)
    except TooLargeError as error:
        return max(error.pixels, packing.announced_pixels(data) // 4)
    except Exception:
        # Decoding it in earnest tells what is wrong.
        return 0
    return 0
