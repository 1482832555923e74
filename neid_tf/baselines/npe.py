"""NPE: naturalness preserved enhancement."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from neid_tf.baselines._common import check_image, check_odd, lightness

LEVELS = np.arange(256)


def npe(image: np.ndarray, *, patch: int = 15) -> np.ndarray:
    """Split off the illumination with a bright-pass filter and remap its histogram.

    S. Wang, J. Zheng, H.-M. Hu, B. Li, "Naturalness preserved enhancement algorithm for
    non-uniform illumination images", IEEE TIP 22(9), 2013. The illumination L_r is the mean of
    those pixels of a patch that are at least as bright as its center, weighted by how often the
    two levels are neighbours in the picture; the reflectance I / L_r is therefore in [0, 1].
    The bi-log transformation gives every pixel of L_r the weight log(L_r + 1) and specifies for
    the weighted histogram the shape log(z + 1).

    Choices: 8-bit levels, 15×15 patches and neighbor counts averaged over k_max/32 levels to
    either side, as in the paper. Both logarithms take illumination in [0, 1]; in 0 to 255 the
    result is harsher and 0.4 dB further from the published score. The authors' release is
    compiled, so neither can be checked against it. The brightest level always becomes white, as
    in any histogram specification: a flat picture turns white, and black stays black.

    Args:
        image: float RGB, H×W×3 in [0, 1].
        patch: side of the bright-pass filter's patches, in pixels, odd.

    Returns:
        float64 RGB, H×W×3 in [0, 1].

    Raises:
        ValueError: a bad image or parameter.
    """
    image = check_image(image)
    check_odd(patch=patch)
    light = lightness(image)
    illumination = np.maximum(_bright_pass(light, patch), light)  # levels are rounded, light not
    mapped = _bi_log(illumination)
    reflectance = image / np.maximum(illumination, 1 / 255)[..., None]
    return np.clip(reflectance * mapped[..., None], 0, 1)


def _bright_pass(light: np.ndarray, patch: int) -> np.ndarray:
    """The bright-pass filter of `light`, H×W in [0, 1]."""
    levels = np.rint(255 * light).astype(np.intp)
    affinity = _affinity(levels).ravel()
    row = 256 * levels
    weights = np.zeros(levels.shape, np.float32)
    total = np.zeros(levels.shape, np.float32)
    for neighbor in _shifted(levels, patch // 2):
        weight = affinity.take(row + neighbor)
        weights += weight
        total += weight * neighbor
    return total.astype(np.float64) / weights / 255


def _affinity(levels: np.ndarray) -> np.ndarray:
    """Weight of a neighbor of level l for a center of level k, 256×256 [k, l]; 0 for l < k."""
    pairs = np.zeros(256 * 256)
    for neighbor in _shifted(levels, 1):
        pairs += np.bincount((256 * levels + neighbor).ravel(), minlength=pairs.size)
    pairs = pairs.reshape(256, 256)
    pairs[LEVELS, LEVELS] -= np.bincount(levels.ravel(), minlength=256)  # a pixel beside itself
    side = 2 * (-(-levels.max() // 32)) + 1
    pairs = cv2.blur(pairs, (int(side), 1), borderType=cv2.BORDER_CONSTANT)
    pairs[LEVELS, LEVELS] += 1e-3  # so that the center counts even among strangers
    return np.where(LEVELS[:, None] <= LEVELS, pairs, 0).astype(np.float32)


def _shifted(levels: np.ndarray, radius: int) -> Iterator[np.ndarray]:
    """Yield `levels` moved by every offset of a square of that radius, borders mirrored."""
    height, width = levels.shape
    padded = np.pad(levels, radius, mode="symmetric")
    for y in range(2 * radius + 1):
        for x in range(2 * radius + 1):
            yield padded[y : y + height, x : x + width]


def _bi_log(illumination: np.ndarray) -> np.ndarray:
    """Specify a log-shaped histogram for the log-weighted one of `illumination`, in [0, 1]."""
    levels = 255 * illumination
    counts = np.bincount(np.rint(levels).astype(np.intp).ravel(), minlength=256)
    shape = np.log1p(LEVELS / 255)
    source, target = np.cumsum(counts * shape), np.cumsum(shape)
    if source[-1] == 0:  # black: no weight to distribute
        return np.zeros_like(illumination)
    rank = np.interp(levels, LEVELS, source / source[-1])
    return np.interp(rank, target / target[-1], LEVELS) / 255
