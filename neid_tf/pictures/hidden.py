"""Pixels that nobody sees: their colours must not decide what the visible ones become."""

from __future__ import annotations

import numpy as np

from neid_tf.pixels.resample import bands


def visible(alpha: np.ndarray | None, valid: np.ndarray | None) -> np.ndarray | None:
    """Return where a picture can be seen.

    Args:
        alpha: H×W opacity, uint8, uint16 or float; None for opaque. Where it is 0, nothing is seen.
        valid: H×W booleans, False where there is no picture; None for everywhere.

    Returns:
        H×W booleans, or None where all of it can be seen.
    """
    if alpha is not None:
        seen = alpha > 0
        valid = seen if valid is None else valid & seen
    return None if valid is None or valid.all() else valid


def fill(samples: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Give each pixel that is not seen the colours of the nearest in its row that is.

    A row in which nothing is seen becomes as the nearest row in which something is.

    Args:
        samples: H×W×C, any type; written to where that is possible.
        seen: H×W booleans.

    Returns:
        H×W×C of that type, zeros where nothing is seen at all: the same array, or a copy of one
        that cannot be written to.
    """
    samples = samples if samples.flags.writeable else samples.copy()
    if not seen.any():
        samples[:] = 0
        return samples
    for rows in bands(*seen.shape):
        places = nearest(seen[rows])
        hidden = ~seen[rows]
        row, _ = np.nonzero(hidden)
        samples[rows][hidden] = samples[rows][row, places[hidden]]
    some = seen.any(axis=1)
    for row, place in zip(np.flatnonzero(~some), nearest(some[None])[0][~some], strict=True):
        samples[row] = samples[place]
    return samples


def nearest(seen: np.ndarray) -> np.ndarray:
    """Return for each pixel the column of the nearest in its row that is seen; 0 if none is."""
    width = seen.shape[1]
    column = np.arange(width, dtype=np.int32)
    left = np.maximum.accumulate(np.where(seen, column, -width), axis=1)
    right = np.where(seen, column, 2 * width)[:, ::-1]
    right = np.minimum.accumulate(right, axis=1)[:, ::-1]
    nearest = np.where(column - left <= right - column, left, right)
    return np.clip(nearest, 0, width - 1)
