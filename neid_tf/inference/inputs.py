"""What people have as a picture, turned into the pixels that are enhanced, and back."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from neid_tf.pixels.samples import WHITE, to_gray
from neid_tf.support.errors import NeidError

TAKEN = (
    "a path, a Pillow picture, or an array H×W, H×W×1 (gray), H×W×2 (gray, alpha), H×W×3 (RGB) or "
    "H×W×4 (RGBA) of uint8, uint16 or floats in [0, 1]"
)


def enhanced_alike(
    image: Any, function: Callable[[np.ndarray], np.ndarray], whole: bool = True
) -> Any:
    """Apply a function of RGB pixels to a picture of any kind.

    Args:
        image: what :data:`TAKEN` says.
        function: from H×W×3 RGB to pixels of the same type, of that size or a multiple.
        whole: whether a packed picture gets the size from before it was packed, or what
            ``function`` makes of its pixels.

    Returns:
        A picture of the kind that was given: gray stays gray, and alpha is kept, at the new
        size. A path gives an array, H×W×3, or H×W×4 where the file has alpha. A Pillow picture
        gives what its file would: it is turned as its EXIF orientation says, the result has its
        EXIF, ICC profile and XMP, and palettes, CMYK and other colours become RGB or RGBA.

    Warns:
        UserWarning: of what is left out of a file or a Pillow picture, as further pages and bands.

    Raises:
        NeidError: for anything else, as a Pillow picture of mode ``I`` or ``F``: what is white in
            those is not known.
        PictureError: for a file that is no picture.
    """
    if isinstance(image, (str, os.PathLike)):
        from neid_tf import pictures

        picture = pictures.read(image)
        _warn_of_losses(picture, os.fspath(image))
        made = _joined(_enhanced(picture, function, whole), picture.gray)
        # Gray as its file would be, and in three channels: whoever reads a folder gets one shape.
        return np.repeat(made, [3, 1][: made.shape[2]], axis=2) if picture.gray else made
    if _is_pillow(image):
        picture = _of_pillow(image)
        _warn_of_losses(picture, "the picture")
        return _to_pillow(_enhanced(picture, function, whole))
    if isinstance(image, (bytes, list, tuple)) or not hasattr(image, "__array__"):
        raise NeidError(f"a picture is {TAKEN}, not {_described(image)}")
    return _array_alike(np.asarray(image), function)


def _warn_of_losses(picture, name):
    """Warn whoever called :func:`neid_tf.enhance` of what the result won't have."""
    from neid_tf.pictures.loss import bands_left_out, pages_left_out

    advice = "neid enhance does all, as does giving a copy of each as a Pillow picture"
    lost = [*picture.notes, *(f"{line}: {advice}" for line in pages_left_out(picture))]
    lost += bands_left_out(picture)
    if picture.has_mask:
        lost.append("its mask is left out: where it hides the picture, what is beside goes on")
    for line in lost:
        warnings.warn(f"{name}: {line}", stacklevel=4)


def _enhanced(picture, function, whole):
    """Apply a function of RGB pixels to a picture that was a file."""
    from neid_tf.inference.enhance import in_steps
    from neid_tf.inference.unpack import steps_for

    steps = steps_for(in_steps(function), picture.packing, whole)
    return picture.with_pixels(steps.compute(picture.pixels, steps.prepare(picture.pixels)))


def _array_alike(samples, function):
    """Apply a function of RGB pixels to an array of any channels."""
    if samples.ndim == 3 and samples.shape[2] == 3:
        return function(_checked(samples))
    from neid_tf.pictures.picture import from_raster
    from neid_tf.pictures.raster import Raster

    samples = _checked(samples).view()
    samples.flags.writeable = False  # It is the caller's: what is changed of it is copied first.
    dtype = samples.dtype
    if dtype.kind == "f":
        samples = samples.astype(np.float32, copy=False)
    flat = samples.ndim == 2
    picture = from_raster(Raster(samples[..., None] if flat else samples), "PNG")
    made = _joined(picture.with_pixels(function(picture.pixels)), picture.gray)
    return (made[..., 0] if flat else made).astype(dtype, copy=False)


def _checked(samples):
    """Return an array that can be a picture, or refuse it."""
    channels = samples.shape[2] if samples.ndim == 3 else 1
    sound = samples.ndim in (2, 3) and channels in (1, 2, 3, 4) and samples.size
    if not sound or samples.dtype.name not in WHITE:
        raise NeidError(f"a picture is {TAKEN}, not {_described(samples)}")
    if samples.dtype.kind == "f" and not (samples.min() >= 0.0 and samples.max() <= 1.0):
        ends = f"[{samples.min():g}, {samples.max():g}]"
        raise NeidError(f"floats must lie in [0, 1], not {ends}: divide them by what white is")
    return samples


def _joined(picture, gray):
    """Return the pixels of a picture with its alpha, as one array H×W×C."""
    pixels = to_gray(picture.pixels) if gray else picture.pixels
    if picture.alpha is None:
        return pixels
    return np.concatenate([pixels, picture.alpha[..., None]], axis=-1)


def _is_pillow(image):
    return any(kind.__module__ == "PIL.Image" for kind in type(image).__mro__)


def _of_pillow(image):
    """Return what a file of a Pillow picture would be read as."""
    from neid_tf.pictures import pillow
    from neid_tf.pictures.reader import picture_of

    if image.mode not in pillow.TAKEN:
        known = ", ".join(pillow.TAKEN)
        raise NeidError(
            f"the mode of a Pillow picture is one of {known}, not {image.mode}: "
            "give its samples as an array of uint8, uint16 or floats in [0, 1]"
        )
    if not (image.width and image.height):
        raise NeidError(f"a Pillow picture of {image.width}×{image.height} has no pixels")
    return picture_of(pillow.raster_of(image, pages=_frames_of(image)), "PNG")


def _frames_of(image):
    """Return how many frames a Pillow picture has; 1 where it is at one that was asked for."""
    from neid_tf.pictures.formats import FORMATS

    several = {name.upper() for name, format in FORMATS.items() if format.several}
    # One whose file is closed can't tell.
    with contextlib.suppress(Exception):
        if (image.format or "").upper() in several and image.tell() == 0:
            return image.n_frames
    return 1


def _to_pillow(picture):
    from PIL import Image

    from neid_tf.pictures.formats import FORMATS
    from neid_tf.pictures.picture import to_raster
    from neid_tf.pictures.raster import without_single_channel

    raster = to_raster(picture, FORMATS["PNG"])
    image = Image.fromarray(without_single_channel(raster.samples))
    kept = {"exif": raster.exif, "icc_profile": raster.icc, "xmp": raster.extras.xmp}
    image.info |= {name: value for name, value in kept.items() if value}
    return image


def _described(image):
    """Return in a few words what was given."""
    if hasattr(image, "shape") and hasattr(image, "dtype"):
        return f"an array of shape {tuple(image.shape)} and type {image.dtype}"
    return f"a {type(image).__name__}"
