"""The runtimes side by side, warm on the same picture."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from neid_tf.benchmarks import cards
from neid_tf.benchmarks.costs import count_operations, count_operations_of_onnx
from neid_tf.benchmarks.timing import batch, compiled, interleaved, ratios, spread
from neid_tf.inference import runtimes
from neid_tf.models import presets, pretrained
from neid_tf.support.libraries import MissingLibraryError

REFERENCE = "tensorflow"
"""What the others are compared with; where it is not installed, the first that is."""


def exports(weights: str, folder: str | os.PathLike, size: tuple[int, int]) -> dict[str, str]:
    """Return what each runtime that can be had here runs, by its name.

    Args:
        weights: name or path of weights.
        folder: where exports are written. The package's own ONNX file is used where there is one.
        size: height and width of the network's input, for LiteRT.

    Raises:
        MissingLibraryError: where no runtime for these weights is installed.
    """
    weights = presets.current(weights)
    found = {REFERENCE: weights} if _has("tensorflow", "keras") else {}
    if _has("onnxruntime"):
        if weights in pretrained.names():
            found["onnx"] = str(pretrained.onnx_file(weights))
        elif found and _has("tf2onnx"):
            found["onnx"] = str(Path(folder) / "model.onnx")
            _export().to_onnx(pretrained.load_pretrained(weights), found["onnx"])
    if found.keys() >= {REFERENCE} and _has("ai_edge_litert"):
        found["litert"] = str(Path(folder) / "model.tflite")
        _export().to_litert(pretrained.load_pretrained(weights), found["litert"], size)
    if not found:
        missing = "tensorflow" if _has("onnxruntime") else "onnxruntime"
        raise MissingLibraryError("the benchmark of these weights", missing)
    return found


def _export():
    from neid_tf import export

    return export


def _has(*libraries):
    return all(find_spec(library) is not None for library in libraries)


def warm(
    found: dict[str, str], height: int, width: int, runs: int, threads: int, side: int = 3000
) -> dict[str, Any]:
    """Time forward passes of one picture in each runtime, beside a large float32 matrix product.

    Args:
        found: what :func:`exports` gave.
        height: of the network's input, in pixels.
        width: likewise.
        runs: counted turns.
        threads: of each runtime. TensorFlow's are those it was started with.
        side: of the square matrices.

    Returns:
        Dictionary with the ``seconds`` of each; the ratios ``to_tensorflow``, of time; the
        ``largest_difference`` from TensorFlow (of 1); and the ``fastest``. With TensorFlow or ONNX
        Runtime, which count the operations, also 10⁹ of them a second (``gigaflops``) and, where
        the same computes both, their ratios ``to_matmul``. Without TensorFlow the first runtime,
        the ``reference``, is in its place. The name of the ``card``, or None; where its peaks are
        known, the ``share_of_the_peak`` of those that compute on it.
    """
    pictures_, work, on_card = batch(height, width), 0, {}
    calls, product = {}, _numpy_product(side)
    if REFERENCE in found:
        model = pretrained.load_pretrained(found[REFERENCE])
        calls, product = _tensorflow_calls(model, pictures_), _tensorflow_product(side)
        work = count_operations(model, height, width)
        on_card = dict.fromkeys(calls, "tf32") if _tensorflow_has_a_card() else {}
    elif "onnx" in found:
        work = count_operations_of_onnx(
            Path(found["onnx"]).read_bytes(), {runtimes.INPUT: pictures_}
        )
    for name in found.keys() - {REFERENCE}:
        runner = runtimes.load(found[name], name, threads)
        calls[name] = lambda runner=runner: runner(pictures_)
        if getattr(runner, "on_card", False):
            on_card[name] = "float32"
    first = next(iter(calls))
    reference = np.clip(calls[first](), 0.0, 1.0)
    differences = {
        name: float(np.abs(np.clip(call(), 0.0, 1.0) - reference).max())
        for name, call in calls.items()
    }
    seconds = interleaved(calls | {"matmul": product}, runs)
    report = {
        "input": [height, width, 3],
        "threads": threads,
        "reference": first,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "to_tensorflow": {name: ratios(seconds[name], seconds[first]) for name in calls},
        "largest_difference": differences,
        "fastest": min(calls, key=lambda name: spread(seconds[name])["median"]),
    }
    card = cards.name()
    report |= {"card": card} | _shares(cards.known(card), on_card, seconds, work)
    # NumPy's product is the CPU's: it says nothing of what a card computes.
    compared = calls.keys() - (on_card.keys() if REFERENCE not in found else ())
    return report | (_rates(seconds, dict.fromkeys(calls, work), side, compared) if work else {})


def _shares(card, on_card, seconds, work):
    """Return what share of the card's peak in its precision each runtime reaches."""
    if card is None or not (work and on_card):
        return {}
    return {
        "share_of_the_peak": {
            name: spread([work / s / card.peak(precision) for s in seconds[name]])
            for name, precision in on_card.items()
        }
    }


def _tensorflow_has_a_card():
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _rates(seconds, work, side, compared):
    """Return 10⁹ operations a second, and the ratios of some to those of the matrix product."""
    work = work | {"matmul": 2 * side**3}
    rates = {name: [work[name] / s / 1e9 for s in values] for name, values in seconds.items()}
    to_matmul = {name: ratios(rates[name], rates["matmul"]) for name in work if name in compared}
    return {
        "gigaflops": {name: spread(values) for name, values in rates.items()},
        "to_matmul": to_matmul,
    }


def _tensorflow_calls(model, pictures_):
    import tensorflow as tf

    graph, xla = compiled(model), tf.function(lambda x: model(x, training=False), jit_compile=True)
    return {
        "tensorflow": lambda: graph(pictures_).numpy(),
        "tensorflow_xla": lambda: xla(pictures_).numpy(),
    }


def _tensorflow_product(side):
    import tensorflow as tf

    matrix = tf.random.uniform((side, side))
    return lambda: tf.matmul(matrix, matrix).numpy()


def _numpy_product(side):
    matrix = np.random.default_rng(0).random((side, side), np.float32)
    return lambda: matrix @ matrix
