"""ICC profiles, IPTC records, orientation: what may travel to the enhanced copy, and how."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import struct
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image, ImageCms

# A JPEG can hold 255 segments of 65 519 bytes; real profiles are far below half of that.
MAX_ICC_BYTES = 8 * 2**20
_UNSEEN = 10  # levels of 255 by which a curve of 2.2 differs from sRGB's, and a bit
INKS_CONVERTED = "its inks (CMYK) become sRGB"
"""What is said of a picture that is converted so."""
PROFILE_LEFT_OUT = "its colour profile, which is broken or of other colours, is left out"
"""What is said of a picture that has such a profile."""
LINEAR_TAKEN_FOR_SRGB = "its levels are those of linear light and taken for sRGB's"
"""What is said of a picture whose profile or chunk says so."""
_LINEAR = 40  # levels of 255 by which middle gray is brighter than sRGB's; of light it is 60.
_MOST_NAMED = 20
_FILL = b"\0\xff\r\n\t "
_VIDEO = re.compile(rb"\0\0\0.ftyp", re.DOTALL)
PHOTOSHOP = b"Photoshop 3.0\0"
"""What each segment of Photoshop's blocks starts with."""
_IPTC_RESOURCE = 0x0404
# Resolution, thumbnails, ICC, EXIF, XMP, digests: told elsewhere, or of the file as it was.
_TOLD_RESOURCES = frozenset([_IPTC_RESOURCE, 1005, 1033, 1036, 1039, 1058, 1059, 1060, 1061])


def left_out(kind: str, names: Iterable[bytes]) -> tuple[str, ...]:
    """Say which parts of a file are left out.

    Args:
        kind: what its parts are called, as "chunks".
        names: theirs.

    Returns:
        A line for a user; none where there are no such parts.
    """
    found = [repr(name.decode("latin-1").strip()) for name in sorted({*names})]
    more = [f"{len(found) - _MOST_NAMED} more"] if len(found) > _MOST_NAMED else []
    listed = ", ".join(found[:_MOST_NAMED] + more)
    return (f"{kind} left out: {listed}",) if listed else ()


_HDR, _WIDE = {16: "PQ", 18: "HLG"}, {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}


def taken_for_srgb(primaries: int, transfer: int, told: bool) -> tuple[str, ...]:
    """Say what levels and colours are that are enhanced as if they were sRGB's.

    Args:
        primaries: a code of ITU-T H.273.
        transfer: likewise.
        told: whether what is written tells of these primaries, as a profile does.

    Returns:
        A line for a user; none where they are sRGB's or nearly so.
    """
    if transfer in _HDR:
        return (f"its levels are those of HDR ({_HDR[transfer]}) and taken for sRGB's",)
    if primaries in _WIDE and not told:
        return (f"its colours are those of {_WIDE[primaries]} and taken for sRGB's",)
    return ()


def behind_left_out(behind: bytes, told: bool = False) -> tuple[str, ...]:
    """Say what lies behind a picture in its file, but for what fills it up.

    Args:
        behind: all that does.
        told: whether it is told otherwise that pictures do.

    Returns:
        A line for a user, or none.
    """
    if _VIDEO.search(behind):
        return ("the video behind the picture is left out",)
    further = 0 if told else len(behind.strip(_FILL))
    return (f"{further:,} bytes behind the picture are left out",) if further else ()


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a picture the way its EXIF orientation asks.

    Args:
        samples: H×W×C, any dtype.
        orientation: 1 to 8, as in EXIF tag 0x0112.

    Returns:
        H×W×C, or W×H×C for orientations 5 to 8.
    """
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def matching_icc(icc: bytes | None, gray: bool) -> bytes | None:
    """Return an ICC profile if it is sound and of the right colours.

    Args:
        icc: the profile, or None.
        gray: whether it has to describe gray pixels, or else RGB.

    Returns:
        The profile, or None.
    """
    return icc if _icc_space(icc) == ("GRAY" if gray else "RGB") else None


def _icc_space(icc: bytes | None) -> str | None:
    if not icc or not 128 <= int.from_bytes(icc[:4], "big") <= len(icc) <= MAX_ICC_BYTES:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return profile.profile.xcolor_space.strip()
    except (OSError, ValueError, ImageCms.PyCMSError):
        return None  # A name of colours may be no text.


@functools.lru_cache(maxsize=16)
def means_srgb(icc: bytes | None) -> bool:
    """Tell whether numbers mean under a profile what they do in sRGB, but for what no eye sees.

    Args:
        icc: a profile of RGB or gray, or None for none, which means sRGB.
    """
    if not icc:
        return True
    if _icc_space(icc) == "GRAY":
        grid = np.linspace(0, 255, 9)[None]
    else:
        grid = np.stack(np.meshgrid(*[np.linspace(0, 255, 5)] * 3), -1).reshape(1, -1, 3)
    image = Image.fromarray(grid.round().astype(np.uint8))
    try:
        shown = np.asarray(_through_profile(image, icc), np.int64)
    except ImageCms.PyCMSError:
        return False
    return bool(np.abs(shown - np.asarray(image.convert("RGB"), np.int64)).max() <= _UNSEEN)


@functools.lru_cache(maxsize=16)
def is_linear(icc: bytes | None) -> bool:
    """Tell whether numbers mean light under a profile, or nearly so, and no curve.

    Args:
        icc: as for :func:`means_srgb`.
    """
    if not icc:
        return False
    image = Image.new("L" if _icc_space(icc) == "GRAY" else "RGB", (1, 1), "#808080")
    try:
        shown = np.asarray(_through_profile(image, icc), np.int64)
    except ImageCms.PyCMSError:
        return False
    return bool(shown.mean() > 128 + _LINEAR)


def cmyk_to_rgb(inks: np.ndarray, icc: bytes | None) -> np.ndarray:
    """Convert inks to sRGB, through their ICC profile where there is a sound one.

    Args:
        inks: H×W×4 uint8, cyan, magenta, yellow, black; 255 is full ink.
        icc: the profile of the inks, or None for the plain formula (1 − ink)(1 − black).

    Returns:
        H×W×3 uint8, sRGB.
    """
    image = Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes())
    if _icc_space(icc) == "CMYK":
        # A profile may open and still lack the tables that a conversion needs.
        with contextlib.suppress(ImageCms.PyCMSError):
            return np.asarray(_through_profile(image, icc))
    return np.asarray(image.convert("RGB"))


def _through_profile(image: Image.Image, icc: bytes) -> Image.Image:
    return ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def photoshop_of_iptc(iptc: bytes) -> bytes:
    """Return IPTC records as the Photoshop block that a JPEG's APP13 segment holds."""
    body = struct.pack(">4sHHI", b"8BIM", _IPTC_RESOURCE, 0, len(iptc)) + iptc
    return PHOTOSHOP + body + bytes(len(body) % 2)


def iptc_of_photoshop(block: bytes) -> bytes | None:
    """Return the IPTC records in Photoshop's blocks, with or without their header; or None."""
    found = (body for kind, body in _resources(block) if kind == _IPTC_RESOURCE)
    return next(found, None) or None


def further_resources(block: bytes) -> list[int]:
    """Return the numbers of what else is in Photoshop's blocks, and is not carried over."""
    return sorted({kind for kind, _ in _resources(block)} - _TOLD_RESOURCES)


def _resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each of Photoshop's resources."""
    at, block = 0, block.removeprefix(PHOTOSHOP)
    while at + 12 <= len(block) and block[at : at + 4] == b"8BIM":
        (kind,) = struct.unpack_from(">H", block, at + 4)
        at += 6 + (block[at + 6] + 2) // 2 * 2  # The name has a length before it, and is even.
        length = int.from_bytes(block[at : at + 4], "big")
        yield kind, block[at + 4 : at + 4 + length]
        at += 4 + length + length % 2
