"""Pixels that nobody sees: their colours must not decide what the visible ones become."""

from __future__ import annotations

import numpy as np


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


def filled(samples: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Give each pixel that is not seen the colours of the nearest that is.

    Args:
        samples: H×W×C, any type.
        seen: H×W booleans.

    Returns:
        H×W×C of that type, zeros where nothing is seen at all; a new array.
    """
    if not seen.any():
        return np.zeros_like(samples)
    samples = samples.copy()
    hidden = ~seen
    samples[hidden] = samples.reshape(-1, samples.shape[-1])[_nearest(seen, hidden)]
    return samples


def _nearest(seen: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return for each hidden pixel the index of a nearest that is seen."""
    import cv2

    # Labels number the pixels of value 0: every label is one pixel that is seen.
    _, labels = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.empty(labels.max() + 1, np.intp)
    places[labels[seen]] = np.flatnonzero(seen)
    return places[labels[hidden]]
