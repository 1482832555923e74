"""MSR: multiscale retinex with color restoration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import dctn, idctn

from neid_tf.baselines._common import check_image, check_positive, check_range


def msr(
    image: np.ndarray,
    *,
    sigmas: Sequence[float] = (15.0, 80.0, 250.0),
    alpha: float = 125.0,
    clip: float = 0.01,
    color_restoration: bool = True,
) -> np.ndarray:
    """Divide each channel by its surroundings at several scales, in the log domain.

    D. J. Jobson, Z. Rahman, G. A. Woodell, "A multiscale retinex for bridging the gap between
    color images and the human observation of scenes", IEEE TIP 6(7), 1997: eq. 3 and 4 (the
    scales, weighted equally), and the color restoration log(α·I_c / Σ I) of its section IV.

    Choices: the paper ends with a fixed gain and offset found by eye. Like the MATLAB collection
    baidut/BIMEF, whose "MSR" column includes the color restoration, we stretch each channel
    between its 1% and 99% quantiles instead, work on levels 1 to 256 (the logarithm of black),
    and add 0.5 to the retinex before the restoration multiplies it. A channel without any
    structure has nothing to stretch and is returned as it came.

    Args:
        image: float RGB, H×W×3 in [0, 1].
        sigmas: standard deviations of the surrounds, in pixels, positive.
        alpha: strength of the color restoration, at least 3 so that its logarithm of gray is
          positive.
        clip: share of the pixels clipped at either end, in [0, 0.49].
        color_restoration: False for the plain MSR, which turns gray where one color prevails.

    Returns:
        float64 RGB, H×W×3 in [0, 1].

    Raises:
        ValueError: a bad image or parameter.
    """
    image = check_image(image)
    _check_sigmas(sigmas)
    check_range(3, np.inf, alpha=alpha)
    check_range(0, 0.49, clip=clip)
    levels = 255 * image + 1
    retinex = np.log(levels) - _mean_log_surround(levels, sigmas) + 0.5
    if color_restoration:
        retinex *= np.log(alpha * levels / levels.sum(axis=2, keepdims=True))
    return _stretch(retinex, clip, fallback=image)


def _check_sigmas(sigmas: Sequence[float]) -> None:
    if not len(sigmas):
        raise ValueError(f"sigmas must name at least one scale, got {sigmas}")
    for sigma in sigmas:
        check_positive(sigmas=sigma)


def _mean_log_surround(levels: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Return the mean over the scales of log(Gaussian * levels), borders mirrored.

    In the cosine domain the cost does not grow with sigma, and no kernel is cut off.
    """
    height, width = levels.shape[:2]
    spectrum = dctn(levels, axes=(0, 1))
    frequency = np.hypot(np.arange(height)[:, None] / height, np.arange(width) / width)
    total = np.zeros_like(levels)
    for sigma in sigmas:
        gain = np.exp(-0.5 * (np.pi * sigma * frequency) ** 2)
        blurred = idctn(spectrum * gain[..., None], axes=(0, 1))
        total += np.log(np.maximum(blurred, 1))  # the smallest level: rounding may fall below
    return total / len(sigmas)


def _stretch(retinex: np.ndarray, clip: float, fallback: np.ndarray) -> np.ndarray:
    low, high = np.quantile(retinex, [clip, 1 - clip], axis=(0, 1))
    flat = high - low < 1e-6  # the transforms' rounding noise is near 1e-15
    stretched = (retinex - low) / np.where(flat, 1, high - low)
    return np.clip(np.where(flat, fallback, stretched), 0, 1)
