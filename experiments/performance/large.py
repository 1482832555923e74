"""Measure the memory and time of whole processes that enhance TIFFs by windows.

python -m experiments.performance.large --output=experiments/performance/large.json
"""

import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.performance.peaks import peak
from experiments.record import command_line, publish
from neid_tf.benchmarks.timing import scene
from neid_tf.support.environment import environment

_TILE = 512
_SIDES = flags.DEFINE_list("sides", ["4000", "8000"], "Sides of the square pictures, in pixels.")
_NETWORK = flags.DEFINE_string("network", "neid_s", "The weights, which change the constant part.")
flags.FLAGS.register_key_flag_for_module(__name__, flags.FLAGS["output"])


def make(path: Path, side: int) -> None:
    """Write a dark GeoTIFF of three bands of 16 bits, in deflated tiles, by rows of tiles.

    Args:
        path: of the file.
        side: of the square, in pixels.
    """
    import rasterio

    layout = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE, "compress": "deflate"}
    fields = {"height": side, "width": side, "count": 3, "dtype": "uint16", "photometric": "rgb"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}
    row = scene(_TILE, side).astype(np.uint16) * 257
    grain = np.random.default_rng(0)
    with rasterio.open(path, "w", driver="GTiff", predictor=2, **layout, **fields, **place) as file:
        for top in range(0, side, _TILE):
            rows = min(_TILE, side - top)
            dark = row[:rows] + grain.integers(0, 200, (rows, side, 3), np.uint16)
            file.write(np.moveaxis(dark, -1, 0), window=((top, top + rows), (0, side)))


def measured(folder: Path, side: int) -> dict[str, float]:
    """Return what a picture of this side takes.

    Args:
        folder: where there is room for it and its result.
        side: in pixels.
    """
    path = folder / "dark.tif"
    make(path, side)
    started = time.perf_counter()
    most = peak(path, _NETWORK.value, "--max_pixels=10000")
    return {"side": side, "peak_bytes": most, "seconds": time.perf_counter() - started}


def main(_: list[str]) -> None:
    """Measure and write."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        runs = [measured(Path(folder), int(side)) for side in _SIDES.value]
    report = {"weights": _NETWORK.value, "runs": runs, "environment": environment()}
    publish(report | {"command": command_line(__name__, "experiments.performance.large")})


if __name__ == "__main__":
    app.run(main)
