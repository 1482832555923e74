"""Measure the peak memory of whole processes: ``neid enhance`` of pictures of several kinds.

python -m experiments.performance.memory --output=experiments/performance/memory.json
"""

import tempfile
from pathlib import Path

import numpy as np
from absl import flags

from experiments import run
from experiments.performance.peaks import peak
from experiments.record import command_line, publish
from neid_tf import pictures
from neid_tf.benchmarks.timing import scene
from neid_tf.commands import common
from neid_tf.support.environment import environment

KINDS = {
    "JPEG, 8 bit": (".jpg", np.uint8, False),
    "PNG, 16 bit": (".png", np.uint16, False),
    "PNG, 16 bit with alpha": (".png", np.uint16, True),
}
"""The kinds of pictures: suffix, type of samples, and whether there is an alpha channel.

No TIFF is among them: large ones are read and written by windows.
"""

_SIZES = flags.DEFINE_list("sizes", ["8", "32", "100"], "Sizes of the pictures, in megapixels.")
flags.declare_key_flag("weights")


def make(path: Path, megapixels: float, dtype: type, alpha: bool) -> None:
    """Write a dark picture of this size and type, three units wide to two high.

    Args:
        path: of the file, whose suffix tells the format.
        megapixels: its size.
        dtype: of the samples: uint8 or uint16.
        alpha: whether it has an alpha channel.
    """
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    pixels = scene(height, round(1.5 * height)).astype(dtype)
    pixels *= np.iinfo(dtype).max // 255
    seen = np.full(pixels.shape[:2], np.iinfo(dtype).max, dtype) if alpha else None
    pictures.write(path, pictures.Picture(pixels, alpha=seen))


def main(arguments: list[str]) -> None:
    """Measure, print and write."""
    del arguments
    sizes, peaks = [float(size) for size in _SIZES.value], {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (suffix, dtype, alpha) in KINDS.items():
            path = Path(folder) / f"dark{suffix}"
            peaks[kind] = []
            for size in sizes:
                make(path, size, dtype, alpha)
                peaks[kind].append(peak(path, common.WEIGHTS.value))
    report = {"weights": common.WEIGHTS.value, "megapixels": sizes, "peak_bytes": peaks}
    report["command"] = command_line(__name__, "experiments.performance.memory")
    publish(report | {"environment": environment()})


if __name__ == "__main__":
    run(main)
