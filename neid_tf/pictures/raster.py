"""Samples as they lie in a picture file, and the exact conversions between their kinds."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from neid_tf.pixels.samples import quantise
from neid_tf.support.errors import NeidError


class FormatError(NeidError):
    """A picture that cannot be decoded or encoded, with a reason a user understands."""


class TooLargeError(FormatError):
    """A picture over the limit; its attribute ``pixels`` says how many it has."""

    def __init__(self, width: int, height: int, max_pixels: int) -> None:
        self.pixels = width * height
        super().__init__(
            f"{width}x{height} is {self.pixels} pixels, over the limit of {max_pixels}"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Raster:
    """Samples as they lie in a file, with the metadata stored beside them.

    Attributes:
        samples: H×W×C, uint8 or uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        exif: EXIF block with its `Exif` header, or None.
        icc: ICC profile, or None.
        lossless: whether the file keeps every sample as it was.
    """

    samples: np.ndarray
    exif: bytes | None = None
    icc: bytes | None = None
    lossless: bool = True


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an empty or too large picture; called on the header, before any decoding.

    Raises:
        FormatError: if a side is zero.
        TooLargeError: if width × height exceeds max_pixels.
    """
    if width < 1 or height < 1:
        raise FormatError(f"the picture is {width}x{height} pixels: it is empty")
    if width * height > max_pixels:
        raise TooLargeError(width, height, max_pixels)


def with_channels(samples: np.ndarray) -> np.ndarray:
    """Return H×W or H×W×C samples as H×W×C."""
    return samples.reshape(*samples.shape[:2], -1)


def without_single_channel(samples: np.ndarray) -> np.ndarray:
    """Return H×W×1 samples as H×W, others unchanged: encoders balk at a single channel."""
    return samples[..., 0] if samples.shape[-1] == 1 else samples


def resize_alpha(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an alpha channel bilinearly, which adds no halo to its edges.

    Args:
        alpha: H×W, uint8 or uint16.
        height, width: the size wanted, in pixels.

    Returns:
        height×width, of the same type; the same array if it has that size already.
    """
    if alpha.shape == (height, width):
        return alpha
    image = Image.fromarray(alpha.astype(np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return quantise(resized, alpha.dtype)
