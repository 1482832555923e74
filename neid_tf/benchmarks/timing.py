"""Timing in turns, and the pictures that are timed."""

from __future__ import annotations

import statistics
import time
import typing
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

if typing.TYPE_CHECKING:
    import keras


def interleaved(
    functions: Mapping[str, Callable],
    runs: int = 7,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time functions in turns, so that a drift of the machine's speed meets all of them.

    Args:
        functions: dictionary from a name to a function without arguments.
        runs: counted calls of each.
        warmup: calls of each before, not counted.
        clock: what tells the seconds; ``time.process_time`` for CPU time.

    Returns:
        Dictionary from the name to the list of its seconds.
    """
    for _ in range(warmup):
        for function in functions.values():
            function()
    seconds = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            started = clock()
            function()
            seconds[name].append(clock() - started)
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> dict[str, float]:
    """Return the spread of the ratios of two lists, taken turn by turn.

    Args:
        numerator: seconds, one a turn.
        denominator: as many.
    """
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def compiled(model: keras.Model) -> Callable:
    """Return a Keras model as one compiled function of its input."""
    import tensorflow as tf

    return tf.function(lambda pictures: model(pictures, training=False), reduce_retracing=True)


def batch(height: int, width: int) -> np.ndarray:
    """Return a dark batch of one picture of noise, 1×h×w×3 float32.

    Args:
        height, width: in pixels.
    """
    return np.random.default_rng(0).random((1, height, width, 3), np.float32) ** 3


def scene(height: int, width: int) -> np.ndarray:
    """Return a dark picture, uint8 H×W×3, with areas, edges and noise, made of repeated parts.

    Args:
        height, width: in pixels.
    """
    rng = np.random.default_rng(0)
    rows, columns = min(height, 800), min(width, 1200)
    coarse = rng.integers(0, 160, (9, 14, 3), np.uint8)
    areas = np.asarray(Image.fromarray(coarse).resize((columns, rows))).astype(np.int16)
    areas[rows // 3 : rows // 2, columns // 4 : columns // 2] //= 3
    part = np.clip(areas // 3 + rng.integers(-6, 7, areas.shape, np.int16), 0, 255)
    repeats = (-(-height // rows), -(-width // columns), 1)
    return np.tile(part.astype(np.uint8), repeats)[:height, :width]
