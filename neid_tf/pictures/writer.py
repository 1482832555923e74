"""Writing picture files, whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator

from neid_tf.pictures.formats import FORMATS, check_available
from neid_tf.pictures.picture import Picture, PictureError, to_raster
from neid_tf.pictures.quiet import library_warnings_silenced
from neid_tf.pictures.raster import FormatError, Raster
from neid_tf.support import files
from neid_tf.support.errors import errors_named
from neid_tf.support.libraries import MissingLibraryError

WRITABLE = frozenset(s for format in FORMATS.values() if format.encode for s in format.suffixes)
"""The suffixes, lower case, of the files that :func:`write` knows."""
METADATA = ("keep", "none")
"""What may become of metadata: kept as far as the format holds it, or left out."""


def write(
    path: str | os.PathLike[str],
    picture: Picture,
    metadata: str = "keep",
    quality: int | None = None,
) -> None:
    """Write a picture file completely or not at all.

    The suffix of the path names the format; without one it is the picture's own. JPEG, AVIF and
    HEIC: 4:4:4. PNG, TIFF (compressed and tiled as the source, or else deflate), BMP and PNM
    keep every sample. What a format cannot hold is converted:
    fewer bits are rounded to; alpha is laid on white (JPEG); gray becomes RGB (WebP, AVIF,
    and BMP with alpha). :func:`neid_tf.pictures.loss.left_out` says so, and what metadata it
    cannot hold.

    Args:
        path: the file; one that exists is replaced, and keeps its permissions.
        picture: what to write.
        metadata: "keep", or "none" for nothing but what tells how the samples are to be seen
            (ICC profile, PNG's chunks of colour, GeoTIFF's nodata).
        quality: of what is written with loss, 1 to 100; None for 95, or for none where the source
            had none and the format (WebP, JPEG XL, JPEG 2000) can do without.

    Raises:
        PictureError: if the suffix is of no known format, or the file cannot be written; what
            was there before is then untouched.
    """
    write_content(path, encode(path, picture, metadata, quality))


def encode(
    path: str | os.PathLike[str],
    picture: Picture,
    metadata: str = "keep",
    quality: int | None = None,
) -> bytes:
    """Make the content of a picture file of that name.

    Args:
        path: gives the format, by its suffix, or else that of the picture.
        picture: what to encode.
        metadata, quality: as for :func:`write`.
    """
    return encode_stored(path, as_stored(path, picture, metadata, quality))


def as_stored(
    path: str | os.PathLike[str],
    picture: Picture,
    metadata: str = "keep",
    quality: int | None = None,
) -> tuple[str, Raster]:
    """Do the first half of :func:`encode`: the picture itself is not needed any more then.

    Args:
        path, picture, metadata, quality: as for :func:`encode`.

    Returns:
        The name of the format, and the samples as they lie in it.
    """
    with errors_named(path, PictureError), library_warnings_silenced:
        name = format_of_name(path, picture.format)
        raster = to_raster(picture, FORMATS[name], metadata == "keep")
        return name, dataclasses.replace(raster, quality=quality)


def encode_stored(path: str | os.PathLike[str], stored: tuple[str, Raster]) -> bytes:
    """Do the second half of :func:`encode`.

    Args:
        path: for messages.
        stored: what :func:`as_stored` returned.
    """
    name, raster = stored
    with errors_named(path, PictureError), library_warnings_silenced:
        return _encoded(name, FORMATS[name].encode, raster)


def encode_all(
    path: str | os.PathLike[str],
    pictures: Iterable[Picture],
    metadata: str = "keep",
    quality: int | None = None,
) -> bytes:
    """Make the content of a file of several pages or frames.

    Args:
        path: the file; its format is by its suffix, or else that of the first picture.
        pictures: at least one; each is asked for when those before it are encoded. Frames are of
            one size. A format that holds one gets the first; see
            :func:`neid_tf.pictures.loss.holds_all`.
        metadata, quality: as for :func:`write`.

    Raises:
        PictureError: as :func:`write`; what ``pictures`` raises passes as it is.
    """
    pictures = iter(pictures)
    first = next(pictures)
    with errors_named(path, PictureError):
        name = format_of_name(path, first.format)
    if FORMATS[name].encode_all is None:
        return encode(path, first, metadata, quality)

    def rasters() -> Iterator[Raster]:
        for picture in itertools.chain([first], pictures):
            raster = to_raster(picture, FORMATS[name], metadata == "keep")
            yield dataclasses.replace(raster, quality=quality)

    with errors_named(path, PictureError), library_warnings_silenced:
        return _encoded(name, FORMATS[name].encode_all, rasters())


def _encoded(name: str, encode: object, what: object) -> bytes:
    try:
        return encode(what)
    except (MemoryError, MissingLibraryError, PictureError):
        raise
    except Exception as error:
        # Each library has errors of its own, for sizes that its format cannot hold.
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise FormatError(f"cannot be encoded as {name}: {detail}") from error


def write_content(
    path: str | os.PathLike[str], data: bytes, label: str = "", overwrite: bool = True
) -> None:
    """Write a file's content completely or not at all; :func:`write` says what is raised.

    Args:
        path: the file.
        data: its content.
        label: text in the name that the file has until it is complete.
        overwrite: whether what is there is replaced, or an error.
    """
    with whole_target(path, label, overwrite) as temporary, open(temporary, "xb") as file:
        file.write(data)


@contextlib.contextmanager
def whole_target(
    path: str | os.PathLike[str], label: str = "", overwrite: bool = True
) -> Iterator[pathlib.Path]:
    """Give a name to write to, which gets the path's name once all went well.

    Args:
        path, label, overwrite: as for :func:`write_content`.
    """
    with errors_named(path, PictureError):
        target = pathlib.Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise FormatError("is there already and not a regular file")
        with files.whole_file(target, label, overwrite) as temporary:
            yield temporary


def format_of_name(path: str | os.PathLike[str], own: str) -> str:
    """Return the name of the format of a file that is written.

    Args:
        path: the file.
        own: the format of the picture, which goes where the name has no suffix.

    Raises:
        FormatError: if the suffix is of no format that is written.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if not suffix:
        return own if FORMATS[own].encode else FORMATS[own].instead
    for name, format in FORMATS.items():
        if suffix in format.suffixes and format.encode:
            return name
    known = ", ".join(sorted(WRITABLE))
    raise FormatError(f"cannot write a picture with the suffix {suffix!r}; known are {known}")


def written_suffix(source: str | os.PathLike[str]) -> str:
    """Return the suffix of a picture's enhanced copy: its own where that can be written."""
    suffix = pathlib.Path(source).suffix
    own = next((f for f in FORMATS.values() if suffix.lower() in f.suffixes), None)
    return suffix if own is None or own.encode else FORMATS[own.instead].suffixes[0]


def has_quality(path: str | os.PathLike[str]) -> bool:
    """Return whether there can be a quality of what is written under a name.

    Args:
        path: the file; of one without a suffix it is not known before it is read, and true.
    """
    suffix = pathlib.Path(path).suffix.lower()
    return not suffix or any(f.lossy for f in FORMATS.values() if suffix in f.suffixes)


def longest_side(path: str | os.PathLike[str], own: str = "PNG") -> int:
    """Return the longest side in pixels that a file of this name can have.

    Args:
        path: the file.
        own: the format of a name without suffix.

    Raises:
        PictureError: if the suffix is of no format that is written.
    """
    with errors_named(path, PictureError):
        return FORMATS[format_of_name(path, own)].longest_side


def check_target(path: str | os.PathLike[str], height: int, width: int, own: str = "PNG") -> None:
    """Refuse what cannot be written, before it is computed.

    Args:
        path: the file to write.
        height: of the picture to write, in pixels.
        width: likewise.
        own: the format of a name without suffix.

    Raises:
        PictureError: if the suffix is of no format that is written, or its sides are shorter, or
            what encodes it is not installed.
    """
    with errors_named(path, PictureError):
        check_available(format_of_name(path, own))
    limit = longest_side(path, own)
    if max(height, width) > limit:
        with errors_named(path, PictureError):
            name = format_of_name(path, own)
            raise FormatError(
                f"{width}x{height} pixels: in {name}, sides are at most {limit} pixels"
            )
