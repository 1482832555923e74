"""The ONNX graph of a model: one file for whole pictures and for the tiles of large ones."""

import os
from typing import Any

import numpy as np

from neid_tf import models
from neid_tf.export import onnx_graph
from neid_tf.export.check import Comparison, checked_target, compare, trials
from neid_tf.inference import runtimes
from neid_tf.inference.network import KerasNetwork
from neid_tf.models import NEID
from neid_tf.support.files import write_whole
from neid_tf.support.libraries import optional_import

OPSET = 15
"""The ONNX operator set: tf2onnx's default, and old enough for most runtimes."""
_PICTURES = (None, None, None, 3)
_DEFAULTS = {
    runtimes.BOX: np.float32([[0.0, 0.0, 1.0, 1.0]]),
    runtimes.PICTURE: onnx_graph.NO_PICTURE,
    runtimes.CONTEXT_ONLY: np.array(False),
}
"""What stands for an input that is left out; NaN for the context."""


def to_onnx(
    model: NEID, path: str | os.PathLike, overwrite: bool = False, compact: bool = False
) -> Comparison:
    """Write an ONNX file that makes ``enhanced`` of ``image``.

    Batch, height and width are free: float32 N×h×w×3 in [0, 1] to N×2h×2w×3 in [0, 1]. For large
    pictures in tiles there are further inputs, which may be left out, and further outputs:
    :func:`neid_tf.export.onnx.onnx_bytes` describes them.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        path: the file to write, usually ``.onnx``.
        overwrite: replace a file that is there.
        compact: store weights that half precision holds exactly in half precision.

    Returns:
        A :class:`Comparison`.

    Raises:
        ValueError: for another model, where the path is taken, the export is wrong, or tf2onnx
            or onnxruntime is not installed.
    """
    path = checked_target(model, path, overwrite)
    with optional_import("exporting to onnx"):
        content = onnx_bytes(model, compact)
        comparison = compare(model, runtimes.Onnx(content), trials())
    write_whole(path, content)
    return comparison


def onnx_bytes(model: NEID, compact: bool = False) -> bytes:
    """Convert a model.

    The one input that must be given is ``image``. What the network reads off the whole picture (the
    part ``context`` of :class:`neid_tf.models.NEID`) may be given too, as ``given_NAME``: the
    default, NaN, stands for reading it off the image, and what is given is not computed. Where
    ``picture`` is given, which ``image`` was made of by halving, its details are put back; where it
    is of the middle of ``image`` alone, ``enhanced`` is too. The outputs are ``enhanced`` and the
    context by name. Where ``context_only`` is given as true, nothing but the context is computed,
    and ``enhanced`` is empty.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        compact: store weights that half precision holds exactly in half precision.

    Returns:
        The bytes of the file.
    """
    graph, converted = model.graph, parts(model)
    proto = converted["network"]
    for part in converted.values():
        onnx_graph.tidy(part.graph)
    if "refiner" in converted:
        onnx_graph.add_up_joined(converted["refiner"].graph, graph.refining["features"].shape[-1])
        onnx_graph.refine_if_given(proto.graph, converted["refiner"].graph)
    if "tone" in converted:
        onnx_graph.read_unless_given(proto.graph, converted["tone"].graph, list(graph.tone))
    _name_axes(proto.graph)
    if graph.context:
        onnx_graph.skip_unless_enhancing(proto.graph, list(graph.tone), list(graph.fusing))
    for value in list(proto.graph.input)[1:]:
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]]
        default = _DEFAULTS.get(value.name, np.full((1, *sizes), np.nan, np.float32))
        proto.graph.initializer.append(onnx_graph.constant(default, value.name))
    onnx_graph.drop_unused_weights(proto.graph)
    if compact:
        onnx_graph.store_in_half_precision(proto.graph)
    onnx_graph.name_nodes(proto.graph)
    network = KerasNetwork(model)
    told = {runtimes.STEP: network.step, runtimes.MARGIN: network.margin}
    told |= {runtimes.REFINED_MARGIN: network.refined_margin} if network.refines else {}
    for name, value in told.items():
        proto.metadata_props.add(key=name, value=str(value))
    return proto.SerializeToString()


def parts(model: NEID) -> dict[str, Any]:
    """Convert the parts of a model, each to an ONNX model of its own.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.

    Returns:
        What the model has of: ``tone``, the reading of the tone off a picture; ``network``, which
        is given the tone; and ``refiner``, which is given what both made, and the picture.
    """
    functions = {"network": _network_function}
    functions |= {"refiner": _refiner_function} if model.graph.refining else {}
    functions |= {"tone": _tone_function} if model.graph.tone else {}
    return {name: _converted(*function(model)) for name, function in functions.items()}


def _converted(compute, shapes):
    """Convert a function from arrays by name to arrays by name.

    Args:
        compute: a function of a dictionary, written with TensorFlow.
        shapes: the shape of each input, by name.
    """
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in shapes.items()]

    @tf.function(input_signature=signature)
    def function(*values):
        return compute(dict(zip(shapes, values, strict=True)))

    return tf2onnx.convert.from_function(function, signature, opset=OPSET)[0]


def _network_function(model):
    """Return the network as a function that is given the tone, and the shapes of its inputs."""
    import tensorflow as tf

    graph = model.graph
    further = graph.tone | {f"{runtimes.GIVEN}{name}": t for name, t in graph.fusing.items()}
    shapes = {runtimes.INPUT: _PICTURES}
    shapes |= {name: tensor.shape for name, tensor in (further | graph.place).items()}
    encode, decode = (models.as_part(model, part) for part in ("encoder", "decoder"))

    def compute(given):
        place = {name: given[name] for name in graph.place}
        inputs = {name: given[name] for name in (runtimes.INPUT, *graph.tone, *graph.place)}
        inputs = inputs if len(inputs) > 1 else given[runtimes.INPUT]
        encoded = encode(inputs, training=False)
        fusing = {name: encoded.pop(name) for name in graph.fusing}
        for name, read in fusing.items():
            # To read it costs next to nothing: its features are there in any case.
            instead = given[f"{runtimes.GIVEN}{name}"]
            fusing[name] = tf.where(tf.math.is_nan(instead), read, instead)
        gain = {name: encoded.pop(name) for name in graph.refining if name in encoded}
        lifting = {name: given[name] for name in graph.lifting}
        decoded = decode(encoded | fusing | place | lifting, training=False)
        refining = gain | decoded if graph.refining else {}
        light = decoded
        if refining:
            height, width = tf.unstack(tf.shape(given[runtimes.INPUT])[1:3])
            light = graph.lifted(decoded["folded"][:, :height, :width], given["tone_parameters"])
            light = tf.nn.depth_to_space(light, 2)
        enhanced = tf.clip_by_value(light, 0.0, 1.0)
        return {runtimes.OUTPUT: enhanced} | fusing | refining

    return compute, shapes


def _refiner_function(model):
    """Return the refinement as a function, and the shapes of its inputs."""
    import tensorflow as tf

    graph = model.graph
    refine = models.as_part(model, "refiner")
    inputs = graph.refining | graph.tone | {runtimes.PICTURE: graph.inputs[runtimes.PICTURE]}

    def compute(given):
        return {runtimes.OUTPUT: tf.clip_by_value(refine(given, training=False), 0.0, 1.0)}

    return compute, {name: tensor.shape for name, tensor in inputs.items()}


def _tone_function(model):
    """Return the reading of the tone off a picture as a function, and the shape of its input."""
    read = models.as_part(model, "tone")
    return lambda given: read(given[runtimes.INPUT], training=False), {runtimes.INPUT: _PICTURES}


def _name_axes(graph):
    for value in (*graph.input, *graph.output):
        axes, prefix = value.type.tensor_type.shape.dim, ""
        axes[0].dim_param = "batch"
        if len(axes) == 4:
            prefix = "" if value.name == runtimes.INPUT else "enhanced_"
            axes[1].dim_param, axes[2].dim_param = f"{prefix}height", f"{prefix}width"
