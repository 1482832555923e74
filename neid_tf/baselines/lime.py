"""LIME: low-light image enhancement via illumination map estimation."""

from __future__ import annotations

import numpy as np

from neid_tf.baselines._common import (
    EPSILON,
    check_image,
    check_odd,
    check_positive,
    check_range,
    filter_sum,
    lightness,
    solve_smoothing,
)


def lime(
    image: np.ndarray,
    *,
    alpha: float = 0.15,
    gamma: float = 0.8,
    sigma: float = 2.0,
    window: int = 5,
    floor: float = 0.02,
) -> np.ndarray:
    """Divide the picture by a smoothed map of its largest channel.

    X. Guo, Y. Li, H. Ling, "LIME: Low-light image enhancement via illumination map estimation",
    IEEE TIP 26(2), 2017: the map T̂ = max_c L (eq. 3) is refined by the sped-up solver with the
    weights of strategy III, and R = L / T^γ.

    Choices: γ is 0.8 and λ (here `alpha`) 0.15, as in the MATLAB collection baidut/BIMEF. No
    BM3D: the collection leaves that off, and so do the tables. The paper's "very small" ε
    against division by zero has no value there; 0.02 added to T̂ (capped at 1) comes close to the
    published score, while nearly 0 gives 0.5 dB less and more noise. The weights are
    1 / (|G_σ * ∂T̂| · |∂T̂| + ε), with one ε for both factors, as the authors of CRM write
    LIME's: with one ε each, weights reach 10⁶ and the solver crawls.

    Args:
        image: float RGB, H×W×3 in [0, 1].
        alpha: strength of the smoothing, non-negative; 0 divides by T̂ itself.
        gamma: exponent of the map, in [0, 1]; 0 returns the input.
        sigma: standard deviation of the Gaussian in the weights, in pixels, positive.
        window: side of that Gaussian's window, in pixels, odd.
        floor: added to T̂, positive, at most 1.

    Returns:
        float64 RGB, H×W×3 in [0, 1]; no pixel is darker than it was.

    Raises:
        ValueError: a bad image or parameter.
    """
    image = check_image(image)
    check_range(0, np.inf, alpha=alpha)
    check_range(0, 1, gamma=gamma, floor=floor)
    check_positive(sigma=sigma, floor=floor)
    check_odd(window=window)
    initial = np.minimum(lightness(image) + floor, 1)
    step_x, step_y = np.diff(initial, axis=1), np.diff(initial, axis=0)
    kernel = _gaussian(sigma, window)
    illumination = solve_smoothing(
        initial, _weights(step_x, kernel), _weights(step_y, kernel), alpha
    )
    return np.clip(image / illumination[..., None] ** gamma, 0, 1)


def _gaussian(sigma: float, window: int) -> np.ndarray:
    profile = np.exp(-0.5 * ((np.arange(window) - window // 2) / sigma) ** 2)
    kernel = np.outer(profile, profile)
    return kernel / kernel.sum()


def _weights(step: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Small on edges, where the steps of a window add up; large on texture, where they cancel."""
    return 1 / (np.abs(filter_sum(step, kernel) * step) + EPSILON)
