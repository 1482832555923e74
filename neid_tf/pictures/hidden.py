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
    """Give each pixel that is not seen the colours of the nearest that is.

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
    hidden = ~seen
    labels, places = _nearest(seen, hidden)
    for rows in bands(*seen.shape):
        rows_below, columns = np.divmod(places[labels[rows][hidden[rows]]], seen.shape[1])
        samples[rows][hidden[rows]] = samples[rows_below, columns]
    return samples


def _nearest(seen: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return H×W labels, and the place (row × W + column) of a nearest pixel seen by label."""
    import cv2

    # Labels number the pixels of value 0: every label is one pixel that is seen.
    labels = cv2.distanceTransformWithLabels(
        hidden.view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    places, width = np.zeros(labels.max() + 1, np.int32), seen.shape[1]
    for rows in bands(*seen.shape):
        place = np.flatnonzero(seen[rows]) + rows.start * width
        places[labels[rows][seen[rows]]] = place
    return labels, places
