"""Curves that brighten: by a gain, and the one that is undone behind a codec.

A codec's steps are as large in the dark as in the light: what is dark loses more. So it is lifted
before.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from neid_tf.pixels.samples import from_float, to_float, white

MAX_GAIN, MAX_GAMMA = float(white(np.uint16)), 8.0
"""The steepest curve: white is at least one level of 16 bits."""
_GAMMAS = tuple(round(1.0 + step / 10, 1) for step in range(11))
_MEAN = 0.5  # That the gamma is to bring a picture to.
_FEW = 128  # Rows or columns that are looked at for it, at least.


def odds_curve(pixels: Any, gain: Any) -> Any:
    """Brighten values where they are dark; black and white stay.

    Args:
        pixels: values in [0, 1], an array or a tensor of any shape.
        gain: above 0, a number or of a shape that broadcasts to theirs; 1 leaves them as they are.

    Returns:
        Values in [0, 1] of the shape of ``pixels``.
    """
    share = 1.0 / gain  # So that pixels, which are many, are passed over three times, not four.
    return pixels / (share + (1.0 - share) * pixels)


@dataclasses.dataclass(frozen=True)
class Curve:
    """``y = (gain · x) ** (1 / gamma)``, which grows with x, and its reverse.

    Attributes:
        gain: from 1 to :data:`MAX_GAIN`; what it lifts beyond white is clipped.
        gamma: from 1 to :data:`MAX_GAMMA`.

    Raises:
        ValueError: for a gain or a gamma beyond that, or one that is no number.
    """

    gain: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for name, most in (("gain", MAX_GAIN), ("gamma", MAX_GAMMA)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 1.0 <= value <= most):
                raise ValueError(f"{name} must be from 1 to {most:g}, not {value!r}")

    def lifted(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels with the curve applied.

        Args:
            pixels: float, of any shape, in [0, 1].

        Returns:
            Float of the same shape and type, in [0, 1].
        """
        lifted = np.clip(pixels * pixels.dtype.type(self.gain), 0.0, 1.0)
        return np.power(lifted, lifted.dtype.type(1.0 / self.gamma), out=lifted)

    def undone(self, samples: np.ndarray) -> np.ndarray:
        """Return samples as they were before the curve, in 16 bits: 8 would show as bands.

        Args:
            samples: of any shape, uint8, uint16, or float in [0, 1].

        Returns:
            uint16 of the same shape.
        """
        if samples.dtype.kind == "f":
            return self._undone(samples)
        levels = np.arange(white(samples.dtype) + 1, dtype=samples.dtype)
        return self._undone(levels)[samples]

    def _undone(self, samples: np.ndarray) -> np.ndarray:
        return from_float(to_float(samples, np.float64) ** self.gamma / self.gain, np.uint16)

    @classmethod
    def for_picture(cls, pixels: np.ndarray) -> Curve:
        """Choose the curve of a picture.

        The gain makes its brightest sample white; the gamma, from 1 to 2, then brings the mean up
        to a half, so that what is bright already stays (docs/link.md has the measurements).

        Args:
            pixels: float H×W×3 in [0, 1].
        """
        brightest = max(float(pixels.max()), 1.0 / MAX_GAIN)
        gain = min(max(float(f"{1.0 / brightest:.6g}"), 1.0), MAX_GAIN)
        step = max(min(pixels.shape[:2]) // _FEW, 1)
        few = pixels[::step, ::step]
        means = [float(cls(gain, gamma).lifted(few).mean()) for gamma in _GAMMAS]
        return cls(gain, _GAMMAS[int(np.argmin(np.abs(np.array(means) - _MEAN)))])
