"""What is measured in a process of its own.

``python -m neid_tf.benchmarks.fresh_process WHAT ARGUMENTS`` is how it is started.

Prints one line of JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from neid_tf.benchmarks.costs import Memory
from neid_tf.inference import runtimes, tiles
from neid_tf.inference.enhance import Enhancement
from neid_tf.jobs import pipeline
from neid_tf.jobs.plan import Job
from neid_tf.jobs.transfer import Transfer
from neid_tf.models import pretrained
from neid_tf.support.errors import NeidError


def in_fresh_process(what: str, *arguments: object) -> dict[str, Any]:
    """Measure in a new process.

    Args:
        what: one of :data:`MEASUREMENTS`.
        *arguments: of that function.

    Returns:
        The dictionary that it returns.
    """
    command = [sys.executable, "-m", "neid_tf.benchmarks.fresh_process", what, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NeidError(f"measuring {what} {' '.join(command[4:])} failed: {reason}")
    return json.loads(result.stdout.splitlines()[-1])


def forward(name: str, filters: str, depth: str, height: str, width: str) -> dict[str, Any]:
    """Return the ``peak_bytes`` that a forward pass of an untrained model adds.

    The model is run once on a small picture first, so that what is loaded once does not count.

    Args:
        name: of the model, as for :func:`neid_tf.models.build`.
        filters, depth: its fields.
        height, width: of its input, in pixels.
    """
    from neid_tf import models
    from neid_tf.benchmarks.timing import compiled

    net = models.build(name, filters=int(filters), depth=int(depth), initializer="he_normal")
    call = compiled(models.inference_model(net))
    call(np.zeros((1, 16, 16, 3), np.float32)).numpy()
    memory = Memory()
    call(np.zeros((1, int(height), int(width), 3), np.float32)).numpy()
    return {"peak_bytes": memory.added()}


def picture(runtime: str, weights: str, source: str, target: str) -> dict[str, Any]:
    """Enhance a picture file, as ``neid enhance`` does, in tiles where it is large.

    Args:
        runtime, weights: as for :func:`loaded`.
        source: the picture file.
        target: the file to write.

    Returns:
        ``seconds``, and the ``peak_bytes`` that it adds to the process with the runtime loaded.
    """
    function = loaded(runtime, weights)
    # Whole and in tiles, two sizes of each: what is compiled once does not count.
    for size in [(64, 64), (80, 96), (64, 2 * tiles.TILE + 64), (80, 2 * tiles.TILE + 96)]:
        function(np.zeros((*size, 3), np.uint8))
    memory, started = Memory(), time.perf_counter()
    job = Job(source, target)
    [(_, error, _)] = pipeline.enhance_files([job], function, Transfer(existing="overwrite"))
    if error:
        raise error
    return {"seconds": time.perf_counter() - started, "peak_bytes": memory.added()}


def loaded(runtime: str, weights: str, tile: int = tiles.TILE) -> Callable:
    """Return the function from pixels to enhanced pixels of a network in a runtime.

    Args:
        runtime: ``tensorflow``, or one of :data:`neid_tf.inference.runtimes.SUFFIXES`.
        weights: name or path of weights, or the path of an export.
        tile: as for :class:`neid_tf.inference.tiles.Tiled`.
    """
    if runtime == "tensorflow":
        model = pretrained.load_pretrained(weights)
    else:
        model = runtimes.load(weights, runtime)
    return Enhancement(tiles.Tiled(model, tile))


MEASUREMENTS = {"forward": forward, "picture": picture}

if __name__ == "__main__":
    print(json.dumps(MEASUREMENTS[sys.argv[1]](*sys.argv[2:])))
