"""What is measured in a process of its own.

``python -m neid_tf.benchmarks.fresh_process WHAT ARGUMENTS`` is how it is started.

Prints one line of JSON.
"""

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from neid_tf.benchmarks.costs import Memory
from neid_tf.benchmarks.timing import interleaved, scene, spread
from neid_tf.inference import runtimes, tiles
from neid_tf.inference.enhance import Enhancement, enhance
from neid_tf.inference.network import Network, as_network
from neid_tf.jobs import pipeline
from neid_tf.jobs.plan import Job
from neid_tf.jobs.transfer import Transfer
from neid_tf.models import pretrained
from neid_tf.pixels.resample import halve
from neid_tf.pixels.samples import to_float
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
    return Enhancement(tiles.Tiled(network_of(runtime, weights), tile))


def latency(
    runtime: str, weights: str, height: str, width: str, batches: str, runs: str
) -> dict[str, Any]:
    """Return how long a picture that lies in memory takes, and batches of such pictures.

    Args:
        runtime, weights: as for :func:`loaded`.
        height, width: of the picture, in pixels; even.
        batches: numbers of pictures, with commas.
        runs: counted turns.

    Returns:
        The spread of the seconds of :func:`neid_tf.enhance` as ``enhance``, and those of a pass of
        the network by the number of pictures as ``batches``, all in turns, so that each follows
        another; both as ``repeated``, where each follows itself: on a card a change of size costs
        more than a pass. And whether it computes ``on_card``.
    """
    network, pixels = network_of(runtime, weights), scene(int(height), int(width))[None]
    halved = halve(to_float(pixels[0]))[None]

    def passed(count):
        given = (np.repeat(array, count, axis=0) for array in (halved, pixels))
        return functools.partial(network, *given)

    calls = {"enhance": lambda: enhance(pixels[0], network)}
    calls |= {count: passed(int(count)) for count in batches.split(",")}
    seconds = {name: spread(taken) for name, taken in interleaved(calls, int(runs)).items()}
    repeated = {
        name: spread(interleaved({name: call}, int(runs), warmup=1)[name])
        for name, call in calls.items()
    }
    measured = {"enhance": seconds.pop("enhance"), "batches": seconds, "repeated": repeated}
    return measured | {"on_card": getattr(network, "on_card", False), "notes": network.notes}


def network_of(runtime: str, weights: str) -> Network:
    """Return a network in a runtime; see :func:`loaded`."""
    if runtime == "tensorflow":
        return as_network(pretrained.load_pretrained(weights))
    return runtimes.load(weights, runtime)


MEASUREMENTS = {"forward": forward, "latency": latency, "picture": picture}

if __name__ == "__main__":
    print(json.dumps(MEASUREMENTS[sys.argv[1]](*sys.argv[2:])))
