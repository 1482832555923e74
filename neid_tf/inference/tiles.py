"""Large pictures, piece by piece, with bounded memory and no seams.

What the network reads off the whole picture (its *context*) is computed once and given to every
tile: the tone off the picture made small, and under that tone what is averaged over its features,
the vector that weighs them, off pieces of it at its own size, since a smaller picture has other
features. A tile is enhanced together with a margin around it, which is then cut away.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from neid_tf.inference.network import TONE, Context, Network, as_network
from neid_tf.pixels.resample import area_reduce, pad_to_even
from neid_tf.support.beside import in_order

TILE = 512
"""Up to this side, in pixels of the network's input, pictures are enhanced whole. The tiles of
larger ones are a little smaller, with their margins: see :func:`side_of` and :func:`layout`."""
_MANY = 16  # Tiles beside which it takes no time worth speaking of to read the context on a core.
CELLS = 128
"""The tone of a tiled picture is read off its means over so many by so many cells."""
SAMPLE = 512
"""Up to as many pixels as a square of this side has, the features of a tiled picture are averaged
over all of it, and else over rows and columns of pieces that have as many together."""
_PIECE = 128  # Pixels along a side: where pieces meet, there are edges that the picture has not.


class Tiled(Network):
    """A network that enhances large pictures tile by tile, one picture at a time.

    Args:
        model: as for :func:`neid_tf.inference.network.as_network`.
        tile: up to this side, in input pixels, a picture is enhanced whole; the tiles of a larger
            one are, with their margins, a little smaller than a square of it. Rounded up to
            multiples of the network's step.
        shown: is given the list of the tiles of a picture that has several, and gives them back
            one by one, as a progress bar does.
    """

    def __init__(
        self, model: object, tile: int = TILE, shown: Callable[[list], Iterable] = iter
    ) -> None:
        self.network, self.shown = as_network(model), shown
        self.scale, self.step = self.network.scale, self.network.step
        self.context, self.refines = self.network.context, self.network.refines
        self.refined_margin = self.network.refined_margin
        self.margin = -(-self.network.margin // self.step) * self.step
        self.notes = self.network.notes
        self.tile = -(-tile // self.step) * self.step
        self.side = side_of(self.tile, self.step, self.margin)

    def on_one_core(self) -> Tiled:
        """Return the same for pictures that are computed beside each other, each on its core."""
        alone = self.network.on_one_core()
        return self if alone is self.network else Tiled(alone, self.tile, self.shown)

    def pieces(
        self,
        batch: np.ndarray,
        picture: np.ndarray | None = None,
        context: Context | None = None,
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Enhance one picture as a call does; yield it tile by tile: see :meth:`Network.pieces`."""
        _, height, width, _ = batch.shape
        if max(height, width) <= self.tile:
            yield from self.network.pieces(batch, picture, context)
            return
        tiles = list(itertools.product(*self._spans(height, width)))
        # What is read off a file is read in one thread.
        cuts = (self._cut(batch, picture, *tile) for tile in tiles)
        # Other numbers would leave cores idle in the end, and larger tiles take their memory.
        count, beside = len(tiles), self.network.beside
        fills_cores = self.tile <= TILE and (count % beside == 0 or count >= 2 * beside)
        network, beside = self.network.workers(count if fills_cores else 1)
        if context is None and count >= _MANY:
            # It is read in the memory that they take.
            context = self._context(network, batch)
        elif context is None:
            context = self.whole_context(batch)
        made = in_order(functools.partial(_computed, network, context), cuts, beside)
        with contextlib.closing(made):
            for _, piece in zip(self.shown(tiles), made, strict=True):
                yield piece

    def _run(self, batch, context, box, picture):
        if max(batch.shape[1:3]) <= self.tile or box is not None:
            return self.network.run_with_context(batch, context, box, picture)
        height, width = (size * self.scale for size in batch.shape[1:3])
        output = np.empty((1, height, width, 3), np.float32)
        for rows, columns, piece in self.pieces(batch, picture, context or None):
            output[:, rows, columns] = piece
        return output

    def _read(self, batch, known):
        return self.network.read_context(batch, known)

    def whole_context(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the tiles of one picture are given, read off it where it is one tile.

        Of a larger one, see :func:`context_of`.
        """
        return self._context(self.network, batch)

    def _context(self, network, batch):
        height, width = batch.shape[1:3]
        if max(height, width) <= self.tile or not self.context:
            return network.read_context(batch)
        sample = batch[0][np.ix_(*sampled(height, width))]
        return context_of(network, area_reduce(batch[0], CELLS), sample)

    def count(self, height: int, width: int) -> int:
        """Return how many pieces :meth:`pieces` yields of a batch of this size."""
        if max(height, width) <= self.tile:
            return 1
        return math.prod(map(len, self._spans(height, width)))

    def _spans(self, height, width):
        """Return the starts and stops of the tiles down and across."""
        sizes = layout(height, width, self.side, self.margin, self.step)
        return [
            [(at, min(at + size, length)) for at in range(0, length, size)]
            for size, length in zip(sizes, (height, width), strict=True)
        ]

    def _cut(self, batch, picture, rows, columns):
        """Return a tile with its margin, and where its inner part lies in it and in the output."""
        size, scale = batch.shape[1:3], self.scale
        outer = [
            (max(start - self.margin, 0), min(stop + self.margin, length))
            for (start, stop), length in zip((rows, columns), size, strict=True)
        ]
        (top, bottom), (left, right) = outer
        box = [top / size[0], left / size[1], (bottom - top) / size[0], (right - left) / size[1]]
        insets = [0, 0]
        if picture is not None:
            if (kept := self.refined_margin) is not None:
                # The refinement sees less far than the rest.
                insets = [
                    max(min(start - low, high - stop) - kept, 0)
                    for (start, stop), (low, high) in zip((rows, columns), outer, strict=True)
                ]
            # Of a tile alone: a large picture is not copied whole.
            full = [
                slice((low + inset) * scale, (high - inset) * scale)
                for (low, high), inset in zip(outer, insets, strict=True)
            ]
            picture = pad_to_even(picture[:, full[0], full[1]])
        tile = np.ascontiguousarray(batch[:, top:bottom, left:right])
        inner = [
            slice((start - low - inset) * scale, (stop - low - inset) * scale)
            for (start, stop), (low, _), inset in zip((rows, columns), outer, insets, strict=True)
        ]
        target = [slice(start * scale, stop * scale) for start, stop in (rows, columns)]
        return tile, np.float32([box]), picture, inner, target


def _computed(network, context, tile, box, picture, inner, target):
    result = network.run_with_context(tile, context, box, picture)
    return *target, result[:, inner[0], inner[1]]


def in_tiles(model: object, tile: int = TILE, shown: Callable[[list], Iterable] = iter) -> Network:
    """Return a network that does large pictures in tiles, or as it is where it can't.

    Args:
        model, tile, shown: as for :class:`Tiled`.
    """
    network = as_network(model)
    return Tiled(network, tile, shown) if network.tileable else network


def sampled(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and the columns of a picture that its features are averaged over.

    Args:
        height, width: of the picture, in pixels.

    Returns:
        Their numbers, in order: all of a side, or pieces that are spread evenly over it.
    """
    rows = _pieces(height, max(SAMPLE, SAMPLE**2 // width))
    return rows, _pieces(width, max(SAMPLE, SAMPLE**2 // height))


def _pieces(length, most):
    """Return the numbers of so many pixels of a side at most, in pieces."""
    if length <= most:
        return np.arange(length)
    count = most // _PIECE
    starts = np.arange(count) * (length - _PIECE) // (count - 1)
    return (starts[:, None] + np.arange(_PIECE)).ravel()


def context_of(network: Network, cells: np.ndarray, sample: np.ndarray) -> dict[str, np.ndarray]:
    """Return the context of a picture that is not computed whole.

    Args:
        network: that reads it.
        cells: the picture's means over :data:`CELLS`×:data:`CELLS` cells, float32 in [0, 1].
        sample: its rows and columns that :func:`sampled` names, likewise.

    Returns:
        The tone that the cells have, and what is read off the sample under it.
    """
    read = network.read_context(cells[None]) if TONE in network.context else {}
    tone = {name: array for name, array in read.items() if name == TONE}
    if len(tone) == len(network.context):
        return tone
    return network.read_context(sample[None], tone)


def layout(height: int, width: int, side: int, margin: int, step: int) -> tuple[int, int]:
    """Return the height and the width of a picture's tiles; the last ones may be smaller.

    Of all that are with their margins at most as large as a square with its, the ones with which
    the least is computed, in pairs: a square of one size for all leaves slivers at the borders.

    Args:
        height, width: of the picture, in pixels.
        side: of the square.
        margin: of a tile, in pixels; there is none at the picture's border.
        step: what both are multiples of.
    """
    most = (side + 2 * margin) ** 2
    found = []
    for rows in range(max(height // (4 * side), 1), 4 * height // side + 2):
        tall = _share(height, rows, step)
        widest = most // min(tall + 2 * margin, height)  # With its margins.
        inner = (widest - 2 * margin) // step * step
        if width > widest and inner < step:
            continue  # With their margins, even the narrowest would be too large.
        least = 1 if width <= widest else -(-width // inner)
        for columns in (least, least + 1):
            tile = tall, _share(width, columns, step)
            count = -(-height // tall) * -(-width // tile[1])
            # Two are computed at a time, or four: an odd one out leaves cores idle.
            pairs = -(-count // 2)
            found.append((computed((height, width), tile, margin) * pairs / count, tile))
    return min(found)[1]


def computed(size: tuple[int, int], tile: tuple[int, int], margin: int) -> int:
    """Return how many pixels the tiles of a picture have together, with their margins.

    Args:
        size: the picture's height and width, in pixels.
        tile: those of its tiles: see :func:`layout`.
        margin: of a tile, in pixels; there is none at the picture's border.
    """
    return math.prod(
        length + 2 * margin * (-(-length // part) - 1)
        for length, part in zip(size, tile, strict=True)
    )


def _share(length, count, step):
    """Return the size of equal parts of a side, rounded up to a multiple of a step."""
    return -(-length // (count * step)) * step


def side_of(tile: int, step: int, margin: int) -> int:
    """Return the side of the square that tiles are as large as, without its margin.

    Args:
        tile: up to this side pictures are done whole. With its margin the square is nine
            tenths of it, since several are computed at a time, beside a picture that is large; but
            without it no less than three quarters.
        step: what it is a multiple of.
        margin: of a tile, in pixels.
    """
    return -(-max(9 * tile // 10 - 2 * margin, 3 * tile // 4) // step) * step
