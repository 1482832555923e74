"""Large pictures, piece by piece, with bounded memory and no seams.

What the network reads off the whole picture (its *context*: the tone, the vector that weighs the
features) is computed once, from the picture made small, and given to every tile. A tile is
enhanced together with a margin around it, which is then cut away.
"""

import numpy as np

from neid_tf import models
from neid_tf.models import area_resize

TILE = 768
"""Side of a tile in pixels of the network's input, without its margin."""
MARGIN = 64
"""Pixels around a tile that are computed and thrown away."""
CONTEXT_SIDE = 384
"""Side of the reduced picture that the fusing vector of a tiled picture is read off."""


class Tiled:
    """A model that enhances large pictures tile by tile.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        tile: side of a tile in input pixels; rounded up to a multiple of ``2**depth``.
    """

    def __init__(self, model, tile=TILE):
        self.model, self.config = model, model.config
        step = 2**self.config.depth
        self.tile, self.margin = -(-tile // step) * step, -(-MARGIN // step) * step
        self.context = models.rebuild(model, "context") if self._has_context() else None
        self.body = models.rebuild(model, "body") if self._has_context() else model

    def _has_context(self):
        return self.config.tone or self.config.architecture == "neid"

    def predict_on_batch(self, batch):
        """Enhance one picture, 1×h×w×3 float32 in [0, 1]; returns 1×2h×2w×3, not clipped."""
        _, height, width, _ = batch.shape
        if max(height, width) <= self.tile:
            return self.model.predict_on_batch(batch)
        context, scale = self._context(batch), self.config.scale
        output = np.empty((1, height * scale, width * scale, 3), np.float32)
        for rows in self._spans(height):
            for columns in self._spans(width):
                self._enhance_tile(batch, context, rows, columns, output)
        return output

    def _context(self, batch):
        """Return the vectors that the body is told, read off the reduced picture."""
        if self.context is None:
            return {}
        side = (min(CONTEXT_SIDE, size) for size in batch.shape[1:3])
        reduced = np.asarray(area_resize(batch, max(side)))
        return {name: np.asarray(v) for name, v in self.context.predict_on_batch(reduced).items()}

    def _spans(self, length):
        """Return the starts and stops of the tiles along a side."""
        return [(at, min(at + self.tile, length)) for at in range(0, length, self.tile)]

    def _enhance_tile(self, batch, context, rows, columns, output):
        outer = [
            (max(start - self.margin, 0), min(stop + self.margin, length))
            for (start, stop), length in zip((rows, columns), batch.shape[1:3], strict=True)
        ]
        (top, bottom), (left, right) = outer
        piece = {"image": np.ascontiguousarray(batch[:, top:bottom, left:right])} | context
        result = self.body.predict_on_batch(piece if context else piece["image"])
        scale = self.config.scale
        inner = [
            slice((start - low) * scale, (stop - low) * scale)
            for (start, stop), (low, _) in zip((rows, columns), outer, strict=True)
        ]
        target = [slice(start * scale, stop * scale) for start, stop in (rows, columns)]
        output[:, target[0], target[1]] = np.asarray(result)[:, inner[0], inner[1]]
