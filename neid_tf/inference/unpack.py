"""Packed pictures enhanced to the size that they had before they were made small."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from neid_tf.inference.enhance import Enhancement, Steps
from neid_tf.pictures.packing import Packing
from neid_tf.pixels.resample import double
from neid_tf.pixels.samples import from_float, to_float, to_type


@dataclasses.dataclass(frozen=True)
class Unpacking:
    """The steps of enhancing one packed picture, see :class:`neid_tf.inference.enhance.Steps`.

    A network that doubles does so once; what else is missing is enlarged bicubically, as it is
    for methods that keep the size. Calling it does all steps.

    Attributes:
        steps: what enhances, at the picture's own scale.
        packing: of the picture; its pixels are uint16, without the curve.
        whole: whether the result has the size from before, or what ``steps`` make of the pixels.
    """

    steps: Steps
    packing: Packing
    whole: bool = True

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the enhanced picture, uint8: what was sent has no more bits."""
        return self.compute(image, self.prepare(image))

    def on_one_core(self) -> Unpacking:
        """Return the same for pictures that are computed beside each other."""
        return dataclasses.replace(self, steps=self.steps.on_one_core())

    @functools.cached_property
    def doubling(self) -> Enhancement | None:
        """The steps with the network at scale 2; None where none is asked for, or it can't."""
        steps = self.steps
        if not self.whole or not isinstance(steps, Enhancement) or steps.model.scale == 1:
            return None
        return dataclasses.replace(steps, scale=2)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, object]:
        """Return what :meth:`compute` needs: the pixels that are enhanced, and what goes with them.

        Args:
            image: uint16 H×W×3.
        """
        if self.whole and not self.doubling:
            image = _enlarged(image, self.packing.height, self.packing.width)
        return image, (self.doubling or self.steps).prepare(image)

    def compute(self, image: np.ndarray, prepared: tuple[np.ndarray, object]) -> np.ndarray:
        """Return the enhanced picture, uint8.

        Args:
            image: as for :meth:`prepare`.
            prepared: what that returned.
        """
        del image
        made = to_type((self.doubling or self.steps).compute(*prepared), np.uint8)
        return _enlarged(made, self.packing.height, self.packing.width) if self.whole else made


def steps_for(steps: Steps, packing: Packing | None, whole: bool = True) -> Steps:
    """Return the steps of enhancing one picture: as they are, unless it is packed.

    Args:
        steps: what enhances pictures.
        packing: of the picture, or None.
        whole: as for :class:`Unpacking`.
    """
    return Unpacking(steps, packing, whole) if packing else steps


def size_of_result(steps: Steps, height: int, width: int) -> tuple[int, int]:
    """Return height and width of what steps make of a picture of this size."""
    if isinstance(steps, Unpacking):
        if steps.whole:
            return steps.packing.height, steps.packing.width
        steps = steps.steps
    scale = getattr(steps, "scale", 1)
    return scale * height, scale * width


def _enlarged(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture doubled until it covers a size, and cut to that.

    Args:
        pixels: H×W×3, uint8 or uint16.
        height, width: wanted, in pixels.
    """
    while pixels.shape[0] < height or pixels.shape[1] < width:
        pixels = from_float(double(to_float(pixels)), pixels.dtype)
    return pixels[:height, :width]
