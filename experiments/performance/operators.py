"""Where ONNX Runtime's time goes in a forward pass, beside a large matrix product.

    python -m experiments.performance.operators --output=experiments/performance/operators.json

The picture and the product are those of `neid benchmark`. ONNX Runtime's own profile tells the
seconds of every operator; passes and products are taken in turns.
"""

import collections
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments.record import command_line, publish
from neid_tf.benchmarks.costs import count_operations
from neid_tf.benchmarks.timing import batch, interleaved, spread
from neid_tf.commands import common
from neid_tf.inference.runtimes import INPUT, OUTPUT
from neid_tf.models import pretrained
from neid_tf.support import keras_start
from neid_tf.support.machine import usable_cores

_PASSES = flags.DEFINE_integer("passes", 20, "Forward passes.", lower_bound=5)
_PIXELS = (200, 300)  # Of the network's input: 600×400 come out.
_SIDE = 3000
_HOLDERS = ("If", "Loop")  # Their time is that of the operators inside, which are events too.
flags.declare_key_flag("weights")


def profile(
    content: bytes, picture: np.ndarray, product: Callable[[], object], passes: int, threads: int
) -> tuple[dict[str, float], list[float], list[float]]:
    """Return the seconds of each operator and of the whole pass, and those of the product.

    Args:
        content: the bytes of an ONNX file.
        picture: a batch of one.
        product: a function that computes the matrix product.
        passes: how many passes are measured.
        threads: of ONNX Runtime.

    Returns:
        Dictionary from operators to the mean of their seconds in a pass; lists of the seconds of
        each pass and product.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        calls = {"pass": lambda: session.run([OUTPUT], {INPUT: picture}), "product": product}
        seconds = interleaved(calls, passes)
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    each = len(kernels) // (passes + 2)
    operators = collections.Counter()
    for event in kernels[-each * passes :]:  # Without the first two passes, which warm up.
        if (name := event["args"]["op_name"]) not in _HOLDERS:
            operators[name] += event["dur"] / 1e6 / passes
    return dict(operators.most_common()), seconds["pass"], seconds["product"]


def measure(weights: str, passes: int) -> dict[str, Any]:
    """Return the report.

    Args:
        weights: a name of packaged weights.
        passes: how many are measured.
    """
    import tensorflow as tf

    threads = usable_cores()
    matrix = tf.random.uniform((_SIDE, _SIDE))
    operators, whole, product = profile(
        pretrained.onnx_file(weights).read_bytes(),
        batch(*_PIXELS),
        lambda: tf.matmul(matrix, matrix).numpy(),
        passes,
        threads,
    )
    work = count_operations(pretrained.load_pretrained(weights), *_PIXELS)
    rate = 2 * _SIDE**3 / spread(product)["median"]
    return {
        "threads": threads,
        "operations": work,
        "seconds": {"pass": spread(whole), "product": spread(product)},
        "operator_seconds": operators,
        "to_product": {
            "pass": work / spread(whole)["median"] / rate,
            "convolutions": work / operators["Conv"] / rate,
        },
    }


def main(_: list[str]) -> None:
    """Measure, print, write."""
    keras_start.import_keras()
    from neid_tf.support.environment import environment

    started = time.time()
    report = {"environment": environment(), "weights": common.WEIGHTS.value}
    report |= measure(common.WEIGHTS.value, _PASSES.value)
    report["seconds_in_all"] = round(time.time() - started)
    report["command"] = command_line(__name__, "experiments.performance.operators")
    publish(report)


if __name__ == "__main__":
    app.run(main)
