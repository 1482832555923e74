"""Samples as they lie in a picture file, with what is stored beside them."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from neid_tf.pixels.samples import quantise
from neid_tf.support.errors import NeidError

QUALITY = 95
"""The quality that is written with loss unless another is asked for, of 1 to 100."""

INCH = 0.0254
"""Its length in metres, by which some formats count dots."""


class FormatError(NeidError):
    """A picture that cannot be decoded or encoded, with a reason a user understands."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a TIFF stores its samples.

    Attributes:
        tile: height and width of its tiles, in pixels; None for strips.
        compression: tifffile's name of the compression, lower case.
        order: the places of the colours, of alpha and of further bands, one behind the other.
    """

    tile: tuple[int, int] | None = None
    compression: str = "adobe_deflate"
    order: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Extras:
    """What else a file holds beside samples, EXIF and ICC profile.

    Attributes:
        xmp: XMP packet (UTF-8 XML), or None.
        iptc: IPTC records (IIM), or None.
        density: dots across and down, and whether they are counted per inch (or only their ratio
            means something); None where the file says nothing.
        comments: comments without a keyword, as bytes in the encoding they had.
        chunks: PNG chunks (name, body) of colour and of text, as they are.
        tags: GeoTIFF tags (number, TIFF type, count, value).
        nodata: the value of samples that are no picture, or None.
        layout: of a TIFF.
        masked: whether a mask of its own says where a TIFF holds a picture.
        duration: how long a frame of an animation is shown, in seconds.
        loops: how often an animation plays; 0 for without end.
    """

    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tuple[float, float, bool] | None = None
    comments: tuple[bytes, ...] = ()
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    tags: tuple[tuple, ...] = ()
    nodata: float | None = None
    layout: Layout | None = None
    masked: bool = False
    duration: float = 0.0
    loops: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Raster:
    """Samples as they lie in a file, with the metadata stored beside them.

    Attributes:
        samples: H×W×C, uint8, uint16 or float32; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and
            alpha.
        exif: EXIF block with its `Exif` header, or None.
        icc: ICC profile, or None.
        lossless: whether the file keeps every sample as it was.
        extras: what else there is.
        bands: H×W×K further bands of the same type (near infrared, …), or None.
        valid: H×W, False where the file holds no picture (GeoTIFF's nodata, a mask); None for
            everywhere. Of one that is written it becomes a mask.
        pages: how many pages or frames the file has.
        notes: what of the file was left out, a line each.
        quality: that is asked for, 1 to 100; None for :data:`QUALITY`, or without loss where the
            source was and the format can.
    """

    samples: np.ndarray
    exif: bytes | None = None
    icc: bytes | None = None
    lossless: bool = True
    extras: Extras = dataclasses.field(default_factory=Extras)
    bands: np.ndarray | None = None
    valid: np.ndarray | None = None
    pages: int = 1
    notes: tuple[str, ...] = ()
    quality: int | None = None


def with_channels(samples: np.ndarray) -> np.ndarray:
    """Return H×W or H×W×C samples as H×W×C."""
    return samples.reshape(*samples.shape[:2], -1)


def without_single_channel(samples: np.ndarray) -> np.ndarray:
    """Return H×W×1 samples as H×W, others unchanged: encoders balk at a single channel."""
    if samples.shape[-1] > 1:
        return samples
    plain = samples[..., 0]
    return plain.copy() if plain.size == 1 else plain  # Its strides may be those of three channels.


def resize_alpha(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an alpha channel or another band bilinearly, which adds no halo to its edges.

    Args:
        alpha: H×W, uint8, uint16 or float in [0, 1].
        height: the height wanted, in pixels.
        width: the width wanted, in pixels.

    Returns:
        height×width, of the same type; the same array if it has that size already.
    """
    if alpha.shape == (height, width):
        return alpha
    image = Image.fromarray(alpha.astype(np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return quantise(resized, alpha.dtype)


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a mask, each pixel that of the nearest.

    Args:
        mask: H×W booleans.
        height: the height wanted, in pixels.
        width: the width wanted, in pixels.

    Returns:
        height×width booleans; the same array if it has that size already.
    """
    if mask.shape == (height, width):
        return mask
    rows, columns = (
        np.arange(length) * old // length
        for length, old in zip((height, width), mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]
