"""Enhancing one picture: the single path from pixels to pixels."""

import dataclasses
from collections.abc import Callable

import numpy as np

from neid_tf.pixels.resample import bands, halve, pad_to_even
from neid_tf.pixels.samples import WHITE, from_float, to_float, white
from neid_tf.support.errors import NeidError


def enhance(image, model, scale=1, strength=1.0):
    """Brighten a picture and restore its details.

    Args:
        image: H×W×3 RGB, uint8, uint16 or float in [0, 1], of any size from 1×1 up.
        model: a model from :func:`neid_tf.load_pretrained`, or any callable from float32
            N×h×w×3 in [0, 1] to N×2h×2w×3 (N×h×w×3 for the ``unet`` baseline).
        scale: 1 gives a picture of the input's size (it is halved bicubically first, as in the
            paper's evaluation); 2 gives twice its size.
        strength: 0 gives the input, 1 the model's result, values between a blend, and values
            above 1 more light. The mean brightness grows with it.

    Returns:
        H×W×3, or 2H×2W×3 for ``scale=2``, of the input's type.

    Raises:
        ValueError: for another shape or type, a scale other than 1 and 2, or a negative or
            non-finite strength.
    """
    return Enhancement(model, scale, strength)(image)


@dataclasses.dataclass(frozen=True)
class Enhancement:
    """The path in steps, for those who prepare one picture beside the computing of another.

    Calling it does all of them. What it is made of and what it raises: see :func:`enhance`.
    """

    model: object
    scale: int = 1
    strength: float = 1.0

    def __post_init__(self):
        if self.scale not in (1, 2):
            raise NeidError(f"scale must be 1 or 2, not {self.scale!r}")
        if not (np.isfinite(self.strength) and self.strength >= 0.0):
            raise NeidError(f"strength must be a number of at least 0, not {self.strength!r}")

    def __call__(self, image):
        """Return the enhanced picture."""
        return self.compute(image, self.prepare(image))

    def compute(self, image, batch):
        """Return the enhanced picture for a picture and its batch.

        A large one is finished tile by tile, so that it is never there in floating point whole.
        """
        if not hasattr(self.model, "pieces") or (self.scale == 2 and self.strength < 1.0):
            return self.finish(image, self.predict(batch))
        height, width = (size * self.scale for size in image.shape[:2])
        enhanced = np.empty((height, width, 3), image.dtype)
        for rows, columns, output in self.model.pieces(batch):
            target = enhanced[rows, columns]
            output = output[0, : target.shape[0], : target.shape[1]]
            self._finish_into(target, image[rows, columns], output)
        return enhanced

    def on_one_core(self):
        """Return the same for pictures that are computed beside each other, each on its core."""
        if not hasattr(self.model, "on_one_core"):
            return self
        return dataclasses.replace(self, model=self.model.on_one_core())

    def prepare(self, image):
        """Return the batch of one, float32 in [0, 1], that the model is given for a picture."""
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise NeidError(f"a picture has the shape (height, width, 3), not {image.shape}")
        if image.dtype.name not in WHITE:
            raise NeidError(f"a picture's type is uint8, uint16 or float, not {image.dtype}")
        if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
            raise NeidError(f"floats must lie in [0, 1], not [{image.min()}, {image.max()}]")
        same_size = getattr(getattr(self.model, "config", self.model), "scale", 2) == 1
        if same_size and self.scale == 2:
            raise NeidError("this model keeps the size of its input: scale 2 needs another")
        if self.scale == 1 and not same_size:
            return halve(pad_to_even(image), white(image.dtype))[None]
        return to_float(image)[None]

    def predict(self, batch):
        """Return the model's output for a batch."""
        return np.asarray(getattr(self.model, "predict_on_batch", self.model)(batch))

    def finish(self, image, output):
        """Return the enhanced picture: the model's output cut, clipped, weakened, rounded."""
        height, width = (size * self.scale for size in image.shape[:2])
        enhanced = np.empty((height, width, 3), image.dtype)
        self._finish_into(enhanced, image, output[0, :height, :width])
        return enhanced

    def _finish_into(self, enhanced, image, output):
        if self.strength != 1.0:
            pixels = to_float(image) if self.strength < 1.0 else None
            output = adjust(pixels, np.clip(output, 0.0, 1.0), self.strength)
        for rows in bands(*enhanced.shape[:2]):
            from_float(output[rows], image.dtype, out=enhanced[rows])


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


def in_steps(function):
    """Return a function of pixels as an object with the steps of :class:`Enhancement`."""
    return function if hasattr(function, "prepare") else _Whole(function)


def adjust(pixels, output, strength):
    """Blend a picture with its enhanced version, or brighten it further.

    Args:
        pixels: the input, float H×W×3 in [0, 1]; not needed for a strength above 1.
        output: the enhanced picture, in [0, 1], of the input's size or twice that.
        strength: up to 1, the share of ``output`` in a linear blend; above 1, the curve
            ``g·x / (1 + (g − 1)·x)`` with ``g = 2 ** (strength − 1)`` is applied to it, which
            brightens without clipping.
    """
    if strength > 1.0:
        gain = 2.0 ** (strength - 1.0)
        return gain * output / (1.0 + (gain - 1.0) * output)
    if output.shape != pixels.shape:
        import cv2

        size = output.shape[1::-1]
        pixels = np.clip(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), 0.0, 1.0)
    return pixels + np.float32(strength) * (output - pixels)
