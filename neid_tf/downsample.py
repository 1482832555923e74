"""Making NumPy pictures smaller, without TensorFlow and Keras.

The bicubic ÷2 is the same as :func:`neid_tf.augment.halve` on the device, and the average over a
grid the same as :func:`neid_tf.models.area_resize`.
"""

import numpy as np


def bicubic_taps():
    """Return the 8 weights of the antialiased bicubic ÷2 (Keys, a = −0.5); they sum to 1."""
    x = np.abs(np.arange(8) - 3.5) / 2.0
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    taps = np.where(x <= 1.0, near, far)
    return taps / taps.sum()


def pad_to_even(pixels):
    """Repeat the last row or column of pictures …×H×W×C of odd height or width."""
    *batch, height, width, _ = pixels.shape
    extra = [(0, 0)] * len(batch) + [(0, height % 2), (0, width % 2), (0, 0)]
    return np.pad(pixels, extra, mode="edge")


def halve(pixels):
    """Downsample a picture by 2, bicubically and antialiased (section 3.2).

    Args:
        pixels: float H×W×3, H and W even.

    Returns:
        H/2×W/2×3 of the same type, clipped to [0, 1]. What lies beyond the border is left out.

    Raises:
        ValueError: for another shape, or an odd height or width.
    """
    if pixels.ndim != 3 or pixels.shape[0] % 2 or pixels.shape[1] % 2:
        raise ValueError(f"only H×W×3 pictures of even size can be halved, not {pixels.shape}")
    return np.clip(_halve_along(_halve_along(pixels, 0), 1), 0.0, 1.0)


def _halve_along(pixels, axis):
    """Filter and thin out along an axis."""
    padding, shape = [(0, 0)] * 3, [1, 1, 1]
    padding[axis], shape[axis] = (3, 3), pixels.shape[axis]
    inside = np.ones(shape, pixels.dtype)
    filtered, weight = (_filtered(np.pad(array, padding), axis) for array in (pixels, inside))
    return filtered / weight


def _filtered(padded, axis):
    count, total = padded.shape[axis] // 2 - 3, 0.0
    for offset, tap in enumerate(bicubic_taps().astype(padded.dtype)):
        taken = slice(offset, offset + 2 * count, 2)
        total = total + tap * padded[(slice(None),) * axis + (taken,)]
    return total


def area_reduce(pixels, size):
    """Average a picture over a ``size × size`` grid of equal cells.

    Args:
        pixels: float32 H×W×C.
        size: cells along each side.

    Returns:
        size×size×C of the same type.
    """
    height, width, channels = pixels.shape
    rows = _overlaps(height, size) @ pixels.reshape(height, width * channels)
    return np.einsum("cw,rwk->rck", _overlaps(width, size), rows.reshape(size, width, channels))


def _overlaps(length, size):
    """Return size×length: the share of each cell that each pixel covers (rows sum to 1)."""
    cell = length / size
    low, pixel = cell * np.arange(size)[:, None], np.arange(length)
    overlap = np.minimum(low + cell, pixel + 1.0) - np.maximum(low, pixel)
    return (np.maximum(overlap, 0.0) / cell).astype(np.float32)
