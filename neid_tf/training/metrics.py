"""PSNR and SSIM of batches, on any Keras backend (section 3.1)."""

import math
from typing import Any

import numpy as np
from keras import ops

Tensor = Any
"""A tensor of the Keras backend in use, or an array of NumPy."""

_SIGMA, _RADIUS = 1.5, 5


def psnr(y_true: Tensor, y_pred: Tensor, data_range: float = 1.0) -> Tensor:
    """Compute the peak signal-to-noise ratio of each picture.

    Args:
        y_true: N×H×W×C, of any type.
        y_pred: the same shape.
        data_range: the value of white, 1, 255 or 65535. It has to fit the pictures.

    Returns:
        N values in dB; infinite where two pictures are the same.

    Raises:
        ValueError: where the shapes differ.
    """
    check_shapes(y_true, y_pred)
    # Integers would wrap around.
    y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    error = ops.mean(ops.square(y_true - y_pred), axis=(1, 2, 3))
    return (20.0 * math.log10(data_range)) - 10.0 * ops.log10(error)


def ssim(y_true: Tensor, y_pred: Tensor, data_range: float = 1.0) -> Tensor:
    """Compute the structural similarity of each picture, averaged over its channels.

    Gaussian 11×11 windows, σ = 1.5, K = (0.01, 0.03), over the windows that lie inside the
    picture: scikit-image's ``structural_similarity`` with ``gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False``.

    Graphics cards multiply matrices with operands of ten bits, which is too few for E[x²] − E[x]²
    of bright pictures. So each picture's mean is taken off first, and with s = x + y and
    d = x − y the variances are var(x) + var(y) = ½(var(s) + var(d)) and the covariance
    2·cov(x, y) = ½(var(s) − var(d)): what rounding does to var(s), of little weight, cannot take
    the value beyond 1.

    Args:
        y_true: N×H×W×C, at least 11×11, of any type.
        y_pred: the same shape.
        data_range: the value of white, 1, 255 or 65535.

    Returns:
        N values of at most 1.

    Raises:
        ValueError: where the shapes differ, or a side is below 11 pixels.
    """
    check_shapes(y_true, y_pred)
    if any(side is not None and side < 2 * _RADIUS + 1 for side in y_true.shape[1:3]):
        raise ValueError(f"SSIM needs at least 11×11 pixels, not {tuple(y_true.shape[1:3])}")
    y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    means = [ops.mean(images, axis=(1, 2), keepdims=True) for images in (y_true, y_pred)]
    a, b = y_true - means[0], y_pred - means[1]
    stacked = ops.concatenate([a + b, a - b, ops.square(a + b), ops.square(a - b)], axis=-1)
    total, difference, totals, differences = ops.split(_gaussian(stacked), 4, axis=-1)
    var_s = ops.maximum(totals - ops.square(total), 0.0)
    var_d = ops.maximum(differences - ops.square(difference), 0.0)
    mean_s, mean_d = total + means[0] + means[1], difference + means[0] - means[1]
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = _likeness(ops.square(mean_s), ops.square(mean_d), c1)
    return ops.mean(luminance * _likeness(var_s, var_d, c2), axis=(1, 2, 3))


def _likeness(total: Tensor, difference: Tensor, constant: float) -> Tensor:
    """Return (2ab + c) / (a² + b² + c) of (a + b)² and (a − b)²."""
    return (0.5 * (total - difference) + constant) / (0.5 * (total + difference) + constant)


def _gaussian(images: Tensor) -> Tensor:
    """Filter with the Gaussian window, without padding: two products with a band matrix."""
    rows = _band(images.shape[1], ops.shape(images)[1])
    columns = _band(images.shape[2], ops.shape(images)[2])
    planes = ops.transpose(images, (0, 3, 1, 2))
    planes = ops.matmul(ops.matmul(rows, planes), ops.transpose(columns))
    return ops.transpose(planes, (0, 2, 3, 1))


def _band(static: int | None, length: Any) -> Tensor:
    """Return the (length − 10)×length matrix whose rows hold the shifted Gaussian."""
    length = length if static is None else static
    rows = ops.cast(ops.arange(length - 2 * _RADIUS), "float32")[:, None]
    columns = ops.cast(ops.arange(length), "float32")[None, :]
    offset = columns - rows - _RADIUS
    taps = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    weights = ops.exp(-0.5 * ops.square(offset / _SIGMA)) / float(taps.sum())
    return ops.where(ops.abs(offset) <= _RADIUS, weights, 0.0)


def check_shapes(y_true: Tensor, y_pred: Tensor) -> None:
    """Raise ValueError where shapes differ, as far as they are known; one would be repeated."""
    sides = [tuple(images.shape) for images in (y_true, y_pred)]
    differ = any(None not in pair and pair[0] != pair[1] for pair in zip(*sides, strict=False))
    if len(sides[0]) != len(sides[1]) or differ:
        raise ValueError(f"pictures of one size are compared, not {sides[0]} and {sides[1]}")
