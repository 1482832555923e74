"""PSNR and SSIM of batches, on any Keras backend (section 3.1)."""

import math

import numpy as np
from keras import ops

_SIGMA, _RADIUS = 1.5, 5


def psnr(y_true, y_pred, data_range=1.0):
    """Compute the peak signal-to-noise ratio, in dB, of each picture.

    Args:
        y_true: N×H×W×C.
        y_pred: the same shape.
        data_range: the value of white, 1 or 255. It has to fit the pictures.

    Returns:
        N values; infinite where two pictures are the same.
    """
    _check_shapes(y_true, y_pred)
    error = ops.mean(ops.square(y_true - y_pred), axis=(1, 2, 3))
    return (20.0 * math.log10(data_range)) - 10.0 * ops.log10(error)


def ssim(y_true, y_pred, data_range=1.0):
    """Compute the structural similarity of each picture, averaged over its channels.

    Gaussian 11×11 windows, σ = 1.5, K = (0.01, 0.03), over the windows that lie inside the
    picture: scikit-image's ``structural_similarity`` with ``gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False``.

    Args:
        y_true: N×H×W×C, at least 11×11.
        y_pred: the same shape.
        data_range: the value of white, 1 or 255.

    Returns:
        N values of at most 1.
    """
    _check_shapes(y_true, y_pred)
    y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    stacked = ops.concatenate(
        [y_true, y_pred, y_true * y_true, y_pred * y_pred, y_true * y_pred], axis=-1
    )
    mean_a, mean_b, aa, bb, ab = ops.split(_gaussian(stacked), 5, axis=-1)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    covariance = ab - mean_a * mean_b
    variances = aa - mean_a * mean_a + bb - mean_b * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    return ops.mean(luminance * (2 * covariance + c2) / (variances + c2), axis=(1, 2, 3))


def _gaussian(images):
    """Filter with the Gaussian window, without padding: two products with a band matrix."""
    rows = _band(images.shape[1], ops.shape(images)[1])
    columns = _band(images.shape[2], ops.shape(images)[2])
    planes = ops.transpose(images, (0, 3, 1, 2))
    planes = ops.matmul(ops.matmul(rows, planes), ops.transpose(columns))
    return ops.transpose(planes, (0, 2, 3, 1))


def _band(static, length):
    """Return the (length − 10)×length matrix whose rows hold the shifted Gaussian."""
    length = length if static is None else static
    rows = ops.cast(ops.arange(length - 2 * _RADIUS), "float32")[:, None]
    columns = ops.cast(ops.arange(length), "float32")[None, :]
    offset = columns - rows - _RADIUS
    taps = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    weights = ops.exp(-0.5 * ops.square(offset / _SIGMA)) / float(taps.sum())
    return ops.where(ops.abs(offset) <= _RADIUS, weights, 0.0)


def _check_shapes(y_true, y_pred):
    if tuple(y_true.shape) != tuple(y_pred.shape):
        raise ValueError(
            f"pictures of one size are compared, not {y_true.shape} and {y_pred.shape}"
        )
