"""The runtimes side by side: warm on the same picture, and from a cold start."""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from neid_tf import export, pictures
from neid_tf.benchmarks.costs import count_operations
from neid_tf.benchmarks.networks import compiled
from neid_tf.benchmarks.timing import batch, interleaved, ratios, scene, spread
from neid_tf.inference import runtimes
from neid_tf.models import pretrained

_LIBRARIES = {"onnx": ("onnxruntime",), "litert": ("ai_edge_litert",)}


def exports(weights, folder, size):
    """Return what each runtime that can be had here runs, by its name.

    Args:
        weights: name or path of weights.
        folder: where exports are written. The package's own ONNX file is used where there is one.
        size: height and width of the network's input, for LiteRT.
    """
    found = {"tensorflow": weights}
    if _has("onnxruntime"):
        if weights in pretrained.names():
            found["onnx"] = str(pretrained.onnx_file(weights))
        elif _has("tf2onnx"):
            found["onnx"] = str(Path(folder) / "model.onnx")
            export.to_onnx(pretrained.load_pretrained(weights), found["onnx"])
    if _has("ai_edge_litert"):
        found["litert"] = str(Path(folder) / "model.tflite")
        export.to_litert(pretrained.load_pretrained(weights), found["litert"], size)
    return found


def _has(library):
    return find_spec(library) is not None


def warm(found, height, width, runs, threads, side=3000):
    """Time forward passes of one picture in each runtime, beside a large float32 matrix product.

    Args:
        found: what :func:`exports` gave.
        height: of the network's input, in pixels.
        width: likewise.
        runs: counted turns.
        threads: of each runtime. TensorFlow's are those it was started with.
        side: of the square matrices.

    Returns:
        Dictionary with ``seconds`` and 10⁹ operations a second (``gigaflops``) of each; the
        ratios ``to_matmul``, of operations a second, and ``to_tensorflow``, of time; the
        ``largest_difference`` from TensorFlow (of 1); and the ``fastest``.
    """
    import tensorflow as tf

    pictures_, model = batch(height, width), pretrained.load_pretrained(found["tensorflow"])
    graph, xla = compiled(model), tf.function(lambda x: model(x, training=False), jit_compile=True)
    calls = {"tensorflow": lambda: graph(pictures_).numpy()}
    calls["tensorflow_xla"] = lambda: xla(pictures_).numpy()
    for name in found.keys() - {"tensorflow"}:
        runner = runtimes.load(found[name], name, threads)
        calls[name] = lambda runner=runner: runner(pictures_)
    reference = np.clip(calls["tensorflow"](), 0.0, 1.0)
    differences = {
        name: float(np.abs(np.clip(call(), 0.0, 1.0) - reference).max())
        for name, call in calls.items()
    }
    matrix = tf.random.uniform((side, side))
    seconds = interleaved(calls | {"matmul": lambda: tf.matmul(matrix, matrix).numpy()}, runs)
    work = dict.fromkeys(calls, count_operations(model, height, width))
    work["matmul"] = 2 * side**3
    rates = {name: [work[name] / s / 1e9 for s in values] for name, values in seconds.items()}
    return {
        "input": [height, width, 3],
        "threads": threads,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "gigaflops": {name: spread(values) for name, values in rates.items()},
        "to_matmul": {name: ratios(rates[name], rates["matmul"]) for name in calls},
        "to_tensorflow": {name: ratios(seconds[name], seconds["tensorflow"]) for name in calls},
        "largest_difference": differences,
        "fastest": min(calls, key=lambda name: spread(seconds[name])["median"]),
    }


def cold(found, height, width, runs):
    """Time ``neid enhance`` of one PNG, from the start of the process to its end.

    Args:
        found: what :func:`exports` gave.
        height: of the picture, in pixels.
        width: likewise.
        runs: counted turns.

    Returns:
        Dictionary with the wall ``seconds`` of each runtime, and of ``neid --help`` as
        ``--help``; and the ratios ``to_tensorflow``.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "dark.png", Path(folder) / "bright.png"
        pictures.write(source, pictures.Picture(scene(height, width)))

        def start(*arguments):
            program = [sys.executable, "-m", "neid_tf.commands.main", *arguments]
            environment = {k: v for k, v in os.environ.items() if k != "TF_NUM_INTRAOP_THREADS"}
            subprocess.run(program, check=True, capture_output=True, env=environment)

        def enhance(name):
            options = [f"--output={target}", "--overwrite", f"--runtime={name}"]
            start("enhance", source, *options, f"--weights={found[name]}")

        calls = {name: lambda name=name: enhance(name) for name in found}
        calls["--help"] = lambda: start("--help")
        # Once before, so that files are read from the disk's cache.
        seconds = interleaved(calls, runs, warmup=min(runs - 1, 1))
    return {
        "picture": [height, width, 3],
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "to_tensorflow": {
            name: ratios(values, seconds["tensorflow"]) for name, values in seconds.items()
        },
    }
