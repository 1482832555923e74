"""Draw the README's picture: each sample dark, enhanced, and as it was.

python -m experiments.before_after
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import neid_tf
from neid_tf import pictures

SAMPLES = Path(__file__).resolve().parent.parent / "data" / "samples"


def panel(
    names: Sequence[str] = ("coffee", "astronaut", "rocket"), height: int = 200
) -> np.ndarray:
    """Return rows of (dark, enhanced, reference), each row cut to one height.

    Args:
        names: of the samples, one a row.
        height: of each row, in pixels.
    """
    import cv2

    model, rows = neid_tf.load_pretrained(), []
    for name in names:
        low, high = (
            pictures.read(SAMPLES / side / f"{name}.png").pixels for side in ("low", "high")
        )
        row = np.concatenate([low, neid_tf.enhance(low, model), high], axis=1)
        width = round(row.shape[1] * height / row.shape[0])
        rows.append(cv2.resize(row, (width, height), interpolation=cv2.INTER_AREA))
    widest = max(row.shape[1] for row in rows)
    rows = [
        np.pad(r, [(0, 0), (0, widest - r.shape[1]), (0, 0)], constant_values=255) for r in rows
    ]
    return np.concatenate(rows, axis=0)


if __name__ == "__main__":
    pictures.write(SAMPLES / "before_after.jpg", pictures.Picture(panel()))
