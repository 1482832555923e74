"""Making NumPy pictures smaller, without TensorFlow and Keras.

The bicubic ÷2 is the same as :func:`neid_tf.data.augment.halve` on the device, and the average
over a grid the same as :func:`neid_tf.models.area_resize`.
"""

import collections
import functools
import itertools
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neid_tf.support.beside import in_order
from neid_tf.support.machine import usable_cores

_ROWS, _COLUMNS = 128, 320  # Of the output, filtered at a time: small for the cache, not Python.
_FOR_ONE, _MOST_BESIDE = 2**20, 4  # Pixels of the output that one core filters, and cores else.
_PIECE = 8  # Rows or columns of the output that one product makes; so small that one core does it.
_TAPS = np.array([-3.0, -9.0, 29.0, 111.0, 111.0, 29.0, -9.0, -3.0])
"""The weights of the antialiased bicubic ÷2 (Keys, a = −0.5), times 256."""
_MIDDLES = {"uint8": 128, "uint16": 32768}
"""What is taken off samples, so that their sums are small."""


def bicubic_taps() -> np.ndarray:
    """Return the 8 weights of the antialiased bicubic ÷2 (Keys, a = −0.5); they sum to 1."""
    return _TAPS / 256.0


def pad_to_even(pixels: np.ndarray) -> np.ndarray:
    """Repeat the last row or column of pictures of odd height or width.

    Args:
        pixels: …×H×W×C, of any type.

    Returns:
        The same with even H and W; the same array where they are.
    """
    *batch, height, width, _ = pixels.shape
    if height % 2 == width % 2 == 0:
        return pixels
    extra = [(0, 0)] * len(batch) + [(0, height % 2), (0, width % 2), (0, 0)]
    return np.pad(pixels, extra, mode="edge")


def halve(pixels: np.ndarray, white: float = 1.0) -> np.ndarray:
    """Downsample a picture by 2, bicubically and antialiased (section 3.2).

    The last row or column of an odd height or width counts twice. What lies beyond the border is
    left out. The sums are matrix products of small pieces. Of 8 bits they are sums of integers
    below 2²⁴, so that their bits do not hang on the order that a processor adds in.

    Args:
        pixels: H×W×3, float or integers.
        white: what stands for 1; pixels are divided by it.

    Returns:
        ⌈H/2⌉×⌈W/2⌉×3 float, clipped to [0, 1], of the type of ``pixels`` or float32 for integers.

    Raises:
        ValueError: for another shape.
    """
    if pixels.ndim != 3:
        raise ValueError(f"only H×W×3 pictures can be halved, not {pixels.shape}")
    (height, width), channels = (-(-side // 2) for side in pixels.shape[:2]), pixels.shape[2]
    dtype = np.dtype(np.float64 if pixels.dtype == np.float64 else np.float32)
    middle = dtype.type(_MIDDLES.get(pixels.dtype.name, 0))
    weights = [_inside(length).astype(dtype) for length in (height, width)]
    kept = np.dtype(np.float32) if pixels.dtype.kind in "iu" else pixels.dtype
    half = np.empty((height, width, channels), kept)

    def fill(rows, columns):
        weight = weights[0][rows, None] * np.repeat(weights[1][columns], channels)
        total = _filtered(_around(pixels, rows, columns, middle, dtype), channels)
        total = total[: weight.shape[0], : weight.shape[1]]
        total += middle * weight
        total /= weight * dtype.type(white)
        np.clip(total, 0.0, 1.0, out=total)
        half[rows, columns] = total.reshape(len(total), -1, channels)

    blocks = itertools.product(_spans(height, _ROWS), _spans(width, _COLUMNS))
    beside = min(usable_cores(), _MOST_BESIDE) if height * width > _FOR_ONE else 1
    collections.deque(in_order(fill, blocks, beside), maxlen=0)
    return half


def _inside(length):
    """Return the sums of the taps that lie in a picture, for every place of a side."""
    return np.convolve(np.pad(np.ones(2 * length), 4), _TAPS, "valid")[1::2]


def _spans(length, step):
    """Return slices that together are a side: alike, of whole pieces, of about so many pixels."""
    count = max(-(-length // step), 1)
    return _slices(length, max(-(-length // (count * _PIECE)), 1) * _PIECE)


def _slices(length, each):
    return [slice(start, min(start + each, length)) for start in range(0, length, each)]


def double(pixels: np.ndarray) -> np.ndarray:
    """Enlarge a picture by 2, bicubically (Keys, a = −0.5, as :func:`halve`).

    What lies beyond the border is left out, as ``tf.image.resize(method="bicubic",
    antialias=True)`` does.

    Args:
        pixels: float H×W×C.

    Returns:
        2H×2W×C of the same type; it may exceed the range of ``pixels`` beside edges.
    """
    return _doubled(_doubled(pixels, 0), 1)


def _doubled(pixels: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate at a quarter before and behind the middle of each pixel of an axis."""
    length = pixels.shape[axis]
    x = np.array([1.75, 0.75, 0.25, 1.25])
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    taps = np.where(x <= 1.0, near, far).astype(pixels.dtype)
    padding = [(2, 2) if index == axis else (0, 0) for index in range(pixels.ndim)]
    padded, whole = np.pad(pixels, padding), (slice(None),) * axis
    inside = np.pad(np.ones(length, pixels.dtype), 2)
    shape = [2 * n if index == axis else n for index, n in enumerate(pixels.shape)]
    doubled = np.empty(shape, pixels.dtype)
    for phase, weights in enumerate((taps, taps[::-1])):
        starts = range(phase, phase + 4)
        total = sum(
            w * padded[(*whole, slice(n, n + length))] for w, n in zip(weights, starts, strict=True)
        )
        share = sum(w * inside[n : n + length] for w, n in zip(weights, starts, strict=True))
        share = share.reshape([-1 if index == axis else 1 for index in range(pixels.ndim)])
        doubled[(*whole, slice(phase, None, 2))] = total / share
    return doubled


def bands(height: int, width: int) -> list[slice]:
    """Return slices of rows, of about 32,000 pixels each: what is made of them stays small.

    Args:
        height, width: of the picture, in pixels.
    """
    return _slices(height, max(32768 // width, 1))


def _around(pixels, rows, columns, middle, dtype):
    """Return what a block of the output is made of, less ``middle``, with zeros beyond the picture.

    The last row or column of an odd side is repeated. There are as many as whole pieces need.
    """
    spans, inside, targets = (rows, columns), [], []
    sizes = [2 * _PIECE * -(-(span.stop - span.start) // _PIECE) + 6 for span in spans]
    for span, size, side in zip(spans, sizes, pixels.shape, strict=False):
        start = 2 * span.start - 3
        first, last = max(start, 0), min(start + size, side)
        inside.append(slice(first, last))
        targets.append(slice(first - start, last - start))
    block = np.zeros((*sizes, pixels.shape[2]), dtype)
    np.subtract(pixels[tuple(inside)], middle, out=block[tuple(targets)], dtype=dtype)
    for axis, (target, taken) in enumerate(zip(targets, inside, strict=True)):
        if taken.stop == pixels.shape[axis] and taken.stop % 2 and target.stop < sizes[axis]:
            lines = block.swapaxes(0, axis)
            lines[target.stop] = lines[target.stop - 1]
    return block.reshape(sizes[0], -1)


def _filtered(block, channels):
    """Return the sums, weighed by :data:`_TAPS`, of 8×8 pixels around every second pixel.

    Args:
        block: lines of pixels, the channels of each side by side, as is what is returned.
        channels: how many there are.
    """
    rows, columns = len(block) // 2 - 3, block.shape[1] // channels // 2 - 3
    matrix, interleaved = _matrices(channels, block.dtype)
    pieces = sliding_window_view(block, matrix.shape[1], axis=0)[:: 2 * _PIECE].swapaxes(1, 2)
    lines = np.matmul(matrix, pieces).reshape(rows, -1)
    pieces = sliding_window_view(lines, len(interleaved), axis=1)[:, :: 2 * _PIECE * channels]
    total = np.empty((rows, columns // _PIECE, _PIECE * channels), block.dtype)
    np.matmul(pieces.swapaxes(0, 1), interleaved, out=total.swapaxes(0, 1))
    return total.reshape(rows, -1)


@functools.cache
def _matrices(channels, dtype):
    """Return what makes a piece of rows of so many rows, and of columns of so many columns."""
    rows = np.zeros((_PIECE, 2 * _PIECE + 6), dtype)
    for place in range(_PIECE):
        rows[place, 2 * place : 2 * place + 8] = _TAPS
    return rows, np.kron(rows.T, np.eye(channels, dtype=dtype))


def area_reduce(pixels: np.ndarray, size: int) -> np.ndarray:
    """Average a picture over a ``size × size`` grid of equal cells.

    Time and memory are linear in the pixels, whatever the shape of the picture.

    Args:
        pixels: float32 H×W×C.
        size: cells along each side.

    Returns:
        size×size×C float32.
    """
    if 2 * len(pixels) >= size:
        return _rows_averaged(_rows_averaged(pixels, size).swapaxes(0, 1), size).swapaxes(0, 1)
    # There are fewer rows than cells: averaged first, they would become many rows of full width.
    return _rows_averaged(_rows_averaged(pixels.swapaxes(0, 1), size).swapaxes(0, 1), size)


class AreaMean:
    """The averages of :func:`area_reduce` of a picture that comes in pieces.

    Args:
        height, width: of the picture, in pixels.
        size: cells along each side.
    """

    def __init__(self, height: int, width: int, size: int) -> None:
        self.height, self.width, self.size = height, width, size
        self._means = np.zeros((size, size, 3))

    def add(self, piece: np.ndarray, top: int, left: int) -> None:
        """Add a piece; each pixel of the picture is to be in one.

        Args:
            piece: float32 h×w×3.
            top, left: where it begins.
        """
        rows = _rows_averaged(piece, self.size, self.height, top).swapaxes(0, 1)
        cells = _rows_averaged(rows, self.size, self.width, left).swapaxes(0, 1)
        first, before = (
            int(at / (length / self.size))
            for at, length in ((top, self.height), (left, self.width))
        )
        self._means[first : first + len(cells), before : before + cells.shape[1]] += cells

    def result(self) -> np.ndarray:
        """Return the averages, float32 size×size×3."""
        return self._means.astype(np.float32)


def _rows_averaged(
    pixels: np.ndarray, size: int, length: int | None = None, start: int = 0
) -> np.ndarray:
    """Return the means of ``size`` equal runs of rows, float32 size×W×C.

    Where the rows are a part of ``length``, from ``start`` on: what they add to the means of the
    runs that they reach.
    """
    cell = (length or len(pixels)) / size
    stop = start + len(pixels)
    runs = range(int(start / cell), min(math.ceil(stop / cell), size))
    averaged = np.empty((len(runs), *pixels.shape[1:]), np.float32)
    for index in runs:
        low, high = index * cell, (index + 1) * cell
        first, last = max(int(low), start), min(math.ceil(high), stop)
        row = np.arange(first, last)
        share = (np.minimum(high, row + 1.0) - np.maximum(low, row)).clip(0.0) / cell
        rows = np.ascontiguousarray(pixels[first - start : last - start])
        mean = share.astype(np.float32) @ rows.reshape(last - first, -1)
        averaged[index - runs.start] = mean.reshape(averaged.shape[1:])
    return averaged
