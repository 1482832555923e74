"""The curve that lifts dark samples before a codec, and is undone behind it.

A codec's steps are as large in the dark as in the light: what is dark loses more.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from neid_tf.pixels.samples import from_float, to_float

MAX_GAIN, MAX_GAMMA = 65535.0, 8.0
"""The steepest curve: white is at least one level of 16 bits."""


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
        levels = np.arange(np.iinfo(samples.dtype).max + 1, dtype=samples.dtype)
        return self._undone(levels)[samples]

    def _undone(self, samples: np.ndarray) -> np.ndarray:
        return from_float(to_float(samples, np.float64) ** self.gamma / self.gain, np.uint16)

    @classmethod
    def for_picture(cls, pixels: np.ndarray) -> Curve:
        """Choose the curve of a picture: its brightest sample becomes white, and then a gamma of 2.

        docs/link.md has what it was chosen from.

        Args:
            pixels: float H×W×3 in [0, 1].
        """
        brightest = max(float(pixels.max()), 1.0 / MAX_GAIN)
        return cls(min(max(float(f"{1.0 / brightest:.6g}"), 1.0), MAX_GAIN), 2.0)
