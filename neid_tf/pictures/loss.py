"""What of a picture the file that is written cannot hold."""

from __future__ import annotations

import os

import numpy as np

from neid_tf.pictures import metadata as descriptions
from neid_tf.pictures.formats import FORMATS
from neid_tf.pictures.jpeg import holds_segments
from neid_tf.pictures.picture import Picture, PictureError, held_icc
from neid_tf.pictures.png import TEXT_CHUNKS
from neid_tf.pictures.writer import format_of_name
from neid_tf.support.errors import errors_named


def holds_all(path: str | os.PathLike[str], picture: Picture) -> bool:
    """Return whether a file can hold all pages or frames of a picture's file.

    Args:
        path: the file to write.
        picture: one of them.

    Raises:
        PictureError: if the suffix is of no format that is written.
    """
    with errors_named(path, PictureError):
        target = FORMATS[format_of_name(path, picture.format)]
    return picture.pages == 1 or target.several == FORMATS[picture.format].several != ""


def is_animation(picture: Picture) -> bool:
    """Tell whether a picture is one of several frames that are shown one after the other."""
    return picture.pages > 1 and FORMATS[picture.format].several == "frames"


def pages_left_out(picture: Picture) -> list[str]:
    """Say which pages or frames of a file are lost with all of it but this picture.

    Args:
        picture: one of them.

    Returns:
        A line for a user, such as "2 of its frames are left out"; none where it is the only one.
    """
    several = FORMATS[picture.format].several or "pages"
    further = picture.pages - 1
    return [f"{further} of its {several} are left out"] if further else []


def pixels_left_out(picture: Picture) -> list[str]:
    """Say what is lost with all of a picture but its colours, as :func:`pages_left_out` does."""
    lines = pages_left_out(picture) + bands_left_out(picture)
    lines += ["its transparency is left out"] * (picture.alpha is not None)
    if picture.packing:
        lines.append("it is packed: the size that it had is not given back")
    if not descriptions.means_srgb(picture.icc):
        lines.append("its profile has other colours than sRGB, and its numbers are taken for those")
    filled = "where it holds no picture (mask, nodata) it is filled from beside"
    return lines + [filled] * (picture.valid is not None)


def bands_left_out(picture: Picture) -> list[str]:
    """Say how many further bands are lost, as :func:`pages_left_out` does."""
    if picture.bands is None:
        return []
    return [f"{picture.bands.shape[-1]} further bands are left out"]


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
        name = format_of_name(path, picture.format)
    lines, format = [], FORMATS[name]
    if not holds_all(path, picture):
        lines += [f"{line}: {name} holds none" for line in pages_left_out(picture)]
    if picture.alpha is not None and 4 not in format.channels:
        lines.append(f"its transparency is laid on white: {name} holds none")
    if picture.pixels.dtype.name not in format.types and not picture.packing:
        deepest = format.types[-1]
        deepest = f"{format.bits} bits" if deepest == "uint16" and format.bits < 16 else deepest
        lines.append(f"its {picture.pixels.dtype} samples become {deepest} in {name}")
    elif picture.pixels.dtype == np.uint16 and FORMATS[picture.format].bits > format.bits:
        lines.append(f"of its samples {format.bits} bits are kept: {name} holds no more")
    if os.fspath(path).lower().endswith(".pgm") and not picture.gray:
        lines.append("it is written in colour, as a PPM: .pgm is for gray")
    if picture.has_mask and name != "TIFF":
        lines.append(f"its mask is left out: {name} holds none")
    if not format.bands:
        lines += [f"{line}: {name} holds none" for line in bands_left_out(picture)]
    lost = [kind for kind in held_metadata(picture) if kind not in format.keeps]
    transparent = picture.alpha is not None and 4 in format.channels
    if picture.icc and "ICC" not in lost and not held_icc(picture, format, transparent):
        lines.append(f"its colour profile of gray is left out: gray is RGB in {name}")
    if name == "JPEG" and not holds_segments(picture.exif, picture.extras):
        lost.append("what is over 64 kB")
    if name == "TIFF" and picture.exif:
        from neid_tf.pictures.tiff_write import exif_left_out

        lost += exif_left_out(picture.exif)
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
        "density": extras.density and extras.density[2],
        "pixel aspect ratio": extras.density
        and not extras.density[2]
        and extras.density[0] != extras.density[1],
        "comments": extras.comments,
        "text": [name for name in names if name in TEXT_CHUNKS],
        "colour chunks": [name for name in names if name not in TEXT_CHUNKS],
        "GeoTIFF": extras.tags,
    }
    return [kind for kind, value in held.items() if value]
