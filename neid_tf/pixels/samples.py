"""Samples of 8 and 16 bit and floats: what white is, and every conversion between them.

Pictures are …×C arrays of uint8 (0 to 255), uint16 (0 to 65535) or float (0 to 1). Whatever is
rounded passes :func:`quantise`, the one place that does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from neid_tf.support.errors import NeidError

WHITE = {"uint8": 255, "uint16": 65535, "float16": 1, "float32": 1, "float64": 1}
"""What stands for white in samples of each type, by the type's name."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance (ITU-R BT.601)."""
_BAND = 2**16  # Samples that are converted at a time, so that what is made of them stays small.


def white(dtype: np.dtype | type) -> int:
    """Return what stands for white in samples of a type: 255, 65535 or 1.

    Raises:
        ValueError: for a type that pictures do not have.
    """
    name = np.dtype(dtype).name
    if name not in WHITE:
        raise NeidError(f"a picture's type is uint8, uint16 or float in [0, 1], not {name}")
    return WHITE[name]


def quantise(
    levels: np.ndarray, dtype: np.dtype | type, out: np.ndarray | None = None
) -> np.ndarray:
    """Clip values to the range of a type, round them to the nearest integer, and cast.

    Args:
        levels: an array of any shape, in levels of ``dtype``: 0 to :func:`white`.
        dtype: uint8, uint16 or a float type; floats are clipped and not rounded.
        out: an array of that type to write to, or None for a new one.

    Returns:
        Values of the same shape and of type ``dtype``; the nearest even where two are as near.
    """
    clipped = np.clip(levels, 0, white(dtype))
    out = np.empty(clipped.shape, dtype) if out is None else out
    if out.dtype.kind == "f":
        np.copyto(out, clipped, casting="unsafe")
        return out
    return np.rint(clipped, out=out, casting="unsafe")


def to_float(samples: np.ndarray, dtype: np.dtype | type = np.float32) -> np.ndarray:
    """Return samples as floats in [0, 1], white as 1.

    Args:
        samples: of any shape, uint8, uint16 or float; floats are only cast.
        dtype: the type of the floats.
    """
    if samples.dtype.kind == "f":
        return samples.astype(dtype, copy=False)
    return samples.astype(dtype) / np.dtype(dtype).type(white(samples.dtype))


def from_float(
    pixels: np.ndarray, dtype: np.dtype | type, out: np.ndarray | None = None
) -> np.ndarray:
    """Return floats as samples of a type; what is beyond [0, 1] is clipped.

    Args:
        pixels: of any shape, 1 for white.
        dtype: of the samples: uint8, uint16 or a float type.
        out: an array to write to; None for a new one.
    """
    top = white(dtype)
    return quantise(pixels if top == 1 else pixels * top, dtype, out)


def to_type(samples: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Convert samples to another type, to the nearest value of its range.

    Args:
        samples: an array of any shape, uint8, uint16 or float in [0, 1].
        dtype: the type wanted.

    Returns:
        The same shape; the same array if it has that type already.
    """
    dtype = np.dtype(dtype)
    if samples.dtype == dtype:
        return samples
    if (samples.dtype, dtype) == (np.uint8, np.uint16):
        return samples.astype(np.uint16) * np.uint16(257)

    def convert(part: np.ndarray, out: np.ndarray) -> None:
        from_float(to_float(part, np.float64), dtype, out)

    return _by_rows(convert, np.empty(samples.shape, dtype), samples)


def to_one_type(arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Return samples of one type: as they are, or as uint16 where their types differ.

    Args:
        arrays: of any shapes, uint8, uint16 or float in [0, 1].
    """
    if len({array.dtype for array in arrays}) < 2:
        return arrays
    return [to_type(array, np.uint16) for array in arrays]


def from_levels(levels: np.ndarray, top: int, dtype: np.dtype | type) -> np.ndarray:
    """Return samples of a type from integers that go from 0 to another white.

    Args:
        levels: of any shape, unsigned.
        top: what stands for white in them.
        dtype: uint8 or uint16.
    """
    scale = white(dtype) / top
    if scale == 1:
        return levels.astype(dtype, copy=False)

    def convert(part: np.ndarray, out: np.ndarray) -> None:
        quantise(part * scale, dtype, out)

    return _by_rows(convert, np.empty(levels.shape, dtype), levels)


def luminance(picture: np.ndarray) -> np.ndarray:
    """Return the luminance (BT.601) of H×W×3 samples, float64 H×W, in levels of their type."""
    return picture.astype(np.float64) @ np.array(LUMA)


def is_gray(colours: np.ndarray) -> bool:
    """Tell whether the channels of H×W×3 samples are equal everywhere."""
    step = max(_BAND // max(colours.shape[1], 1), 1)
    parts = (colours[start : start + step] for start in range(0, len(colours), step))
    # Most pictures show in the first of them that they are not.
    return all((part[..., :1] == part[..., 1:]).all() for part in parts)


def as_gray(colours: np.ndarray) -> np.ndarray:
    """Return H×W×3 samples with the luminance in all channels: the same array, changed."""
    if not is_gray(colours):
        colours[:] = to_gray(colours)
    return colours


def to_gray(colours: np.ndarray) -> np.ndarray:
    """Return the luminance of H×W×3 samples as H×W×1 of their type; equal channels stay exact."""
    if is_gray(colours):
        return colours[..., :1]

    def convert(part: np.ndarray, out: np.ndarray) -> None:
        quantise(luminance(part), out.dtype, out)

    return _by_rows(convert, np.empty(colours.shape[:2], colours.dtype), colours)[..., None]


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return samples as they look on a white page.

    Args:
        colours: H×W×C, uint8, uint16 or float.
        alpha: H×W opacity of the same type.

    Returns:
        H×W×C of that type.
    """
    top = white(colours.dtype)

    def mix(part: np.ndarray, opacity: np.ndarray, out: np.ndarray) -> None:
        share = opacity[..., None] / np.float64(top)
        quantise(part * share + top * (1.0 - share), out.dtype, out)

    return _by_rows(mix, np.empty_like(colours), colours, alpha)


def unassociated(samples: np.ndarray) -> np.ndarray:
    """Divide the alpha in the last channel out of the colours.

    Args:
        samples: H×W×C, uint8, uint16 or float; the colours are multiplied by the alpha.

    Returns:
        H×W×C of the same type, the colours as they are where nothing covers them.
    """
    top = white(samples.dtype)

    def divide(part: np.ndarray, out: np.ndarray) -> None:
        alpha = part[..., -1:].astype(np.float64)
        out[..., -1:] = part[..., -1:]
        share = np.maximum(alpha, np.finfo(np.float64).tiny if top == 1 else 1)
        quantise(part[..., :-1] * (top / share), out.dtype, out[..., :-1])

    return _by_rows(divide, np.empty_like(samples), samples)


def to_8_bit(picture: np.ndarray) -> np.ndarray:
    """Return a picture as the 8-bit file that is scored.

    Args:
        picture: H×W×3, uint8, uint16, or floats in [0, 1].

    Raises:
        ValueError: for another shape or type, or floats beyond [0, 1].
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise NeidError(f"pictures are H×W×3, not {picture.shape}")
    if not (picture.min() >= 0 and picture.max() <= white(picture.dtype)):
        raise NeidError(f"floats must be in [0, 1], not [{picture.min()}, {picture.max()}]")
    return to_type(picture, np.uint8)


def _by_rows(convert: Callable[..., None], out: np.ndarray, *arrays: np.ndarray) -> np.ndarray:
    """Fill ``out`` with what ``convert(*parts, part of out)`` makes of a few rows at a time."""
    step = max(_BAND * len(out) // max(out.size, 1), 1)
    for top in range(0, len(out), step):
        rows = slice(top, top + step)
        convert(*(array[rows] for array in arrays), out[rows])
    return out
