"""Counting what a model costs."""

from __future__ import annotations

import re
import typing

if typing.TYPE_CHECKING:
    import keras


def count_operations(model: keras.Model, height: int, width: int) -> int:
    """Count the floating-point operations of a forward pass of one picture.

    Multiplications and additions count as one each; what costs less than a convolution
    (activations, pooling, copies) counts as TensorFlow's profiler counts it.

    Args:
        model: a Keras model with one input, N×h×w×3.
        height: of the picture the model is given, in pixels.
        width: likewise.

    Returns:
        The number of operations.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2 as freeze,
    )

    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, height, width, 3)))
    graph = freeze(concrete).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


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
