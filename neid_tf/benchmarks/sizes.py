"""Time and memory against the size of pictures, and what tiles change."""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neid_tf import pictures
from neid_tf.benchmarks.fresh_process import in_fresh_process, loaded
from neid_tf.benchmarks.timing import scene
from neid_tf.pixels.samples import white

MEGAPIXELS = (0.1, 0.3, 1.0, 3.0, 10.0, 24.0, 50.0, 100.0)
"""The sizes that are measured; 24 is that of a usual camera."""
_ONCE = 10.0  # From here on a picture takes long enough to be measured once.


def growth(found: dict[str, str], largest: float, runs: int) -> dict[str, list[dict[str, Any]]]:
    """Enhance JPEG files of growing size, each in a process of its own.

    Memory is what the process takes at its peak above what it took with the runtime loaded: the
    decoded picture, the result and all between.

    Args:
        found: dictionary from runtimes to what they run; see
            :func:`neid_tf.benchmarks.runtimes.exports`.
        largest: no size above so many megapixels.
        runs: turns of pictures under 10 megapixels, medians are reported; larger ones have one.

    Returns:
        Dictionary with a list for each runtime, of ``megapixels``, ``seconds``, ``peak_bytes``
        (None without Linux's /proc) and ``seconds_per_megapixel``.
    """
    rows = {name: [] for name in found}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "dark.jpg", Path(folder) / "bright.jpg"
        for megapixels in (size for size in MEGAPIXELS if size <= largest):
            height = round((megapixels * 1e6 / 1.5) ** 0.5)
            pixels = scene(height, round(1.5 * height))
            Image.fromarray(pixels).save(source, quality=92)
            turns = {name: [] for name in found}
            for _ in range(runs if megapixels < _ONCE else 1):
                for name in found:
                    given = (name, found[name], source, target)
                    turns[name].append(in_fresh_process("picture", *given))
            for name, results in turns.items():
                rows[name].append(_row(pixels.size / 3e6, results))
    return rows


def _row(megapixels, results):
    seconds = statistics.median(result["seconds"] for result in results)
    peaks = [result["peak_bytes"] for result in results]
    return {
        "megapixels": megapixels,
        "seconds": seconds,
        "peak_bytes": None if None in peaks else statistics.median(peaks),
        "seconds_per_megapixel": seconds / megapixels,
    }


def tiled_against_whole(
    found: dict[str, str], picture: str | None = None, tile: int | None = None
) -> dict[str, Any]:
    """Compare what is made of a picture in tiles with what is made of it in one piece.

    Args:
        found: as for :func:`growth`.
        picture: a picture file; None for a generated picture of 6 megapixels.
        tile: side of the tiles in pixels of the network's input; None for the usual one.

    Returns:
        Dictionary with the ``size`` (height, width) and, for each runtime, the ``mean`` and the
        ``largest`` absolute difference of a sample, in levels of 255.
    """
    pixels = scene(2000, 3000) if picture is None else pictures.read(picture).pixels
    top, report = white(pixels.dtype), {"size": list(pixels.shape[:2])}
    for name, weights in found.items():
        options = {} if tile is None else {"tile": tile}
        tiled = loaded(name, weights, **options)(pixels)
        whole = loaded(name, weights, tile=max(pixels.shape))(pixels)
        difference = np.abs(tiled.astype(np.float32) - whole) * (255.0 / top)
        report[name] = {"mean": float(difference.mean()), "largest": float(difference.max())}
    return report
