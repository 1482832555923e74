"""Making NumPy pictures smaller, without TensorFlow and Keras.

The bicubic ÷2 is the same as :func:`neid_tf.data.augment.halve` on the device, and the average
over a grid the same as :func:`neid_tf.models.area_resize`.
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


def halve(pixels, white=1.0):
    """Downsample a picture by 2, bicubically and antialiased (section 3.2).

    Args:
        pixels: H×W×3, H and W even: float, or integers.
        white: what stands for 1; pixels are divided by it.

    Returns:
        H/2×W/2×3 float, clipped to [0, 1], of the type of ``pixels`` or float32 for integers.
        What lies beyond the border is left out.

    Raises:
        ValueError: for another shape, or an odd height or width.
    """
    if pixels.ndim != 3 or pixels.shape[0] % 2 or pixels.shape[1] % 2:
        raise ValueError(f"only H×W×3 pictures of even size can be halved, not {pixels.shape}")
    height, width, channels = pixels.shape
    dtype = np.dtype(np.float32) if pixels.dtype.kind in "iu" else pixels.dtype
    weights = [_filtered(np.pad(np.ones(n, dtype), 3), 0) for n in (height, width)]
    half = np.empty((height // 2, width // 2, channels), dtype)
    for rows in bands(height // 2, width):
        band = _rows_around(pixels, rows).astype(dtype) / dtype.type(white)
        lines = _filtered(band, 0) / weights[0][rows, None, None]
        filtered = _filtered(np.pad(lines, [(0, 0), (3, 3), (0, 0)]), 1)
        np.clip(filtered / weights[1][:, None], 0.0, 1.0, out=half[rows])
    return half


def bands(height, width):
    """Return slices of rows, of about 32,000 pixels each: what is made of them stays small."""
    step = max(32768 // width, 1)
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def _rows_around(pixels, rows):
    """Return the rows that the output's rows are made of, with zeros beyond the picture."""
    start, stop = 2 * rows.start - 3, 2 * rows.stop + 3
    missing = max(-start, 0), max(stop - len(pixels), 0)
    return np.pad(pixels[max(start, 0) : stop], [missing, (0, 0), (0, 0)])


def _filtered(padded, axis):
    """Return the weighted sums of 8 neighbours at every second place of an axis."""
    count, whole = padded.shape[axis] // 2 - 3, (slice(None),) * axis
    # Apart, the even and the odd places lie side by side, which is several times as fast.
    phases = [np.ascontiguousarray(padded[(*whole, slice(phase, None, 2))]) for phase in (0, 1)]
    taps = bicubic_taps().astype(padded.dtype)
    total = taps[0] * phases[0][(*whole, slice(count))]
    part = np.empty_like(total)
    for offset in range(1, 8):
        taken = slice(offset // 2, offset // 2 + count)
        total += np.multiply(taps[offset], phases[offset % 2][(*whole, taken)], out=part)
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
