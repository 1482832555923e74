"""What a network offers, whichever library runs it: the one interface of everything above.

:func:`as_network` makes one of a Keras model or of any function; the exports of
:mod:`neid_tf.inference.runtimes` are networks already.
"""

from __future__ import annotations

import abc
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from neid_tf.pixels.resample import pad_to_even
from neid_tf.pixels.samples import to_float
from neid_tf.support.errors import NeidError

Context = Mapping[str, np.ndarray]
"""What a network reads off whole pictures: arrays by name, N in front."""

TONE = "tone_parameters"
"""The name of the tone there; the rest of a context is read under it."""

MOST_WHOLE = 8_000_000
"""The most pixels of a picture that a rival computes whole: about 16 GB."""

_LARGEST_MARGIN = 64

_LIBRARIES = {"tensorflow", "keras", "onnxruntime", "ai_edge_litert", "jax", "jaxlib", "torch"}


class NetworkError(NeidError):
    """A network that could not be computed, or gave what is no picture."""


class Network(abc.ABC):
    """Makes enhanced pictures of pictures.

    Pictures are N×h×w×3 float32 in [0, 1]; what comes out is N×sh×sw×3 float32 for a ``scale`` of
    s, not necessarily clipped. A subclass fills in ``_run``, and the rest where it reads a context.

    Attributes:
        scale: 2, or 1 where the output has the input's size.
        step: tiles begin at multiples of so many pixels.
        margin: so many pixels around a tile are computed and thrown away: see :func:`margin_of`.
        context: names of what is read off the whole picture and given to each tile of it.
        tileable: whether large pictures may be enhanced in tiles, by any size and context.
        refines: whether it takes the full-size ``picture`` too; see :meth:`__call__`.
        refined_margin: so much of a tile's margin the refinement needs, where it does the middle
            of a tile alone if ``picture`` is no more than that; None where it can't.
        notes: what is to be told of how it runs, a line each.
        beside: how many batches are best computed beside each other, each by what
            :meth:`on_one_core` returns; 1 where each takes all cores.
    """

    scale: int = 2
    step: int = 1
    margin: int = 20
    context: tuple[str, ...] = ()
    tileable: bool = False
    refines: bool = False
    refined_margin: int | None = None
    notes: tuple[str, ...] = ()
    beside: int = 1

    def __call__(self, batch: np.ndarray, picture: np.ndarray | None = None) -> np.ndarray:
        """Enhance whole pictures.

        Args:
            batch: N×h×w×3 float32 in [0, 1].
            picture: N×sh×sw×3, what the batch was made of by halving: float in [0, 1], uint8 or
                uint16. Only a network that ``refines`` uses it; None where there is none.

        Returns:
            N×sh×sw×3 float32.

        Raises:
            NetworkError: where the library that runs the network fails, as for want of memory; and
                where the network gives another shape.
        """
        return self.run_with_context(batch, {}, None, picture)

    def read_context(
        self, batch: np.ndarray, known: Context | None = None
    ) -> dict[str, np.ndarray]:
        """Return what is read off whole pictures, by name, N in front.

        Args:
            batch: N×h×w×3 float32 in [0, 1].
            known: a share of it that is not read, and under which the rest is: the tone, by its
                name :data:`TONE`. It is among what is returned. Only of a ``tileable`` network.

        Raises:
            NetworkError: as for a call.
        """
        with failures_named():
            return self._read(batch, known or {}) if self.context else {}

    def whole_context(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the pieces of one picture are given; see :meth:`pieces`."""
        return self.read_context(batch)

    def run_with_context(
        self,
        batch: np.ndarray,
        context: Context,
        box: np.ndarray | None = None,
        picture: np.ndarray | None = None,
    ) -> np.ndarray:
        """Enhance pictures, or tiles of them, under a context that is given.

        Args:
            batch: N×h×w×3 float32 in [0, 1].
            context: what :meth:`read_context` returned; empty for what is read off the batch.
            box: N×4, which share of the whole picture each of the batch is: top, left, height,
                width, each as a share in [0, 1]; None for all of it.
            picture: as for a call, of the tile; or of its middle alone, as much smaller on each
                side as on the one across from it: see :attr:`refined_margin`.

        Returns:
            N×sh×sw×3 float32; as large as the picture that is of a tile's middle.

        Raises:
            NetworkError: as for a call.
        """
        sides = [self.scale * side for side in batch.shape[1:3]]
        if self.refined_margin is not None and picture is not None:
            lack = np.subtract(sides, picture.shape[1:3])
            if (lack < 0).any() or (lack % (2 * self.scale)).any():
                made = f"a batch of shape {batch.shape} is not what shape {picture.shape} halves to"
                raise NetworkError(f"{made}, nor is that its middle")
            sides = picture.shape[1:3]
        with failures_named():
            output = np.asarray(self._run(batch, context, box, picture))
        wanted = (len(batch), *sides, 3)
        if output.shape != wanted:
            given = f"an array of shape {output.shape} for one of shape {batch.shape}"
            raise NetworkError(f"the network gave {given}, not {wanted}")
        return output

    def pieces(
        self,
        batch: np.ndarray,
        picture: np.ndarray | None = None,
        context: Context | None = None,
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Enhance one picture as a call does; yield it piece by piece.

        Args:
            batch: as for a call, of one picture.
            picture: as for a call; the last row or column that an odd side lacks is made up for.
            context: what :meth:`whole_context` returned; None for what is read off the batch.

        Yields:
            The rows and columns of the output that a piece fills, two slices, and the piece.
        """
        picture = None if picture is None else pad_to_even(picture)
        yield slice(None), slice(None), self.run_with_context(batch, context or {}, None, picture)

    def on_one_core(self) -> Network:
        """Return the same for pictures that are computed beside each other, each on its core."""
        return self

    def workers(self, count: int) -> tuple[Network, int]:
        """Return what best computes batches that follow each other, and how many at a time.

        Args:
            count: how many there are to do at a time; fewer than :attr:`beside` would leave cores
                idle if each had but one.
        """
        alone = self.on_one_core() if 1 < self.beside <= count else self
        return (self, 1) if alone is self else (alone, self.beside)

    @abc.abstractmethod
    def _run(self, batch, context, box, picture):
        """Return the enhanced batch; see :meth:`run_with_context`."""

    def _read(self, batch, known):
        """Return the context of a batch; see :meth:`read_context`."""
        raise NotImplementedError


@contextlib.contextmanager
def failures_named() -> Iterator[None]:
    """Turn what a library raises when it fails into a :class:`NetworkError` of one line."""
    try:
        yield
    except NeidError:
        raise
    except MemoryError as error:
        raise NetworkError("not enough memory for the network") from error
    except Exception as error:
        library = type(error).__module__.partition(".")[0]
        if not (isinstance(error, RuntimeError) or library in _LIBRARIES):
            raise
        line = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        raise NetworkError(f"the network could not be computed: {line}") from error


class FunctionNetwork(Network):
    """Any function of batches as a network that reads no context.

    Args:
        function: from float32 N×h×w×3 in [0, 1] to N×sh×sw×3.
        scale: s, 1 or 2.
    """

    def __init__(self, function: Callable, scale: int = 2) -> None:
        self.function, self.scale = function, scale

    def _run(self, batch, context, box, picture):
        return self.function(batch)


class WholeNetwork(FunctionNetwork):
    """A function that computes each picture whole, and keeps its size: a rival of Table 1.

    Those take up to 2 kB a pixel, so that large pictures are refused before they fill the memory.
    """

    def __init__(self, function: Callable) -> None:
        super().__init__(function, scale=1)

    def _run(self, batch, context, box, picture):
        pixels = batch.shape[1] * batch.shape[2]
        if pixels > MOST_WHOLE:
            raise NetworkError(f"{pixels:,} pixels: this method takes at most {MOST_WHOLE:,}")
        return super()._run(batch, context, box, picture)


class KerasNetwork(Network):
    """A :class:`neid_tf.models.NEID`; its parts are views on the same weights.

    Args:
        model: any part that holds what inference needs.
    """

    tileable = True

    def __init__(self, model) -> None:
        from neid_tf import models

        self._cut = model if model.graph.holds("inference") else models.inference_model(model)
        self.model = self._part("inference")
        self.scale, self.step = model.config.scale, 2**model.config.depth
        self.margin = margin_of(self.step, model.config.convolutions)
        self.context = tuple(self.model.graph.context)
        self.refines = bool(model.config.refinement)
        self.refined_margin = refined_margin_of(model.config.convolutions) if self.refines else None

    def _run(self, batch, context, box, picture):
        full = {} if picture is None or not self.refines else {"picture": to_float(picture)}
        if not context:
            model = self._part("refined") if full else self.model
            return np.asarray(model.predict_on_batch({"image": batch} | full if full else batch))
        given = {"image": batch} | dict(context) | full
        if self.model.graph.place:
            given["box"] = boxes(box, len(batch))
        tile = self._part("refined_tile" if full else "tile")
        return np.asarray(tile.predict_on_batch(given))

    def _read(self, batch, known):
        if known:
            given = {"image": batch} | dict(known)
            given |= {"box": boxes(None, len(batch))} if self.model.graph.place else {}
            read = self._part("fusing").predict_on_batch(given)
        else:
            read = self._part("context").predict_on_batch(batch)
        return dict(known) | {name: np.asarray(array) for name, array in read.items()}

    @property
    def parts(self) -> dict[str, Any]:
        """The Keras models that have been made for what was asked for so far, by part."""
        return self._cut.graph.views

    def _part(self, part):
        """Return a part that is made once for all networks of a model: each new one is traced."""
        from neid_tf import models

        views = self.parts
        if part not in views:
            views[part] = models.as_part(self._cut, part)
        return views[part]


def boxes(box: np.ndarray | None, count: int) -> np.ndarray:
    """Return which share of the whole picture each of a batch is, N×4 float32.

    Args:
        box: as for :meth:`Network.run_with_context`; None for pictures that are whole.
        count: N.
    """
    whole = np.float32([[0.0, 0.0, 1.0, 1.0]])
    return np.broadcast_to(np.float32(whole if box is None else box), (count, 4))


def margin_of(step: int, convolutions: int = 2) -> int:
    """Return a tile's margin in pixels, beyond which hardly anything reaches it.

    With two levels, a step of 4, and two convolutions a level it is 20: nothing farther than 33
    pixels reaches a tile, and in the packaged weights what is farther than 20 changes hardly a
    sample, by one level of 255. With one convolution a level it is 16. More levels see farther,
    and the margin is cut.

    Args:
        step: of the network.
        convolutions: as many 3×3 ones has each level.
    """
    return -(-min((3 + convolutions) * max(step, 4), _LARGEST_MARGIN) // step) * step


def refined_margin_of(convolutions: int) -> int:
    """Return how many pixels around a tile the refinement reads, in pixels of the network's input.

    Args:
        convolutions: as many 3×3 ones has the refinement; the gain is enlarged before them.
    """
    return convolutions + 1


def as_network(model: object) -> Network:
    """Return what runs a model.

    Args:
        model: a :class:`Network`, a Keras model, or a callable from float32 N×h×w×3 in [0, 1] to
            N×2h×2w×3. For one that keeps the size: ``FunctionNetwork(function, scale=1)``.

    Raises:
        NeidError: for what can't be called, as a name.
    """
    if isinstance(model, Network):
        return model
    if not callable(model):
        made = "a model is what neid_tf.load_pretrained(name) returns, or another callable"
        raise NeidError(f"{made}, not {model!r}")
    # A Keras model can't be there unless Keras is; and importing it takes seconds.
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model):
        return FunctionNetwork(model)
    from neid_tf.models import NEID, Rival

    if isinstance(model, NEID):
        return KerasNetwork(model)
    kind = WholeNetwork if isinstance(model, Rival) else FunctionNetwork
    return kind(model.predict_on_batch)
