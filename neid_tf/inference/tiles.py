"""Large pictures, piece by piece, with bounded memory and no seams.

What the network reads off the whole picture (its *context*: the tone, the vector that weighs the
features) is computed once, from the picture made small, and given to every tile. A tile is
enhanced together with a margin around it, which is then cut away.
"""

import functools

import numpy as np

from neid_tf.pixels.resample import area_reduce

TILE = 512
"""Side of a tile in pixels of the network's input, without its margin."""
MARGIN = 64
"""Pixels around a tile that are computed and thrown away, at most; see :func:`_margin`."""
CONTEXT_SIDE = 384
"""Side of the reduced picture that the fusing vector of a tiled picture is read off."""


class Tiled:
    """A model that enhances large pictures tile by tile.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``, or a
            :class:`neid_tf.inference.runtimes.Onnx`.
        tile: side of a tile in input pixels; rounded up to a multiple of the model's step.
    """

    def __init__(self, model, tile=TILE):
        self.parts = parts(model)
        self.config, step = getattr(model, "config", self.parts), self.parts.step
        self.tile, self.margin = -(-tile // step) * step, _margin(step)

    def on_one_core(self):
        """Return the same for pictures that are computed beside each other, each on its core."""
        if not hasattr(self.parts, "on_one_core"):
            return self
        return Tiled(self.parts.on_one_core(), self.tile)

    def predict_on_batch(self, batch):
        """Enhance one picture, 1×h×w×3 float32 in [0, 1]; returns 1×2h×2w×3, not clipped."""
        if self._is_one_tile(batch):
            return self.parts(batch)
        height, width = (size * self.config.scale for size in batch.shape[1:3])
        output = np.empty((1, height, width, 3), np.float32)
        for rows, columns, piece in self.pieces(batch):
            output[:, rows, columns] = piece
        return output

    def pieces(self, batch):
        """Enhance one picture as :meth:`predict_on_batch` does; yield it piece by piece.

        Yields:
            The rows and columns of the output that a piece fills, two slices, and the piece.
        """
        _, height, width, _ = batch.shape
        if self._is_one_tile(batch):
            yield slice(None), slice(None), self.parts(batch)
            return
        context = self._context(batch)
        for rows in self._spans(height):
            for columns in self._spans(width):
                yield self._enhance_tile(batch, context, rows, columns)

    def _is_one_tile(self, batch):
        return max(batch.shape[1:3]) <= self.tile

    def _context(self, batch):
        """Return the vectors that the tiles are told, read off the reduced picture."""
        if not self.parts.context:
            return {}
        side = max(min(CONTEXT_SIDE, size) for size in batch.shape[1:3])
        return self.parts.read_context(area_reduce(batch[0], side)[None])

    def _spans(self, length):
        """Return the starts and stops of the tiles along a side."""
        return [(at, min(at + self.tile, length)) for at in range(0, length, self.tile)]

    def _enhance_tile(self, batch, context, rows, columns):
        outer = [
            (max(start - self.margin, 0), min(stop + self.margin, length))
            for (start, stop), length in zip((rows, columns), batch.shape[1:3], strict=True)
        ]
        (top, bottom), (left, right) = outer
        piece = np.ascontiguousarray(batch[:, top:bottom, left:right])
        result, scale = self.parts.run_told(piece, context), self.config.scale
        inner = [
            slice((start - low) * scale, (stop - low) * scale)
            for (start, stop), (low, _) in zip((rows, columns), outer, strict=True)
        ]
        target = [slice(start * scale, stop * scale) for start, stop in (rows, columns)]
        return *target, result[:, inner[0], inner[1]]


def _margin(step):
    """Return a margin in pixels: with two levels, a step of 4, all that reaches a tile's pixels.

    There nothing farther than 28 pixels does. More levels see farther, and the margin is cut.
    """
    return -(-min(8 * step, MARGIN) // step) * step


def has_parts(model):
    """Return whether :func:`parts` takes a model, and not only calls do."""
    return hasattr(model, "read_context") or hasattr(model, "part")


def parts(model):
    """Return what runs a model as a whole, reads its context, and runs it with one told.

    Args:
        model: as for :class:`Tiled`.

    Returns:
        An object with the calls and attributes of :class:`neid_tf.inference.runtimes.Onnx`; results
        of a Keras model are not clipped.
    """
    return model if hasattr(model, "read_context") else _KerasParts(model)


class _KerasParts:
    """A :class:`neid_tf.models.NEID`; its parts are models of their own, made when needed."""

    def __init__(self, model):
        config = model.config
        self._model, self.scale, self.step = model, config.scale, 2**config.depth
        self._has_context = config.tone or config.architecture == "neid"

    def __call__(self, batch):
        return np.asarray(self._model.predict_on_batch(batch))

    @functools.cached_property
    def context(self):
        return tuple(self._reader.output) if self._has_context else ()

    def read_context(self, batch):
        if not self.context:
            return {}
        vectors = self._reader.predict_on_batch(batch)
        return {name: np.asarray(vector) for name, vector in vectors.items()}

    def run_told(self, batch, context):
        if not context:
            return self(batch)
        return np.asarray(self._body.predict_on_batch({"image": batch} | context))

    @functools.cached_property
    def _reader(self):
        return _rebuilt(self._model, "context")

    @functools.cached_property
    def _body(self):
        return _rebuilt(self._model, "body")


def _rebuilt(model, part):
    from neid_tf import models

    return models.rebuild(model, part)
