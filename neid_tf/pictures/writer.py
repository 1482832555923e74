"""Writing picture files, whole or not at all, and what a file cannot hold."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator

from neid_tf.pictures.formats import FORMATS, WRITTEN_INSTEAD
from neid_tf.pictures.jpeg import LONGEST_SEGMENT
from neid_tf.pictures.picture import Picture, PictureError, to_raster
from neid_tf.pictures.png import TEXT_CHUNKS
from neid_tf.pictures.quiet import library_warnings_silenced
from neid_tf.pictures.raster import JPEG_QUALITY, FormatError, Raster
from neid_tf.support import files
from neid_tf.support.errors import errors_named

WRITABLE = frozenset(s for format in FORMATS.values() if format.encode for s in format.suffixes)
"""The suffixes, lower case, of the files that :func:`write` knows."""
METADATA = ("keep", "none")
"""What may become of metadata: kept as far as the format holds it, or left out."""


def write(
    path: str | os.PathLike[str],
    picture: Picture,
    metadata: str = "keep",
    jpeg_quality: int = JPEG_QUALITY,
) -> None:
    """Write a picture file completely or not at all.

    The suffix of the path names the format; without one it is the picture's own. JPEG: 4:4:4.
    WebP: lossless if the source was, or else quality 95. PNG, TIFF (compressed and tiled as the
    source, or else deflate) and BMP keep every sample. What a format cannot hold is converted:
    fewer bits are rounded to; alpha is laid on white (JPEG); gray becomes RGB (WebP,
    and BMP with alpha). :func:`left_out` says so, and what metadata it cannot hold.

    Args:
        path: the file; one that exists is replaced, and keeps its permissions.
        picture: what to write.
        metadata: "keep", or "none" for nothing but what tells how the samples are to be seen
            (ICC profile, PNG's chunks of colour, GeoTIFF's nodata).
        jpeg_quality: of a JPEG, 1 to 100.

    Raises:
        PictureError: if the suffix is of no known format, or the file cannot be written; what
            was there before is then untouched.
    """
    write_content(path, encode(path, picture, metadata, jpeg_quality))


def encode(
    path: str | os.PathLike[str],
    picture: Picture,
    metadata: str = "keep",
    jpeg_quality: int = JPEG_QUALITY,
) -> bytes:
    """Make the content of a picture file of that name.

    Args:
        path: gives the format, by its suffix, or else that of the picture.
        picture: what to encode.
        metadata, jpeg_quality: as for :func:`write`.
    """
    return encode_stored(path, as_stored(path, picture, metadata, jpeg_quality))


def as_stored(
    path: str | os.PathLike[str],
    picture: Picture,
    metadata: str = "keep",
    jpeg_quality: int = JPEG_QUALITY,
) -> tuple[str, Raster]:
    """Do the first half of :func:`encode`: the picture itself is not needed any more then.

    Args:
        path, picture, metadata, jpeg_quality: as for :func:`encode`.

    Returns:
        The name of the format, and the samples as they lie in it.
    """
    with errors_named(path, PictureError), library_warnings_silenced:
        name = _format_of_suffix(path, picture.format)
        raster = to_raster(picture, FORMATS[name], metadata == "keep")
        return name, dataclasses.replace(raster, quality=jpeg_quality)


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
    path: str | os.PathLike[str], pictures: Iterable[Picture], metadata: str = "keep"
) -> bytes:
    """Make the content of a file of several pages or frames.

    Args:
        path: the file; its format is by its suffix, or else that of the first picture.
        pictures: at least one; each is asked for when those before it are encoded. Frames are of
            one size. A format that holds one gets the first (:func:`holds_all`).
        metadata: as for :func:`write`.

    Raises:
        PictureError: as :func:`write`; what ``pictures`` raises passes as it is.
    """
    pictures = iter(pictures)
    first = next(pictures)
    with errors_named(path, PictureError):
        name = _format_of_suffix(path, first.format)
    if FORMATS[name].encode_all is None:
        return encode(path, first, metadata)

    def rasters() -> Iterator[Raster]:
        yield to_raster(first, FORMATS[name], metadata == "keep")
        for picture in pictures:
            yield to_raster(picture, FORMATS[name], metadata == "keep")

    with errors_named(path, PictureError), library_warnings_silenced:
        return _encoded(name, FORMATS[name].encode_all, rasters())


def _encoded(name: str, encode: object, what: object) -> bytes:
    try:
        return encode(what)
    except (MemoryError, PictureError):
        raise
    except Exception as error:
        # Each library has errors of its own, for sizes that its format cannot hold.
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise FormatError(f"cannot be encoded as {name}: {detail}") from error


def write_content(path: str | os.PathLike[str], data: bytes, label: str = "") -> None:
    """Write a file's content completely or not at all; :func:`write` says what is raised.

    Args:
        path: the file.
        data: its content.
        label: text in the name that the file has until it is complete.
    """
    with errors_named(path, PictureError):
        target = pathlib.Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise FormatError("is there already and not a regular file")
        with files.whole_file(target, label) as temporary, open(temporary, "xb") as file:
            file.write(data)


def _format_of_suffix(path: str | os.PathLike[str], own: str) -> str:
    suffix = pathlib.Path(path).suffix.lower()
    if not suffix:
        return own if FORMATS[own].encode else WRITTEN_INSTEAD
    for name, format in FORMATS.items():
        if suffix in format.suffixes and format.encode:
            return name
    known = ", ".join(sorted(WRITABLE))
    raise FormatError(f"cannot write a picture with the suffix {suffix!r}; known are {known}")


def written_suffix(source: str | os.PathLike[str]) -> str:
    """Return the suffix of a picture's enhanced copy: its own if that can be written, or .png."""
    suffix = pathlib.Path(source).suffix
    known = {s for format in FORMATS.values() if not format.encode for s in format.suffixes}
    return FORMATS[WRITTEN_INSTEAD].suffixes[0] if suffix.lower() in known else suffix


def longest_side(path: str | os.PathLike[str], own: str = WRITTEN_INSTEAD) -> int:
    """Return the longest side in pixels that a file of this name can have.

    Args:
        path: the file.
        own: the format of a name without suffix.

    Raises:
        PictureError: if the suffix is of no format that is written.
    """
    with errors_named(path, PictureError):
        return FORMATS[_format_of_suffix(path, own)].longest_side


def check_target(
    path: str | os.PathLike[str], height: int, width: int, own: str = WRITTEN_INSTEAD
) -> None:
    """Refuse what cannot be written, before it is computed.

    Args:
        path: the file to write.
        height: of the picture to write, in pixels.
        width: likewise.
        own: the format of a name without suffix.

    Raises:
        PictureError: if the suffix is of no format that is written, or its sides are shorter.
    """
    limit = longest_side(path, own)
    if max(height, width) > limit:
        with errors_named(path, PictureError):
            name = _format_of_suffix(path, own)
            raise FormatError(
                f"{width}x{height} pixels: the sides of a {name} are at most {limit} pixels"
            )


def holds_all(path: str | os.PathLike[str], picture: Picture) -> bool:
    """Return whether a file can hold all pages or frames of a picture's file.

    Args:
        path: the file to write.
        picture: one of them.

    Raises:
        PictureError: if the suffix is of no format that is written.
    """
    with errors_named(path, PictureError):
        target = FORMATS[_format_of_suffix(path, picture.format)]
    return picture.pages == 1 or target.several == FORMATS[picture.format].several != ""


def left_out(
    path: str | os.PathLike[str], picture: Picture, metadata: str = "keep"
) -> tuple[str, ...]:
    """Say what of a picture is lost in a file of this name.

    Args:
        path: the file to write.
        picture: what is written.
        metadata: as for :func:`write`; with "none" nothing is said of metadata.

    Returns:
        Lines for a user, such as "alpha is laid on white: JPEG holds none"; none if all is kept.

    Raises:
        PictureError: if the suffix is of no format that is written.
    """
    with errors_named(path, PictureError):
        name = _format_of_suffix(path, picture.format)
    lines, format = [], FORMATS[name]
    if not holds_all(path, picture):
        several = FORMATS[picture.format].several
        lines.append(f"{picture.pages - 1} of its {several} are left out: {name} holds none")
    if picture.alpha is not None and 4 not in format.channels:
        lines.append(f"its transparency is laid on white: {name} holds none")
    if picture.pixels.dtype.name not in format.types and not picture.packing:
        lines.append(f"its {picture.pixels.dtype} samples become {format.types[-1]} in {name}")
    if picture.bands is not None and not format.bands:
        lines.append(f"{picture.bands.shape[-1]} further bands are left out: {name} holds none")
    lost = [kind for kind in held_metadata(picture) if kind not in format.keeps]
    if name == "JPEG":
        extras = picture.extras
        parts = (picture.exif, extras.xmp, extras.iptc, *extras.comments)
        lost += ["what is over 64 kB"] * any(len(part or b"") > LONGEST_SEGMENT for part in parts)
    if lost and metadata == "keep":
        lines.append(f"{', '.join(lost)} left out: {name} holds none")
    return tuple(lines)


def held_metadata(picture: Picture) -> list[str]:
    """Return which kinds of metadata a picture has, as :attr:`Format.keeps` names them.

    Args:
        picture: as it was read.
    """
    extras = picture.extras
    names = [name for name, _ in extras.chunks]
    held = {
        "EXIF": picture.exif,
        "ICC": picture.icc,
        "XMP": extras.xmp,
        "IPTC": extras.iptc,
        "density": extras.density,
        "comments": extras.comments,
        "text": [name for name in names if name in TEXT_CHUNKS],
        "colour chunks": [name for name in names if name not in TEXT_CHUNKS],
        "GeoTIFF": extras.tags,
    }
    return [kind for kind, value in held.items() if value]
