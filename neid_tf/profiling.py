"""Counting what a model costs."""


def count_operations(model, height, width):
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


def peak_bytes(name, filters, depth, height, width):
    """Measure how much a forward pass adds to a process's resident memory at its peak.

    In a process of its own: the model is run once on a small picture, so that what is loaded
    once does not count, then on one of the size asked for. Reads Linux's ``/proc``.

    Args:
        name: of the model, one of :data:`neid_tf.models.VARIANTS`.
        filters: its width.
        depth: its depth.
        height: of the picture, in pixels.
        width: likewise.

    Returns:
        Bytes, or None where there is no ``/proc`` to ask.
    """
    import os
    import subprocess
    import sys

    if not os.access("/proc/self/clear_refs", os.W_OK):
        return None
    values = [name, *map(str, (filters, depth, height, width))]
    result = subprocess.run(
        [sys.executable, "-c", _PEAK, *values], capture_output=True, text=True, check=True
    )
    return int(result.stdout.split()[-1])


_PEAK = """
import re, sys
import numpy as np
from neid_tf import benchmark, models
name, (filters, depth, height, width) = sys.argv[1], map(int, sys.argv[2:])
net = models.build(name, filters=filters, depth=depth, initializer="he_normal")
net = models.inference_model(net)
call = benchmark.compiled(net)
call(np.zeros((1, 16, 16, 3), np.float32)).numpy()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts again from here
def kilobytes(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1])
before = kilobytes("VmRSS")
call(np.zeros((1, height, width, 3), np.float32)).numpy()
print(1024 * max(kilobytes("VmHWM") - before, 1))
"""
