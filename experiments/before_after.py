"""Draw the README's picture: each sample dark, enhanced, and as it was.

    python -m experiments.before_after [--output=FILE]

Without --output it is data/samples/before_after.jpg.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

import neid_tf
from experiments import run
from neid_tf import pictures
from neid_tf.commands import common

flags.declare_key_flag("output")
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


def main(arguments: list) -> None:
    """Draw the picture."""
    del arguments
    output = common.OUTPUT.value or SAMPLES / "before_after.jpg"
    pictures.write(Path(output), pictures.Picture(panel()))


if __name__ == "__main__":
    run(main)
