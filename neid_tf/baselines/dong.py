"""Dong: dehazing of the inverted picture."""

from __future__ import annotations

import cv2
import numpy as np

from neid_tf.baselines._common import check_image, check_odd, check_positive, check_range


def dong(
    image: np.ndarray,
    *,
    omega: float = 0.8,
    window: int = 7,
    airlight_share: float = 0.002,
) -> np.ndarray:
    """Invert the picture, which then looks hazy, remove the haze and invert back.

    X. Dong, G. Wang, Y. Pang, W. Li, J. Wen, W. Meng, Y. Lu, "Fast efficient algorithm for
    enhancement of low lighting video", ICME 2011: R = 1 − I is dehazed with the dark channel
    prior, J = (R − A) / (t·P(t)) + A, where P = 2t for t < 0.5 and 1 elsewhere lights the dark
    regions further.

    Choices: window and candidates of the airlight are those of the MATLAB function that the
    tables used (7 pixels; the 0.2% of the pixels with the highest dark channel, among which the
    brightest is A; the paper takes 100 pixels). Pixels that tie count alike, so that the result
    does not depend on their order. The transmission is not refined, hence the method's known
    blocky halos along strong edges.

    Args:
        image: float RGB, H×W×3 in [0, 1].
        omega: share of the haze that is removed, in [0, 0.99]; 0 returns the input.
        window: side of the dark channel's minimum filter, in pixels, odd.
        airlight_share: share of the pixels considered for the airlight, positive, at most 1.

    Returns:
        float64 RGB, H×W×3 in [0, 1].

    Raises:
        ValueError: a bad image or parameter.
    """
    hazy = 1 - check_image(image)
    check_range(0, 0.99, omega=omega)
    check_odd(window=window)
    check_positive(airlight_share=airlight_share)
    check_range(0, 1, airlight_share=airlight_share)
    local_minimum = cv2.erode(hazy, np.ones((window, window), np.uint8))
    airlight = _airlight(hazy, local_minimum.min(axis=2), airlight_share)
    # The airlight's own channel can be darker than its surroundings: never below 1 − omega.
    haze = np.minimum((local_minimum / airlight).min(axis=2), 1)
    transmission = 1 - omega * haze
    transmission = np.where(transmission < 0.5, 2 * transmission**2, transmission)[..., None]
    return np.clip(1 - ((hazy - airlight) / transmission + airlight), 0, 1)


def _airlight(hazy: np.ndarray, dark_channel: np.ndarray, share: float) -> np.ndarray:
    """The brightest color, RGB, among the pixels with the highest dark channel."""
    count = max(1, int(share * dark_channel.size))
    threshold = np.partition(dark_channel, -count, axis=None)[-count]
    candidates = hazy[dark_channel >= threshold]
    brightness = candidates.sum(axis=1)
    airlight = candidates[brightness == brightness.max()].mean(axis=0)
    return np.maximum(airlight, 1e-6)  # a white picture has no haze at all: 0 / 0
