"""EXIF and ICC: what of a picture's metadata may travel to the enhanced copy."""

from __future__ import annotations

import contextlib
import io
import struct

import numpy as np
from PIL import Image, ImageCms

EXIF_HEADER = b"Exif\0\0"
ORIENTATION = 0x0112
# A JPEG can hold 255 segments of 65 519 bytes; real profiles are far below half of that.
MAX_ICC_BYTES = 8 * 2**20
_INTEGER_FORMATS = {1: "B", 3: "H", 4: "I"}


def settle_exif(exif: bytes | None) -> tuple[bytes | None, int]:
    """Take the orientation out of an EXIF block.

    Only the orientation entry and the link to the thumbnail (which would show the dark picture)
    are changed; every other byte stays where it was, because maker notes hold absolute offsets.

    Args:
        exif: the block, with or without its `Exif` header, or None.

    Returns:
        The block with its header, its orientation reset to 1 and no thumbnail, or None where
        there was none or it is broken; and the orientation it asked for, 1 to 8.
    """
    if not exif:
        return None, 1
    block = bytearray(exif.removeprefix(EXIF_HEADER))
    try:
        orientation = _reset_orientation(block)
    except (struct.error, ValueError):
        return None, 1
    return EXIF_HEADER + bytes(block), orientation if 1 <= orientation <= 8 else 1


def _reset_orientation(block: bytearray) -> int:
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]))
    if order is None:
        raise ValueError(f"EXIF starts with {bytes(block[:2])!r}, not with a byte order")
    magic, start = struct.unpack_from(order + "HI", block, 2)
    if magic != 42:
        raise ValueError(f"EXIF has magic number {magic}, not 42")
    (count,) = struct.unpack_from(order + "H", block, start)
    end = start + 2 + 12 * count
    orientation = 1
    for entry in range(start + 2, end, 12):
        tag, kind = struct.unpack_from(order + "HH", block, entry)
        if tag == ORIENTATION and kind in _INTEGER_FORMATS:
            (orientation,) = struct.unpack_from(order + _INTEGER_FORMATS[kind], block, entry + 8)
            struct.pack_into(order + "HHIHH", block, entry, ORIENTATION, 3, 1, 1, 0)
    if end + 4 <= len(block):
        struct.pack_into(order + "I", block, end, 0)
    return orientation


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
    """Return the ICC profile if it is sound and describes gray (or else RGB) pixels, or None."""
    return icc if _icc_space(icc) == ("GRAY" if gray else "RGB") else None


def _icc_space(icc: bytes | None) -> str | None:
    if not icc or not 128 <= int.from_bytes(icc[:4], "big") <= len(icc) <= MAX_ICC_BYTES:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return profile.profile.xcolor_space.strip()
    except (OSError, ImageCms.PyCMSError):
        return None


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
