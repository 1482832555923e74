"""Samples of a TIFF page, in the many ways they may be stored, as gray or RGB and further bands."""

from __future__ import annotations

import dataclasses

import numpy as np
import tifffile

from neid_tf.pictures import metadata
from neid_tf.pictures.raster import FormatError, with_channels
from neid_tf.pixels.samples import from_levels, to_float, to_type, unassociated, white

JPEG_COMPRESSIONS = (6, 7)
_FLOAT_TOLERANCE = 1e-3
_COLOURS = {"MINISWHITE": 1, "MINISBLACK": 1, "PALETTE": 1, "SEPARATED": 4}
"""How many samples are colours, where it is not three."""


def stored_samples(page: tifffile.TiffPage) -> np.ndarray:
    """Decode a page as it is stored, H×W×C.

    Raises:
        FormatError: for samples in another order.
    """
    samples = samples_of(page)
    if page.axes == "SYX":
        samples = np.moveaxis(samples, 0, -1)
    elif page.axes not in ("YX", "YXS"):
        raise FormatError(f"samples of axes {page.axes} are not supported")
    return with_channels(samples)


def samples_of(page: tifffile.TiffPage) -> np.ndarray:
    """Decode a page, in the order of its axes; what the file leaves out is 0."""
    # tifffile's own array would hold there what the memory held before.
    whole = page.is_contiguous or page.dtype is None or page.jpegheader is not None
    meaning, planes = page.photometric, page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    if planes and page.compression in JPEG_COMPRESSIONS:
        page.photometric = tifffile.PHOTOMETRIC.MINISBLACK  # As each plane is, for its decoder.
    try:
        return page.asarray(out=None if whole else np.zeros(page.shaped, page.dtype))
    finally:
        page.photometric = meaning


def looks_like_colours(page: tifffile.TiffPage) -> bool:
    """Tell whether there are three bands or more, of which none is said to be a colour.

    GDAL writes pictures of 16 bits so.
    """
    extra = page.extrasamples
    return (
        page.samplesperpixel >= 3
        and tifffile.PHOTOMETRIC(page.photometric).name == "MINISBLACK"
        and not any(extra[:2])
    )


def declared_as_colours(page: tifffile.TiffPage) -> str:
    """Return what is said of such a page."""
    return (
        f"{page.samplesperpixel} bands of no declared colour: "
        "the first three are taken as red, green and blue"
    )


def colours_and_bands(
    page: tifffile.TiffPage, stored: np.ndarray, icc: bytes | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the page's samples as gray or RGB, with or without alpha, and its further bands.

    Args:
        page: the page.
        stored: its samples, H×W×C as stored.
        icc: its profile, which CMYK is converted by.

    Returns:
        H×W×1 to H×W×4, uint8, uint16 or float32 over the whole range; and H×W×K of that type, or
        None.

    Raises:
        FormatError: for colours or types that are not supported.
    """
    kind = tifffile.PHOTOMETRIC(page.photometric).name
    samples = _full_range(stored, page.bitspersample)
    if kind == "PALETTE":
        levels = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
        places = stored[..., 0]
        places = places.view(np.uint8) if places.dtype == bool else places
        palette = levels[:, places]  # Some write the map in 8 bits.
        return _joined(page, np.moveaxis(palette, 0, -1).astype(np.uint8), samples)
    if kind == "SEPARATED" and samples.shape[-1] >= 4 and samples.dtype.kind == "u":
        inks = to_type(samples[..., :4], np.uint8)
        return _joined(page, metadata.cmyk_to_rgb(np.ascontiguousarray(inks), icc), samples)
    if kind == "YCBCR" and samples.dtype == np.uint8:
        return _joined(page, _rgb_from_ycbcr(page, samples[..., :3]), samples)
    if kind not in ("MINISWHITE", "MINISBLACK", "RGB"):
        raise FormatError(f"colours of the kind {kind} are not supported")
    if samples.shape[-1] < len(roles_of(page).colours):
        raise FormatError(f"{samples.shape[-1]} channels are too few for {kind}")
    if kind == "MINISWHITE":
        samples = samples.copy()
        samples[..., 0] = white(samples.dtype) - samples[..., 0]
    return _split(page, samples)


def _full_range(stored: np.ndarray, bits: int) -> np.ndarray:
    """Return samples of any supported type as uint8, uint16 or float32 over the whole range."""
    if stored.dtype.kind == "f":
        return _checked_floats(stored)
    if stored.dtype.kind not in "bu" or not isinstance(bits, int) or bits > 16:
        raise FormatError(f"{stored.dtype} samples are not supported, only uint8, uint16 and float")
    return from_levels(stored, 2**bits - 1, np.uint8 if bits <= 8 else np.uint16)


def _checked_floats(stored: np.ndarray) -> np.ndarray:
    if not np.isfinite(stored).all():
        raise FormatError("it holds samples that are NaN or infinite")
    low, high = float(stored.min()), float(stored.max())
    if low < -_FLOAT_TOLERANCE or high > 1 + _FLOAT_TOLERANCE:
        raise FormatError(f"float samples must lie in [0, 1], these in [{low:g}, {high:g}]")
    return to_float(np.clip(stored, 0, 1))


def _rgb_from_ycbcr(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    if page.compression in JPEG_COMPRESSIONS:
        return samples
    levels = _numbers(page, "ReferenceBlackWhite", (0, 255, 128, 255, 128, 255))
    red, green, blue = _numbers(page, "YCbCrCoefficients", (0.299, 0.587, 0.114))
    black, full = np.float32(levels[::2]), np.float32(levels[1::2])
    if not (full > black).all() or not green:
        raise FormatError("damaged TIFF: its levels of YCbCr can't be read")
    # Section 21 of TIFF 6.0; colours go from -127 to 127.
    scaled = (samples - black) / (full - black) * np.float32([1, 127 / 255, 127 / 255])
    light, to_blue, to_red = np.moveaxis(scaled, -1, 0)
    r, b = light + (2 - 2 * red) * to_red, light + (2 - 2 * blue) * to_blue
    g = (light - red * r - blue * b) / green
    return to_type(np.stack([r, g, b], -1).clip(0, 1).astype(np.float32), np.uint8)


def _numbers(page: tifffile.TiffPage, name: str, usual: tuple) -> tuple:
    """Return the rational numbers of a tag, or the usual ones where it is not there."""
    value = page.tags.valueof(name)
    if not isinstance(value, tuple) or len(value) not in (len(usual), 2 * len(usual)):
        return usual
    if len(value) == len(usual):
        return tuple(value)
    return tuple(top / (bottom or 1) for top, bottom in zip(value[::2], value[1::2], strict=True))


def _joined(
    page: tifffile.TiffPage, colours: np.ndarray, samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colours that were converted with the first alpha behind them, and other channels."""
    roles = roles_of(page)
    parts = [to_type(samples[..., places], colours.dtype) for places in (roles.alpha, roles.others)]
    alpha, bands = (np.ascontiguousarray(part) if part.size else None for part in parts)
    return colours if alpha is None else np.concatenate([colours, alpha], axis=-1), bands


@dataclasses.dataclass(frozen=True)
class Roles:
    """What the samples of a page are, each by its place.

    Attributes:
        colours: one, three, or four inks.
        alpha: one, or none.
        others: further bands.
        is_associated: whether the colours are multiplied by the alpha.
    """

    colours: list[int]
    alpha: list[int]
    others: list[int]
    is_associated: bool

    @property
    def order(self) -> tuple[int, ...]:
        """The places of all, one behind the other."""
        return (*self.colours, *self.alpha, *self.others)


def roles_of(page: tifffile.TiffPage) -> Roles:
    """Return what the samples of a page are."""
    kind = tifffile.PHOTOMETRIC(page.photometric).name
    colours, extra = _COLOURS.get(kind, 3), page.extrasamples
    if looks_like_colours(page):
        colours, extra = 3, extra[2:]
    further = range(colours, page.samplesperpixel)
    meanings = dict(zip(further, extra, strict=False))
    alpha = [at for at in further if meanings.get(at) in (1, 2)][:1]
    others = [at for at in further if at not in alpha]
    return Roles(list(range(colours)), alpha, others, any(meanings[at] == 1 for at in alpha))


def _split(page: tifffile.TiffPage, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colours with the first alpha behind them, and all other channels or None."""
    roles = roles_of(page)
    bands = np.ascontiguousarray(samples[..., roles.others]) if roles.others else None
    if not roles.alpha:
        return samples[..., : len(roles.colours)], bands
    if roles.others:
        samples = samples[..., [*roles.colours, *roles.alpha]]
    return unassociated(samples) if roles.is_associated else samples, bands
