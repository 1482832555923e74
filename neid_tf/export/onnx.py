"""The ONNX graph of a model: one file for whole pictures and for the tiles of large ones."""

import os

import numpy as np

from neid_tf import models
from neid_tf.export.check import Comparison, checked_target, compare, trials
from neid_tf.inference import runtimes
from neid_tf.models import NEID
from neid_tf.support.files import write_whole
from neid_tf.support.libraries import optional_import

OPSET = 15
"""The ONNX operator set: tf2onnx's default, and old enough for most runtimes."""
_LEAST_HALVED = 256
_PICTURES = (None, None, None, 3)
_DEFAULTS = {
    runtimes.BOX: np.array([[0.0, 0.0, 1.0, 1.0]]),
    runtimes.PICTURE: np.zeros((1, 1, 1, 3)),
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
    ``picture`` is given, which ``image`` was made of by halving, its details are put back. The
    outputs are ``enhanced`` and the context by name.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        compact: store weights that half precision holds exactly in half precision.

    Returns:
        The bytes of the file.
    """
    graph = model.graph
    proto = _converted(*_network_function(model))
    if graph.refining:
        _refine_if_given(proto.graph, _converted(*_refiner_function(model)).graph)
    if graph.tone:
        _read_unless_given(proto.graph, _converted(*_tone_function(model)).graph, list(graph.tone))
    _name_axes(proto.graph)
    for value in list(proto.graph.input)[1:]:
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]]
        default = _DEFAULTS.get(value.name, np.full((1, *sizes), np.nan))
        proto.graph.initializer.append(_tensor(default.astype(np.float32), value.name))
    if compact:
        _store_in_half_precision(proto.graph)
    proto.metadata_props.add(key=runtimes.STEP, value=str(2**model.config.depth))
    return proto.SerializeToString()


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
        decoded = decode(encoded | fusing | place, training=False)
        refining = gain | decoded if graph.refining else {}
        enhanced = tf.clip_by_value(refining.get("le", decoded), 0.0, 1.0)
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


def _refine_if_given(network, refiner):
    """Put the refinement behind the network, where ``picture`` is given.

    Args:
        network: graph with what is refined among its outputs.
        refiner: graph from that, by the same names, and ``picture`` to ``enhanced``.
    """
    from onnx import compose, helper

    names = {value.name for value in refiner.input}
    picture = next(value for value in refiner.input if value.name == runtimes.PICTURE)
    light = next(value for value in network.output if value.name == runtimes.OUTPUT)
    refiner = compose.add_prefix_graph(refiner, "refiner/")
    for node in refiner.node:
        own = [(name, name.removeprefix("refiner/")) for name in node.input]
        node.input[:] = [outer if outer in names else name for name, outer in own]
    for node in network.node:
        node.output[:] = ["light" if n == runtimes.OUTPUT else n for n in node.output]
    kept = helper.make_node("Identity", ["light"], ["light_kept"])
    end = helper.make_tensor_value_info(
        "light_kept", light.type.tensor_type.elem_type, ["", "", "", 3]
    )
    choice = helper.make_node(
        "If",
        ["picture_is_given"],
        [runtimes.OUTPUT],
        then_branch=helper.make_graph(
            refiner.node, "refined", [], refiner.output, refiner.initializer
        ),
        else_branch=helper.make_graph([kept], "light", [], [end]),
    )
    asked = [
        helper.make_node("Size", [runtimes.PICTURE], ["picture_size"]),
        helper.make_node("Greater", ["picture_size", "size_of_none"], ["picture_is_given"]),
    ]
    size = np.array(_DEFAULTS[runtimes.PICTURE].size, np.int64)
    network.initializer.append(_tensor(size, "size_of_none"))
    network.node.extend([*asked, choice])
    outputs = [value for value in network.output if value.name not in names]
    del network.output[:]
    network.output.extend(outputs)
    network.input.append(picture)


def _tone_function(model):
    """Return the reading of the tone off a picture as a function, and the shape of its input."""
    read = models.as_part(model, "tone")
    return lambda given: read(given[runtimes.INPUT], training=False), {runtimes.INPUT: _PICTURES}


def _read_unless_given(network, tone, names):
    """Put the reading of the tone before the network, where what is given is not computed.

    Args:
        network: graph with the tone among its inputs. They become ``given_NAME``, and outputs.
        tone: graph from ``image`` to the tone.
        names: of what the tone is made of.
    """
    from onnx import TensorProto, compose, helper

    kept = {value.name: value for value in network.input if value.name in names}
    others = [value for value in network.input if value.name not in kept]
    tone = compose.add_prefix_graph(tone, "tone/")
    for node in tone.node:
        node.input[:] = [
            runtimes.INPUT if name == f"tone/{runtimes.INPUT}" else name for name in node.input
        ]
    given = {name: f"{runtimes.GIVEN}{name}" for name in names}
    copies = [helper.make_node("Identity", [given[n]], [f"given/{n}"]) for n in names]
    ends = [
        helper.make_tensor_value_info(f"given/{n}", TensorProto.FLOAT, _sizes(kept[n]))
        for n in names
    ]
    choice = helper.make_node(
        "If",
        ["tone_is_missing"],
        names,
        then_branch=helper.make_graph(tone.node, "read", [], tone.output, tone.initializer),
        else_branch=helper.make_graph(copies, "given", [], ends),
    )
    asked = [
        helper.make_node("IsNaN", [given[names[0]]], ["tone_nan"]),
        helper.make_node("Cast", ["tone_nan"], ["tone_nan_number"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["tone_nan_number"], ["tone_nan_any"], keepdims=0),
        helper.make_node("Cast", ["tone_nan_any"], ["tone_is_missing"], to=TensorProto.BOOL),
    ]
    nodes, outputs = [*asked, choice, *network.node], [*network.output, *kept.values()]
    inputs = [
        helper.make_tensor_value_info(given[n], TensorProto.FLOAT, _sizes(kept[n])) for n in names
    ]
    for field, values in (("node", nodes), ("output", outputs)):
        del getattr(network, field)[:]
        getattr(network, field).extend(values)
    del network.input[:]
    network.input.extend([others[0], *inputs, *others[1:]])


def _sizes(value):
    """Return the axes of an input of a graph, with a name for one that is not known."""
    return [axis.dim_value or "batch" for axis in value.type.tensor_type.shape.dim]


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
    from onnx import AttributeProto, TensorProto, helper, numpy_helper

    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _store_in_half_precision(attribute.g)
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
