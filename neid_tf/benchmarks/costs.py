"""Counting what a model costs."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tempfile
import typing
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neid_tf.inference.runtimes import OUTPUT

if typing.TYPE_CHECKING:
    import keras


def count_operations(model: keras.Model, height: int, width: int) -> int:
    """Count the floating-point operations of a forward pass of one picture.

    Multiplications and additions count as one each; what costs less than a convolution
    (activations, pooling, copies) counts as TensorFlow's profiler counts it.

    Args:
        model: a Keras model with one input, N×h×w×3; or with two, of which the second is the
            ``picture`` of twice the size.
        height: of the picture the model is given, in pixels.
        width: likewise.

    Returns:
        The number of operations.
    """
    return _operations_of(_graph(model, height, width))


def _graph(model, height, width):
    """Return the graph of a forward pass of one picture, its weights as constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2 as freeze,
    )

    given = tf.TensorSpec((1, height, width, 3))
    if len(model.inputs) > 1:
        given = {"image": given, "picture": tf.TensorSpec((1, 2 * height, 2 * width, 3))}
    function = tf.function(lambda x: model(x, training=False))
    return freeze(function.get_concrete_function(given)).graph


def _operations_of(graph):
    import tensorflow as tf

    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


def count_operations_of_onnx(content: bytes, given: Mapping[str, np.ndarray]) -> int:
    """Count the floating-point operations of a pass of an ONNX file, without TensorFlow.

    Only those of convolutions and matrix products, which are all but a hundredth; ONNX Runtime
    computes the pass once on the CPU and tells the shapes.

    Args:
        content: the bytes of the file.
        given: its inputs by name.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.log_severity_level = True, 3
    # What is joined or laid out anew would be told in other shapes, or not at all.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        session.run([OUTPUT], dict(given))
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return sum(_operations_of_event(event["args"]) for event in events if _is_pass(event))


def _is_pass(event):
    return event.get("cat") == "Node" and event["name"].endswith("_kernel_time")


def _operations_of_event(operation):
    """Return the operations of an operator of ONNX Runtime's profile."""
    if operation["op_name"] not in _PRODUCTS_OF_ONNX:
        return 0
    given, (made,) = (
        [shape for one in operation[f"{side}_type_shape"] for shape in one.values()]
        for side in ("input", "output")
    )
    each = math.prod(given[1][1:]) if operation["op_name"] == "Conv" else given[0][-1]
    return 2 * math.prod(made) * each


_PRODUCTS_OF_ONNX = ("Conv", "MatMul", "Gemm")
_PRODUCTS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")
_NOTHING = ("Const", "Identity", "NoOp", "Placeholder")  # What moves no numbers.


@dataclasses.dataclass(frozen=True)
class Work:
    """What a forward pass of one picture takes.

    Attributes:
        operations: as :func:`count_operations` counts them.
        numbers: that convolutions and matrix products read and write, weights included: what has
            to be moved where everything else is joined to them.
        numbers_apart: that all operators read and write, each for itself.
        products: of each convolution the places and channels of its output, and its operations.
    """

    operations: int
    numbers: int
    numbers_apart: int
    products: tuple[tuple[int, int, float], ...]


def count_work(model: keras.Model, height: int, width: int) -> Work:
    """Count operations and moved numbers of a forward pass of one picture.

    Args:
        model, height, width: as for :func:`count_operations`.
    """
    graph = _graph(model, height, width)
    moved = [(one, _numbers(one)) for one in graph.get_operations() if one.type not in _NOTHING]
    convolutions = [one for one, _ in moved if one.type == "Conv2D"]
    return Work(
        _operations_of(graph),
        sum(count for one, count in moved if one.type in _PRODUCTS),
        sum(count for _, count in moved),
        tuple(_product(one) for one in convolutions),
    )


def _numbers(operation):
    return sum(t.shape.num_elements() for t in (*operation.inputs, *operation.outputs))


def _product(convolution):
    """Return the places and channels of a convolution's output, and its operations."""
    _, height, width, channels = convolution.outputs[0].shape
    *window, read, _ = convolution.inputs[1].shape
    return height * width, channels, 2.0 * height * width * channels * read * math.prod(window)


class Memory:
    """How much a process's resident memory grows from here on, by Linux's ``/proc``."""

    def __init__(self) -> None:
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the peak starts again from here
            self._before = _kilobytes("VmRSS")
        except OSError:
            self._before = None

    def added(self) -> int | None:
        """Return the bytes added at the peak; None where there is no ``/proc`` to ask."""
        if self._before is None:
            return None
        return 1024 * max(_kilobytes("VmHWM") - self._before, 1)


def _kilobytes(key):
    with open("/proc/self/status") as file:
        return int(re.search(key + r":\s+(\d+)", file.read())[1])
