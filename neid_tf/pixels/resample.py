"""Making NumPy pictures smaller, without TensorFlow and Keras.

The bicubic ÷2 is the same as :func:`neid_tf.data.augment.halve` on the device, and the average
over a grid the same as :func:`neid_tf.models.area_resize`.
"""

import itertools
import math

import numpy as np

_ROWS, _COLUMNS = 128, 256  # Of the output, that are filtered at a time: they stay in the cache.


def bicubic_taps() -> np.ndarray:
    """Return the 8 weights of the antialiased bicubic ÷2 (Keys, a = −0.5); they sum to 1."""
    x = np.abs(np.arange(8) - 3.5) / 2.0
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    taps = np.where(x <= 1.0, near, far)
    return taps / taps.sum()


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
    blocks = itertools.product(_spans(height // 2, _ROWS), _spans(width // 2, _COLUMNS))
    for rows, columns in blocks:
        block = _around(_around(pixels, rows).swapaxes(0, 1), columns).swapaxes(0, 1)
        lines = _filtered(block.astype(dtype) / dtype.type(white), 0)
        lines /= weights[0][rows, None, None]
        filtered = _filtered(lines, 1) / weights[1][columns, None]
        np.clip(filtered, 0.0, 1.0, out=half[rows, columns])
    return half


def _spans(length, step):
    """Return slices that together are a side, each of at most so many pixels."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def halve_any(pixels: np.ndarray, white: float = 1.0) -> np.ndarray:
    """Downsample a picture of any size: ``halve(pad_to_even(pixels), white)``, to the bit.

    A picture of an odd side is padded strip by strip, and not copied whole.

    Args:
        pixels: H×W×3, float or integers.
        white: what stands for 1; pixels are divided by it.

    Returns:
        ⌈H/2⌉×⌈W/2⌉×3, as :func:`halve`.
    """
    height, width = (-(-side // 2) for side in pixels.shape[:2])
    if pixels.shape[:2] == (2 * height, 2 * width):
        return halve(pixels, white)
    dtype = np.dtype(np.float32) if pixels.dtype.kind in "iu" else pixels.dtype
    half = np.empty((height, width, 3), dtype)
    for rows in _spans(height, _ROWS):
        # The margin holds all that the strip's rows are made of.
        low = max(rows.start - 2, 0)
        part = halve(pad_to_even(pixels[2 * low : 2 * (rows.stop + 2)]), white)
        half[rows] = part[rows.start - low : rows.stop - low]
    return half


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
    return _spans(height, max(32768 // width, 1))


def _around(pixels: np.ndarray, rows: slice) -> np.ndarray:
    """Return the rows that rows of the output are made of, with zeros beyond the picture."""
    start, stop = 2 * rows.start - 3, 2 * rows.stop + 3
    missing = max(-start, 0), max(stop - len(pixels), 0)
    inside = pixels[max(start, 0) : stop]
    return np.pad(inside, [missing, (0, 0), (0, 0)]) if any(missing) else inside


def _filtered(padded: np.ndarray, axis: int) -> np.ndarray:
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
        channels: of the picture.
    """

    def __init__(self, height: int, width: int, size: int, channels: int = 3) -> None:
        self.height, self.width, self.size = height, width, size
        self._means = np.zeros((size, size, channels))

    def add(self, piece: np.ndarray, top: int, left: int) -> None:
        """Add a piece; each pixel of the picture is to be in one.

        Args:
            piece: float32 h×w×C.
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
        """Return the averages, float32 size×size×C."""
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
