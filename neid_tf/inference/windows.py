"""Pictures that are larger than the memory: read, enhanced and written by windows.

The result is that of :class:`neid_tf.inference.enhance.Enhancement`: the same tiles, and the whole
picture's context is read off the same cells and the same sample, which are made by parts; but bars
at the sides are not looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from neid_tf.inference.enhance import REACH, Enhancement, doubled, finished, halves, reach
from neid_tf.inference.tiles import CELLS, Tiled, context_of, sampled
from neid_tf.pictures.picture import Picture
from neid_tf.pixels.resample import AreaMean, halve
from neid_tf.pixels.samples import as_gray, is_gray, to_float, white

_ALL = (slice(None), slice(None), slice(None))


class Source(Protocol):
    """What is read by windows: :class:`neid_tf.pictures.windows.Windows`.

    Attributes:
        height, width: in pixels.
        dtype: of the samples.
    """

    height: int
    width: int
    dtype: np.dtype

    def read(self, rows: slice, columns: slice) -> Picture:
        """Return a part of the picture."""

    def read_across(self, rows: slice) -> np.ndarray:
        """Return whole rows, H×W×3, filled as in a picture in memory where nothing is seen."""

    def bands(self, scale: int = 1) -> Iterator[slice]:
        """Yield slices of rows that together are all, each of a number that divides by it."""


class _Part:
    """What stands for an array 1×H×W×3 whose parts are made when they are asked for."""

    def __init__(self, height: int, width: int, make: Callable[[slice, slice], np.ndarray]) -> None:
        self.shape, self._make = (1, height, width, 3), make

    def __getitem__(self, index: tuple[slice, slice, slice]) -> np.ndarray:
        rows, columns = (
            slice(*part.indices(length)[:2])
            for part, length in zip(index[1:], self.shape[1:3], strict=True)
        )
        return self._make(rows, columns)[None]


def _wider(part: slice, length: int, factor: int = 1) -> tuple[slice, int]:
    """Return a part, and what it depends on, of a side; and where it begins in that."""
    start = max(factor * part.start - REACH, 0)
    return slice(start, min(factor * part.stop + REACH, length)), factor * part.start - start


def enhanced_pieces(
    source: Source, enhancement: Enhancement
) -> Iterator[tuple[slice, slice, Picture]]:
    """Enhance a picture by windows.

    Args:
        source: the picture.
        enhancement: with a network in tiles (:class:`neid_tf.inference.tiles.Tiled`).

    Yields:
        The rows and columns of the result that a piece fills, and the piece, with alpha and
        further bands.

    Raises:
        NetworkError: as :meth:`Enhancement.compute`.
        PictureError: as ``source.read``.
    """
    work = _Work(source, enhancement)
    for rows, columns, output in work.outputs():
        yield rows, columns, work.finished(rows, columns, output)


def count_pieces(source: Source, enhancement: Enhancement) -> int:
    """Return how many pieces :func:`enhanced_pieces` yields."""
    divisor = 2 if halves(enhancement.model, enhancement.scale) else 1
    return enhancement.model.count(-(-source.height // divisor), -(-source.width // divisor))


class _Work:
    """One picture on its way."""

    def __init__(self, source: Source, enhancement: Enhancement) -> None:
        self.source, self.scale = source, enhancement.scale
        self.model: Tiled = enhancement.model
        self.strength, self.halves = enhancement.strength, halves(enhancement.model, self.scale)
        self._gray = bool(self.model.context)  # As far as what was read of it tells.

    def outputs(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield what the network makes of each tile, cut to the result."""
        height, width = self.source.height, self.source.width
        full = _Part(height, width, lambda rows, columns: self.source.read(rows, columns).pixels)
        if self.halves:
            batch = _Part(-(-height // 2), -(-width // 2), self._halved)
        else:
            batch = _Part(height, width, lambda *part: to_float(self.source.read(*part).pixels))
        picture = full if self.halves and self.model.refines else None
        if max(batch.shape[1:3]) <= self.model.tile:  # It is done as one.
            batch, picture = batch[_ALL], picture and picture[_ALL]
        for rows, columns, output in self.model.pieces(batch, picture, self.context()):
            rows = slice(*rows.indices(height * self.scale)[:2])
            columns = slice(*columns.indices(width * self.scale)[:2])
            size = rows.stop - rows.start, columns.stop - columns.start
            yield rows, columns, output[0, : size[0], : size[1]]

    def _halved(self, rows: slice, columns: slice) -> np.ndarray:
        (outer, top), (across, left) = (
            _wider(rows, self.source.height, 2),
            _wider(columns, self.source.width, 2),
        )
        block = self.source.read(outer, across).pixels
        half = halve(block, white(block.dtype))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return half[top // 2 :, left // 2 :][:height, :width]

    def context(self) -> dict[str, np.ndarray]:
        """Return what the network reads off the whole picture, which is halved at both scales."""
        if not self.model.context:
            return {}
        height, width = -(-self.source.height // 2), -(-self.source.width // 2)
        if max(height, width) <= self.model.tile:
            bands = [half for half, _ in self._halved_bands()]
            return self.model.whole_context(np.concatenate(bands)[None])
        mean, (rows, columns) = AreaMean(height, width, CELLS), sampled(height, width)
        sample = []
        for half, top in self._halved_bands():
            mean.add(half, top, 0)
            own = rows[(rows >= top) & (rows < top + len(half))]
            sample.append(half[np.ix_(own - top, columns)])
        return context_of(self.model.network, mean.result(), np.concatenate(sample))

    def _halved_bands(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yield the halved picture, and where each part begins, by rows."""
        for rows in self.source.bands(2):
            top = rows.start // 2
            outer, inside = _wider(slice(top, -(-rows.stop // 2)), self.source.height, 2)
            block = self.source.read_across(outer)
            self._gray = self._gray and is_gray(block)
            half = halve(block, white(block.dtype))
            yield half[inside // 2 :][: -(-rows.stop // 2) - top], top

    def finished(self, rows: slice, columns: slice, output: np.ndarray) -> Picture:
        """Return a part of the result: the network's output weakened and rounded, with the rest."""
        part, inside = self._input_of(rows, columns)
        image = None
        if self.strength < 1.0:
            image = part.pixels if self.scale == 1 else doubled(part.pixels, inside)
        pixels = np.empty(output.shape, self.source.dtype)
        finished(output, self.strength, image, pixels)
        pixels = as_gray(pixels) if self._gray else pixels
        if self.scale == 1:
            return part.with_pixels(pixels)
        size = [2 * side for side in part.pixels.shape[:2]]
        whole = part.with_pixels(np.zeros((*size, 3), self.source.dtype))
        return whole.part(*inside).with_pixels(pixels)

    def _input_of(self, rows: slice, columns: slice) -> tuple[Picture, tuple[slice, slice]]:
        """Return the input that a part of the result is made of, and where the part lies in it."""
        if self.scale == 1:
            return self.source.read(rows, columns), (slice(None), slice(None))
        sides = self.source.height, self.source.width
        wide, inside = zip(*map(reach, (rows, columns), sides), strict=True)
        return self.source.read(*wide), inside
