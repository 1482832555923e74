"""The ONNX graph of a model: one file for whole pictures and for the tiles of large ones."""

import numpy as np

from neid_tf import models
from neid_tf.inference import runtimes

OPSET = 15
"""The ONNX operator set: tf2onnx's default, and old enough for most runtimes."""
_LEAST_HALVED = 256


def onnx_bytes(model, compact=False):
    """Convert a model.

    The one input that must be given is ``image``. The vectors of the context (see
    :class:`neid_tf.models.NEID`) may be given too, as ``told_NAME``: their default, NaN, stands
    for what is read off the image. The outputs are ``enhanced`` and these vectors by name.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        compact: store weights that half precision holds exactly in half precision.

    Returns:
        The bytes of the file.
    """
    import tf2onnx

    function = _function(models.rebuild(model, "told"))
    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    _name_axes(proto.graph)
    for value in list(proto.graph.input)[1:]:
        size = value.type.tensor_type.shape.dim[1].dim_value
        proto.graph.initializer.append(_tensor(np.full((1, size), np.nan, np.float32), value.name))
    if compact:
        _store_in_half_precision(proto.graph)
    proto.metadata_props.add(key=runtimes.STEP, value=str(2**model.config.depth))
    return proto.SerializeToString()


def _function(told):
    """Return the function to convert, of the image and the vectors in their order."""
    import tensorflow as tf

    names = [name for name in told.output if name != "enhanced"]
    shapes = {runtimes.INPUT: (None, None, None, 3)}
    shapes |= {f"{runtimes.TOLD}{name}": told.output[name].shape for name in names}
    signature = [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in shapes.items()]

    @tf.function(input_signature=signature)
    def serve(*values):
        given = dict(zip(shapes, values, strict=True))
        made = told(given if names else given[runtimes.INPUT], training=False)
        enhanced = tf.clip_by_value(made["enhanced"], 0.0, 1.0)
        return {runtimes.OUTPUT: enhanced} | {name: made[name] for name in names}

    return serve


def _name_axes(graph):
    for value in (*graph.input, *graph.output):
        axes, prefix = value.type.tensor_type.shape.dim, ""
        axes[0].dim_param = "batch"
        if len(axes) == 4:
            prefix = "" if value.name == runtimes.INPUT else "enhanced_"
            axes[1].dim_param, axes[2].dim_param = f"{prefix}height", f"{prefix}width"


def _tensor(array, name):
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name)


def _store_in_half_precision(graph):
    """Halve the large initializers where that is exact; runtimes cast them back as they load."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < _LEAST_HALVED:
            continue
        half = array.astype(np.float16)
        if np.array_equal(half.astype(np.float32), array):
            name, stored = tensor.name, f"{tensor.name}_half"
            tensor.CopyFrom(_tensor(half, stored))
            casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
