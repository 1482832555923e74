"""Enhancing one picture: the single path from pixels to pixels."""

from __future__ import annotations

import dataclasses
import numbers
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from neid_tf.inference.bars import framed, inside
from neid_tf.inference.inputs import enhanced_alike
from neid_tf.inference.network import Context, Network, NetworkError, as_network
from neid_tf.pixels.curve import odds_curve
from neid_tf.pixels.resample import bands, double, halve
from neid_tf.pixels.samples import WHITE, as_gray, from_float, is_gray, to_float, white
from neid_tf.support.errors import NeidError

MAX_STRENGTH = 8.0
"""The largest strength: 7 stops more light than the model gives."""
REACH = 4
"""Pixels beside a part that what is made of it depends on, halved or doubled; even."""


def enhance(image: Any, model: object, scale: int | None = None, strength: float = 1.0) -> Any:
    """Brighten a picture and restore its details.

    Args:
        image: H×W×3 RGB, uint8, uint16 or float in [0, 1], of any size from 1×1 up; or a path, a
            Pillow picture, or gray or with alpha: see
            :func:`neid_tf.inference.inputs.enhanced_alike`.
        model: a model from :func:`neid_tf.load_pretrained`, or what else
            :func:`neid_tf.inference.network.as_network` takes: a network of any runtime, or a
            callable from float32 N×h×w×3 in [0, 1] to N×2h×2w×3.
        scale: 1 gives a picture of the input's size (it is halved bicubically first, as in the
            paper's evaluation); 2 gives twice its size. None is 1, but for what ``neid pack``
            made small: that gets the size from before.
        strength: 0 gives the input, 1 the model's result, values between a blend, and values
            from 1 to 8 more light. The mean brightness grows with it.

    Returns:
        H×W×3, or 2H×2W×3 for ``scale=2``, of the input's type; a Pillow picture for one, gray for
        gray, with alpha where there was one.

    Raises:
        ValueError: for what is no picture or no model, a scale other than 1 and 2, or a strength
            outside of 0 to 8.
        NetworkError: where the network fails, or gives another shape or values that are no numbers.
    """
    function = Enhancement(model, 1 if scale is None else scale, strength)
    return enhanced_alike(image, function, whole=scale is None)


@dataclasses.dataclass(frozen=True)
class Enhancement:
    """The path in steps, for those who prepare one picture beside the computing of another.

    Calling it does all of them. What it is made of and what it raises: see :func:`enhance`.

    Attributes:
        model, scale, strength: as for :func:`enhance`.
        bars: whether black or white bars at the sides stay as they are, and are not read: see
            :mod:`neid_tf.inference.bars`. Frames of videos have them cut off before.
    """

    model: object
    scale: int = 1
    strength: float = 1.0
    bars: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_network(self.model))
        check_settings(self.model, self.scale, self.strength)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the enhanced picture."""
        return self.compute(image, self.prepare(image))

    def compute(
        self, image: np.ndarray, batch: np.ndarray, context: Context | None = None
    ) -> np.ndarray:
        """Return the enhanced picture for a picture and its batch.

        A large one is finished tile by tile, so that it is never there in floating point whole.

        Args:
            image: the picture, as for :func:`enhance`.
            batch: what :meth:`prepare` made of it.
            context: what the network read off the whole picture, or a mean of what it read off
                several; None for what is read off the batch.

        Raises:
            NetworkError: where the network fails, or gives another shape or values that are no
                numbers.
        """
        if found := self._inside(image):
            place, core = found
            if context is None and core != place:
                context = self.read_context(self._batch(image[core]))
            made = self._computed(image[place], batch, context)
            return framed(image, made, place, self.scale)
        return self._computed(image, batch, context)

    def _inside(self, image):
        """Return what of a picture is inside of bars; None for all, or where nothing is read."""
        return inside(image) if self.bars and self.model.context else None

    def _computed(self, image, batch, context):
        if context is None and self.scale == 2:
            context = self.read_context(batch)
        height, width = (size * self.scale for size in image.shape[:2])
        enhanced = np.empty((height, width, 3), image.dtype)
        for rows, columns, output in self.model.pieces(batch, self._full_size(image), context):
            target = enhanced[rows, columns]
            output = output[0, : target.shape[0], : target.shape[1]]
            finished(output, self.strength, self._beneath(image, rows, columns), target)
        return as_gray(enhanced) if self.model.context and is_gray(image) else enhanced

    def on_one_core(self) -> Enhancement:
        """Return the same for pictures that are computed beside each other, each on its core."""
        alone = self.model.on_one_core()
        return self if alone is self.model else dataclasses.replace(self, model=alone)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Return the batch of one, float32 in [0, 1], that the model is given for a picture."""
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise NeidError(f"a picture has the shape (height, width, 3), not {image.shape}")
        if image.dtype.name not in WHITE:
            raise NeidError(f"a picture's type is uint8, uint16 or float, not {image.dtype}")
        if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
            raise NeidError(f"floats must lie in [0, 1], not [{image.min()}, {image.max()}]")
        found = self._inside(image)
        return self._batch(image[found[0]] if found else image)

    def _batch(self, image):
        halved = halves(self.model, self.scale)
        if image.dtype.kind == "f" or not halved:
            image = to_float(image)
        return (halve(image, white(image.dtype)) if halved else image)[None]

    def read_context(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the network reads off the whole picture.

        At scale 2, it is read off the halved picture: noise looks like light to a network that
        learned from halved pictures, and a picture is to be as bright at both scales.

        Args:
            batch: what :meth:`prepare` made of the picture.
        """
        view = halve(batch[0])[None] if self.scale == 2 else batch
        return self.model.whole_context(view)

    def _beneath(self, image, rows, columns):
        """Return the part of the input, of the result's size, that a part of it is a blend with."""
        if self.scale == 1 or self.strength >= 1.0:
            return image[rows, columns]
        wide, inside = zip(*map(reach, (rows, columns), image.shape[:2]), strict=True)
        return doubled(image[wide], inside)

    def _full_size(self, image):
        """Return the picture that a network which refines is given, 1×H×W×3."""
        return image[None] if self.model.refines and halves(self.model, self.scale) else None


def check_settings(network: Network, scale: int, strength: float) -> None:
    """Check what a network is asked for.

    Args:
        network: what is to run.
        scale: 1 or 2, as for :func:`enhance`.
        strength: as for :func:`enhance`.

    Raises:
        ValueError: for a scale other than the integers 1 and 2, or one that the network can't do;
            for a strength that is no number from 0 to :data:`MAX_STRENGTH`.
    """
    if isinstance(scale, bool) or not (isinstance(scale, numbers.Integral) and scale in (1, 2)):
        raise NeidError(f"scale must be the integer 1 or 2, not {scale!r}")
    if scale == 2 and network.scale == 1:
        raise NeidError("this model keeps the size of its input: scale 2 needs another")
    check_strength(strength)


def check_strength(strength: object, most: float = MAX_STRENGTH) -> None:
    """Raise ValueError for a strength that is no number from 0 to the most."""
    is_number = isinstance(strength, numbers.Real) and not isinstance(strength, bool)
    if not (is_number and 0.0 <= strength <= most):
        raise NeidError(f"strength must be a number from 0 to {most:g}, not {strength!r}")


def finished(
    output: np.ndarray, strength: float, image: np.ndarray | None, out: np.ndarray
) -> np.ndarray:
    """Turn a network's output into samples: the last step of every picture, tile and frame.

    Args:
        output: h×w×3 float, not necessarily clipped.
        strength: as for :func:`enhance`.
        image: the input, of that size or half of it, of any type; not needed for a strength of 1
            or more.
        out: h×w×3 of the type wanted, which is filled.

    Returns:
        ``out``.

    Raises:
        NetworkError: where the output holds infinities or what is no number.
    """
    if not np.isfinite(output).all():
        raise NetworkError("the network gave values that are not finite: its weights are unsound")
    if strength != 1.0:
        pixels = to_float(image) if strength < 1.0 else None
        output = adjust(pixels, np.clip(output, 0.0, 1.0), strength)
    for rows in bands(*out.shape[:2]):
        from_float(output[rows], out.dtype, out=out[rows])
    return out


def halves(network: Network, scale: int) -> bool:
    """Tell whether a picture is halved before a network that doubles it (section 3.2).

    Args:
        network: what is to run.
        scale: how many times larger the result is to be than the picture.
    """
    return scale == 1 and network.scale == 2


@typing.runtime_checkable
class Steps(typing.Protocol):
    """What computes pictures in steps, as :class:`Enhancement` does."""

    def on_one_core(self) -> Steps:
        """Return the same for pictures that are computed beside each other."""

    def prepare(self, image: np.ndarray) -> object:
        """Return what :meth:`compute` is given beside the picture."""

    def compute(self, image: np.ndarray, prepared: object) -> np.ndarray:
        """Return the enhanced picture.

        Args:
            image: the pixels.
            prepared: what :meth:`prepare` made of them.
        """


@dataclasses.dataclass(frozen=True)
class _Whole:
    """A function of pixels as steps, the first of which does nothing."""

    function: Callable

    def on_one_core(self):
        return self

    @staticmethod
    def prepare(image):
        return image

    def compute(self, image, _):
        return self.function(image)


def in_steps(function: Callable) -> Steps:
    """Return a function of pixels as an object with the steps of :class:`Enhancement`."""
    return function if isinstance(function, Steps) else _Whole(function)


def reach(part: slice, length: int) -> tuple[slice, slice]:
    """Return what a part of a doubled side is made of, of the side, and where it lies in that.

    Args:
        part: of the doubled side; begins and ends at even numbers.
        length: of the side, in pixels.

    Returns:
        The part of the side, with what is beside; and the part of that, doubled, which is ``part``.
    """
    start, stop = (end // 2 for end in part.indices(2 * length)[:2])
    first = max(start - REACH, 0)
    return slice(first, min(stop + REACH, length)), slice(2 * (start - first), 2 * (stop - first))


def doubled(image: np.ndarray, inside: tuple[slice, slice]) -> np.ndarray:
    """Return a part of a picture, doubled, which is blended with what is made of it at scale 2.

    Args:
        image: h×w×3, of any type.
        inside: rows and columns of the doubled picture.
    """
    return np.clip(double(to_float(image)), 0.0, 1.0)[inside]


def adjust(pixels: np.ndarray | None, output: np.ndarray, strength: float) -> np.ndarray:
    """Blend a picture with its enhanced version, or brighten it further.

    Args:
        pixels: the input, float H×W×3 in [0, 1]; not needed for a strength above 1.
        output: the enhanced picture, in [0, 1], of the input's size or twice that.
        strength: up to 1, the share of ``output`` in a linear blend; above 1, the curve of
            :func:`neid_tf.pixels.curve.odds_curve` with a gain of ``2 ** (strength − 1)`` is
            applied to it, which brightens without clipping.
    """
    if strength > 1.0:
        return odds_curve(output, 2.0 ** (strength - 1.0))
    if output.shape != pixels.shape:
        pixels = np.clip(double(pixels), 0.0, 1.0)
    return pixels + np.float32(strength) * (output - pixels)
