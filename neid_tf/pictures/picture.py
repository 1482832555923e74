"""Reading and writing picture files: the one place where `neid enhance` touches them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import stat

import numpy as np

from neid_tf.pictures import metadata
from neid_tf.pictures.formats import FORMATS, Format, format_of_content
from neid_tf.pictures.quiet import library_warnings_silenced
from neid_tf.pictures.raster import (
    FormatError,
    Raster,
    TooLargeError,
    resize_alpha,
)
from neid_tf.pixels.samples import over_white, to_gray, to_type
from neid_tf.support import files
from neid_tf.support.errors import FileError, errors_named

DEFAULT_MAX_PIXELS = 178_956_970
"""The largest picture read by default: half a gigabyte as 8-bit RGB."""


SUFFIXES = frozenset(suffix for format in FORMATS.values() for suffix in format.suffixes)
"""The suffixes, lower case, of the files that `read` and `write` know."""


class PictureError(FileError):
    """A picture file that cannot be read or written; names it, and says why in one line."""


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what its file said of it.

    Attributes:
        pixels: H×W×3, uint8 or uint16, RGB, upright (the EXIF orientation is applied).
        alpha: H×W opacity of the same type, or None.
        gray: whether the file was gray, and is to be gray when saved.
        format: "JPEG", "PNG", "BMP", "TIFF" or "WEBP".
        exif: EXIF block with its `Exif` header and an orientation of 1, or None.
        icc: ICC profile of the pixels, or of their gray where `gray` is set; or None.
        lossless: whether the file kept every sample; a WebP is saved losslessly if so.

    Raises:
        ValueError: if pixels or alpha have another shape or type.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    format: str = "PNG"
    exif: bytes | None = None
    icc: bytes | None = None
    lossless: bool = True

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype not in (np.uint8, np.uint16):
            raise ValueError(f"pixels must be H×W×3 of uint8 or uint16, not {shape} of {dtype}")
        alpha = self.alpha
        if alpha is not None and (alpha.shape != shape[:2] or alpha.dtype != dtype):
            raise ValueError(
                f"alpha must be {shape[:2]} of {dtype}, not {alpha.shape} of {alpha.dtype}"
            )
        if self.format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {self.format!r}")

    def with_pixels(self, pixels: np.ndarray) -> Picture:
        """Return the picture with enhanced pixels; alpha follows their size and type.

        Args:
            pixels: h×w×3, uint8 or uint16, RGB.

        Raises:
            ValueError: if pixels have another shape or type.
        """
        changed = dataclasses.replace(self, pixels=pixels, alpha=None)
        if self.alpha is None:
            return changed
        alpha = resize_alpha(self.alpha, *pixels.shape[:2])
        return dataclasses.replace(changed, alpha=to_type(alpha, pixels.dtype))


def read(path: str | os.PathLike[str], max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Read a JPEG, PNG, BMP, TIFF or WebP file, known by its content and not by its suffix.

    1 to 8 bits per sample become uint8, 9 to 16 bits and float TIFFs uint16. Palettes become
    RGB, CMYK becomes 8-bit sRGB. Of several pictures or pages in a file the first is read. Broken
    metadata, and an ICC profile of other than the picture's colours, are dropped.

    Args:
        path: the file.
        max_pixels: the largest width × height read; checked before the picture is decoded.

    Raises:
        PictureError: if there is no such file, or it is not a sound picture of these formats, or
            too large. Damage to the coefficients of a JPEG, or to an uncompressed BMP or TIFF,
            cannot be noticed unless the file is also too short: these formats have no checksums.
    """
    return decode(path, content(path), max_pixels)


def content(path: str | os.PathLike[str]) -> bytes:
    """Return what is in a picture file; :func:`read` says what is raised."""
    with _errors_of(path):
        # Opening a pipe would wait for ever.
        if stat.S_ISFIFO(os.stat(path).st_mode) or stat.S_ISCHR(os.stat(path).st_mode):
            raise FormatError("not a regular file")
        with open(path, "rb") as file:
            start = file.read(16)
            format_of_content(start)
            return start + file.read()


def decode(
    path: str | os.PathLike[str], data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Picture:
    """Make a picture of a file's content; :func:`read` says more. The path is for messages."""
    with _errors_of(path), library_warnings_silenced:
        name = format_of_content(data)
        try:
            raster = FORMATS[name].decode(data, max_pixels)
        except (FormatError, MemoryError):
            raise
        except Exception as error:
            raise FormatError(f"damaged or unsupported {name}{_detail(error)}") from error
        return _picture(raster, name)


def count_pixels(data: bytes) -> int:
    """Return width × height of a file's content without decoding it; 0 if it is not sound."""
    try:
        with library_warnings_silenced:
            FORMATS[format_of_content(data)].decode(data, 0)
    except TooLargeError as error:
        return error.pixels
    except Exception:
        # Decoding it in earnest tells what is wrong.
        return 0
    return 0


def _picture(raster: Raster, name: str) -> Picture:
    exif, orientation = metadata.settle_exif(raster.exif)
    samples = metadata.upright(raster.samples, orientation)
    gray = samples.shape[-1] < 3
    colours = samples[..., : 1 if gray else 3]
    alpha = samples[..., colours.shape[-1] :]
    return Picture(
        pixels=np.repeat(colours, 3 // colours.shape[-1], axis=-1),
        alpha=np.ascontiguousarray(alpha[..., 0]) if alpha.size else None,
        gray=gray,
        format=name,
        exif=exif,
        icc=metadata.matching_icc(raster.icc, gray),
        lossless=raster.lossless,
    )


def write(path: str | os.PathLike[str], picture: Picture) -> None:
    """Write a picture file completely or not at all.

    The suffix of the path names the format; without one it is the picture's own. JPEG: quality
    95, 4:4:4. WebP: lossless if the source was, or else quality 95. PNG, TIFF (deflate) and BMP
    keep every sample. Where the format holds no 16-bit samples they are rounded to 8 bits; where
    it holds no alpha (JPEG) the picture is laid on white; where it has no gray (WebP, and BMP
    with alpha) it is RGB. Metadata that the format cannot hold (all of it in a BMP) is left out.

    Args:
        path: the file; one that exists is replaced, and keeps its permissions.
        picture: what to write.

    Raises:
        PictureError: if the suffix is of no known format, or the file cannot be written; what
            was there before is then untouched.
    """
    write_content(path, encode(path, picture))


def encode(path: str | os.PathLike[str], picture: Picture) -> bytes:
    """Make the content of a picture file of that name; :func:`write` says more."""
    with _errors_of(path), library_warnings_silenced:
        return _encoded(picture, _format_of_suffix(path, picture))


def write_content(path: str | os.PathLike[str], data: bytes, label: str = "") -> None:
    """Write a file's content completely or not at all; :func:`write` says what is raised.

    The label is in the name that the file has until it is complete.
    """
    with _errors_of(path):
        target = pathlib.Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise FormatError("is there already and not a regular file")
        with files.whole_file(target, label) as temporary, open(temporary, "xb") as file:
            file.write(data)


def _format_of_suffix(path: str | os.PathLike[str], picture: Picture) -> str:
    suffix = pathlib.Path(path).suffix.lower()
    if not suffix:
        return picture.format
    for name, format in FORMATS.items():
        if suffix in format.suffixes:
            return name
    known = ", ".join(sorted(SUFFIXES))
    raise FormatError(f"cannot write a picture with the suffix {suffix!r}; known are {known}")


def _encoded(picture: Picture, name: str) -> bytes:
    raster = _raster(picture, FORMATS[name])
    try:
        return FORMATS[name].encode(raster)
    except MemoryError:
        raise
    except Exception as error:
        # Each library has errors of its own, for sizes that its format cannot hold.
        raise FormatError(f"cannot be encoded as {name}: {_one_line(error)}") from error


def _raster(picture: Picture, format: Format) -> Raster:
    transparent = picture.alpha is not None and 4 in format.channels
    gray = picture.gray and 1 + transparent in format.channels
    samples = to_gray(picture.pixels) if gray else picture.pixels
    if transparent:
        samples = np.concatenate([samples, picture.alpha[..., None]], axis=-1)
    elif picture.alpha is not None:
        samples = over_white(samples, picture.alpha)
    if not format.deep:
        samples = to_type(samples, np.uint8)
    icc = metadata.matching_icc(picture.icc, gray)
    return Raster(np.ascontiguousarray(samples), picture.exif, icc, picture.lossless)


def _errors_of(path: str | os.PathLike[str]) -> contextlib.AbstractContextManager[None]:
    """Turn what goes wrong inside into a PictureError that names the path."""
    return errors_named(path, PictureError)


def _detail(error: Exception) -> str:
    # A damaged file can make a decoder raise anything; of these kinds the text helps a user.
    speaks = isinstance(error, (OSError, ValueError, RuntimeError, SyntaxError))
    return f": {_one_line(error)}" if speaks and str(error) else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
