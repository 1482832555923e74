"""Scores of pictures that have no reference: NIQE, brightness, contrast."""

import functools
import importlib.resources
from typing import Any

import cv2
import numpy as np
from scipy.special import gamma

from neid_tf.pixels.resample import bicubic_taps
from neid_tf.support.errors import NeidError

PROTOCOL = {
    "niqe": "NIQE of the 8-bit luminance, 96×96 blocks, the authors' pristine model; lower is "
    "more natural; null where fewer than two blocks have texture",
    "brightness": "mean luminance (0.299 R + 0.587 G + 0.114 B), 0 to 255",
    "contrast": "standard deviation of the luminance, 0 to 255",
}
BLOCK = 96
"""Side of NIQE's blocks, in pixels: the size that its pristine model was made with."""
_SHAPES = np.arange(0.2, 10.001, 0.001)
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


def score(luminance: np.ndarray) -> dict[str, float | None]:
    """Score a picture by itself.

    Args:
        luminance: H×W, 0 to 255.

    Returns:
        ``niqe`` (None where there is none), ``brightness`` and ``contrast`` (both 0 to 255).

    Raises:
        ValueError: where shape or values are not as said.
    """
    found = {"niqe": niqe(luminance)}
    return found | {"brightness": float(luminance.mean()), "contrast": float(luminance.std())}


def niqe(luminance: np.ndarray) -> float | None:
    """Compute the Natural Image Quality Evaluator; lower is more natural.

    A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality
    analyzer", IEEE Signal Processing Letters 20(3), 2013: the distance between the statistics of
    a picture's blocks and those of 125 pristine photographs. ``niqe_model.txt`` holds the latter,
    from the authors' release, under its licence.

    Args:
        luminance: H×W, 0 to 255; it is rounded, and what exceeds whole blocks is left out.

    Returns:
        The score; None where fewer than two blocks of 96×96 pixels have any texture.

    Raises:
        ValueError: where shape or values are not as said.
    """
    _check(luminance)
    height, width = (side // BLOCK * BLOCK for side in luminance.shape)
    if not height or not width:
        return None
    plane = np.rint(luminance[:height, :width]).astype(np.float64)
    features = np.hstack([_features(plane, BLOCK), _features(_half(plane), BLOCK // 2)])
    whole = features[np.isfinite(features).all(axis=1)]
    if len(whole) < 2:
        return None
    mean, covariance = _pristine()
    difference = mean - np.nanmean(features, axis=0)
    pooled = np.linalg.pinv((covariance + np.cov(whole, rowvar=False)) / 2)
    return float(np.sqrt(difference @ pooled @ difference))


def _check(luminance):
    """Refuse what is no luminance of 8 bits, whose score would say nothing."""
    if luminance.ndim != 2 or not luminance.size:
        raise NeidError(f"the luminance is H×W, not {luminance.shape}")
    least, most = luminance.min(), luminance.max()
    if not (least >= 0 and np.rint(most) <= 255):  # Nor NaN.
        raise NeidError(f"the luminance is from 0 to 255, not from {least:g} to {most:g}")
    # The channels of a black picture of 8 bits, all 0 or 1, have 8 luminances.
    if most <= 1 and len(np.unique(luminance)) > 8:
        raise NeidError(f"the luminance is from 0 to 255, where white is 255, not {most:g}")


@functools.cache
def _pristine() -> tuple[np.ndarray, np.ndarray]:
    """Return mean (36) and covariance (36×36) of the pristine blocks' features."""
    file = importlib.resources.files("neid_tf.evaluation").joinpath("niqe_model.txt")
    table = np.loadtxt(file.read_text("utf-8").splitlines())
    return table[0], table[1:]


def _half(plane: np.ndarray) -> np.ndarray:
    """Halve a plane bicubically and antialiased, borders mirrored, as MATLAB's imresize does."""
    taps = bicubic_taps()
    filtered = cv2.sepFilter2D(plane, -1, taps, taps, anchor=(3, 3), borderType=cv2.BORDER_REFLECT)
    return filtered[::2, ::2]


def _features(plane: np.ndarray, side: int) -> np.ndarray:
    """Return the 18 features of each block of that side, B×18; not finite where it is flat."""
    window: dict[str, Any] = {"ksize": (7, 7), "sigmaX": 7 / 6, "borderType": cv2.BORDER_REPLICATE}
    mean = cv2.GaussianBlur(plane, **window)
    deviation = np.sqrt(np.abs(cv2.GaussianBlur(plane**2, **window) - mean**2))
    normalized = (plane - mean) / (deviation + 1)
    rows = np.split(normalized, len(plane) // side)
    blocks = [block for row in rows for block in np.split(row, row.shape[1] // side, axis=1)]
    return np.array([_block_features(block) for block in blocks])


def _block_features(block: np.ndarray) -> list[float]:
    """Return a block's features: of its values, and of the products of neighbours."""
    shape, left, right = _fit(block)
    features = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _fit(block * np.roll(block, shift, axis=(0, 1)))
        features += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return features


def _fit(values: np.ndarray) -> tuple[float, float, float]:
    """Fit an asymmetric generalized Gaussian by its moments; return shape and both scales."""
    squares = np.square(values)
    below, above = squares[values < 0], squares[values > 0]
    if not below.size or not above.size:
        return np.nan, np.nan, np.nan
    left, right = np.sqrt(below.mean()), np.sqrt(above.mean())
    skew = left / right
    ratio = np.abs(values).mean() ** 2 / squares.mean()
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    # The ratio grows with the shape: the nearest entry is between two midpoints.
    shape = _SHAPES[np.searchsorted((_RATIOS[1:] + _RATIOS[:-1]) / 2, ratio)]
    width = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * width, right * width
