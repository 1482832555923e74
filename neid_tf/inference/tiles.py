"""Large pictures, piece by piece, with bounded memory and no seams.

What the network reads off the whole picture (its *context*: the tone, the vector that weighs the
features) is computed once, from the picture made small, and given to every tile. A tile is
enhanced together with a margin around it, which is then cut away.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from neid_tf.inference.network import Context, Network, as_network
from neid_tf.pixels.resample import area_reduce, pad_to_even

TILE = 512
"""Side of a tile in pixels of the network's input, without its margin."""
MARGIN = 64
"""Pixels around a tile that are computed and thrown away, at most; see :func:`_margin`."""
CONTEXT_SIDE = 384
"""Side of the reduced picture that the fusing vector of a tiled picture is read off."""


class Tiled(Network):
    """A network that enhances large pictures tile by tile, one picture at a time.

    Args:
        model: as for :func:`neid_tf.inference.network.as_network`.
        tile: side of a tile in input pixels; rounded up to a multiple of the network's step.
        shown: is given the list of the tiles of a picture that has several, and gives them back
            one by one, as a progress bar does.
    """

    def __init__(
        self, model: object, tile: int = TILE, shown: Callable[[list], Iterable] = iter
    ) -> None:
        self.network, self.shown = as_network(model), shown
        self.scale, self.step = self.network.scale, self.network.step
        self.context, self.refines = self.network.context, self.network.refines
        self.notes = self.network.notes
        self.tile, self.margin = -(-tile // self.step) * self.step, _margin(self.step)

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
        if context is None:
            context = self.whole_context(batch)
        tiles = itertools.product(self._spans(height), self._spans(width))
        for rows, columns in self.shown(list(tiles)):
            yield self._enhance_tile(batch, picture, context, rows, columns)

    def _run(self, batch, context, box, picture):
        if max(batch.shape[1:3]) <= self.tile or box is not None:
            return self.network.run_with_context(batch, context, box, picture)
        height, width = (size * self.scale for size in batch.shape[1:3])
        output = np.empty((1, height, width, 3), np.float32)
        for rows, columns, piece in self.pieces(batch, picture, context or None):
            output[:, rows, columns] = piece
        return output

    def _read(self, batch):
        return self.network.read_context(batch)

    def whole_context(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the tiles of one picture are given, read off it where it is one tile.

        A larger one is reduced first.
        """
        if max(batch.shape[1:3]) > self.tile:
            side = max(min(CONTEXT_SIDE, size) for size in batch.shape[1:3])
            batch = area_reduce(batch[0], side)[None]
        return self.network.read_context(batch)

    def _spans(self, length):
        """Return the starts and stops of the tiles along a side."""
        return [(at, min(at + self.tile, length)) for at in range(0, length, self.tile)]

    def _enhance_tile(self, batch, picture, context, rows, columns):
        size, scale = batch.shape[1:3], self.scale
        outer = [
            (max(start - self.margin, 0), min(stop + self.margin, length))
            for (start, stop), length in zip((rows, columns), size, strict=True)
        ]
        (top, bottom), (left, right) = outer
        box = [top / size[0], left / size[1], (bottom - top) / size[0], (right - left) / size[1]]
        if picture is not None:
            # Of a tile alone: a large picture is not copied whole.
            picture = pad_to_even(
                picture[:, top * scale : bottom * scale, left * scale : right * scale]
            )
        tile = np.ascontiguousarray(batch[:, top:bottom, left:right])
        result = self.network.run_with_context(tile, context, np.float32([box]), picture)
        inner = [
            slice((start - low) * scale, (stop - low) * scale)
            for (start, stop), (low, _) in zip((rows, columns), outer, strict=True)
        ]
        target = [slice(start * scale, stop * scale) for start, stop in (rows, columns)]
        return *target, result[:, inner[0], inner[1]]


def in_tiles(model: object, tile: int = TILE, shown: Callable[[list], Iterable] = iter) -> Network:
    """Return a network that does large pictures in tiles, or as it is where it can't.

    Args:
        model, tile, shown: as for :class:`Tiled`.
    """
    network = as_network(model)
    return Tiled(network, tile, shown) if network.tileable else network


def _margin(step):
    """Return a margin in pixels: with two levels, a step of 4, nearly all that reaches a tile.

    There nothing farther than 33 pixels does, and what is farther than 24 changes a pixel by less
    than 1e-4. More levels see farther, and the margin is cut.
    """
    return -(-min(8 * step, MARGIN) // step) * step
