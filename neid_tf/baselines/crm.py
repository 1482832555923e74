"""CRM: exposure by a camera response model."""

from __future__ import annotations

import numpy as np

from neid_tf.baselines._common import (
    check_image,
    check_odd,
    check_range,
    expose,
    lightness,
    smooth_illumination,
)


def crm(
    image: np.ndarray,
    *,
    strength: float = 0.5,
    window: int = 5,
    max_ratio: float = 7.0,
    a: float = -0.3293,
    b: float = 1.1258,
) -> np.ndarray:
    """Expose every pixel anew, by the inverse of the local illumination.

    Z. Ying, G. Li, Y. Ren, R. Wang, W. Wang, "A new low-light image enhancement algorithm using
    camera response model", ICCV Workshops 2017: the exposure ratio is k = min(1 / T, 7), with T
    the smoothed largest channel, and g(P, k) = e^{b(1 − kᵃ)} · P^{kᵃ} the response.

    Choices: of the paper's camera models the default one, beta-gamma, with its parameters for an
    unknown camera (a = −0.3293, b = 1.1258). λ = 0.5, window 5 and ε = 0.001 as in the authors'
    code (baidut/OpenCE), which smooths at half size.

    Args:
        image: float RGB, H×W×3 in [0, 1].
        strength: λ of the smoothing, non-negative.
        window: length of the gradient sums of its weights, in pixels at half size, odd.
        max_ratio: largest exposure ratio, at least 1; 1 returns the input.
        a, b: camera parameters; a ≤ 0 ≤ b.

    Returns:
        float64 RGB, H×W×3 in [0, 1]; no pixel is darker than it was.

    Raises:
        ValueError: a bad image or parameter.
    """
    image = check_image(image)
    check_range(0, np.inf, strength=strength, b=b)
    check_range(1, np.inf, max_ratio=max_ratio)
    check_range(-np.inf, 0, a=a)
    check_odd(window=window)
    illumination = smooth_illumination(lightness(image), strength, window)
    ratio = 1 / np.maximum(illumination, 1 / max_ratio)
    return np.clip(expose(image, ratio[..., None], a, b), 0, 1)
