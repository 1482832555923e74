"""Surgery on ONNX graphs: what is computed only where it is asked for, and how weights are kept."""

from __future__ import annotations

import re
import typing

import numpy as np

from neid_tf.inference import runtimes

if typing.TYPE_CHECKING:
    from onnx import GraphProto, TensorProto

NO_PICTURE = np.zeros((1, 1, 1, 3), np.float32)
"""What stands for ``picture`` where it is left out."""
_LEAST_HALVED = 256
_NARROW = 16  # Channels.
_FIRST, _LAST = [0, 3, 1, 2], [0, 2, 3, 1]
"""Transpositions that put the channels first, and last."""
_PIXELS, _ROWS = ("Transpose", [0, 1, 3, 2]), ("Transpose", [0, 2, 1, 3])
_FOLDING = ("Reshape", [0, 0, -1, 6]), _PIXELS, ("Reshape", [0, -1, 12, 0]), _ROWS
_UNFOLDING = _ROWS, ("Reshape", [0, -1, 6, 0]), _PIXELS, ("Reshape", [0, 0, -1, 3])
"""What puts 2×2 pixels behind each other, N×2h×2w×3 to N×12×h×w, and side by side again."""
_ENLARGEMENT = re.compile(r"_up(_\d+)?/Repeat/ExpandDims$")
"""The name of the first node of an enlargement in the decoders (:mod:`neid_tf.models.unet`)."""


def refine_if_given(network: GraphProto, refiner: GraphProto) -> None:
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
    _take_as_made(network, refiner, names)
    shared = _leading_to(network.node, {v.name for v in network.output if v is not light})
    shared_outputs = {name for node in shared for name in node.output}
    alone = [node for node in network.node if shared_outputs.isdisjoint(node.output)]
    for node in alone:
        network.node.remove(node)
        node.output[:] = ["light" if name == light.name else name for name in node.output]
    choice = helper.make_node(
        "If",
        ["picture_is_given"],
        [runtimes.OUTPUT],
        then_branch=helper.make_graph(
            refiner.node, "refined", [], refiner.output, refiner.initializer
        ),
        else_branch=helper.make_graph(alone, "streams", [], [_picture("light")]),
    )
    asked = [
        helper.make_node("Size", [runtimes.PICTURE], ["picture_size"]),
        helper.make_node("Greater", ["picture_size", "size_of_none"], ["picture_is_given"]),
    ]
    network.initializer.append(constant(np.array(NO_PICTURE.size), "size_of_none"))
    network.node.extend([*asked, choice])
    _replace(network, output=[value for value in network.output if value.name not in names])
    network.input.append(picture)
    _drop_unused(network)


def _take_as_made(network, refiner, names):
    """Let the refinement read channels first what the network makes so, not moved to and fro."""
    made = {node.output[0]: node for node in network.node if node.output[0] in names}
    for node in [node for node in refiner.node if node.op_type == "Transpose"]:
        last = made.get(node.input[0])
        if last is not None and (_order(last), _order(node)) == (_LAST, _FIRST):
            for reader in refiner.node:
                kept = [last.input[0] if n == node.output[0] else n for n in reader.input]
                reader.input[:] = kept
            refiner.node.remove(node)


def read_unless_given(network: GraphProto, tone: GraphProto, names: list[str]) -> None:
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
    _replace(network, node=nodes, output=outputs, input=[others[0], *inputs, *others[1:]])


def skip_unless_enhancing(network: GraphProto, tone: list[str], fusing: list[str]) -> None:
    """Leave out what only ``enhanced`` needs, where ``context_only`` is given as true.

    ``enhanced`` is empty then. Runtimes compute all outputs, whichever are asked for. Both
    branches hold what reads the fusing vector: what a branch is given by the graph around it is
    kept to the branch's end, and features are large.

    Args:
        network: graph with ``enhanced`` and the context among its outputs.
        tone: names of the tone.
        fusing: names of the rest of the context.
    """
    from onnx import TensorProto, compose, helper

    before = _leading_to(network.node, set(tone))
    made = {name for node in before for name in node.output}
    inside = [node for node in network.node if made.isdisjoint(node.output)]
    weights, names = network.initializer, [runtimes.OUTPUT, *fusing]
    ends = [value for value in network.output if value.name in names]
    nothing = constant(np.zeros((0, 0, 0, 3), np.float32), runtimes.OUTPUT)
    reading = _leading_to(inside, set(fusing))
    reading = helper.make_graph(
        reading, "context", [], ends, [nothing, *_read_of(weights, reading)]
    )
    reading = compose.add_prefix_graph(reading, "context/")
    enhancing = helper.make_graph(inside, "enhancing", [], ends, _read_of(weights, inside))
    _rename(enhancing, {name: f"made/{name}" for name in names})
    choice = helper.make_node(
        "If",
        [runtimes.CONTEXT_ONLY],
        [value.name for value in ends],
        then_branch=reading,
        else_branch=enhancing,
    )
    _replace(network, node=[*before, choice], initializer=_read_of(weights, before))
    flag = helper.make_tensor_value_info(runtimes.CONTEXT_ONLY, TensorProto.BOOL, [])
    network.input.append(flag)


def tidy(graph: GraphProto) -> None:
    """Let what TensorFlow does in several passes over memory be done in fewer.

    Args:
        graph: as tf2onnx made it.
    """
    enlarge_at_once(graph)
    clip_at_once(graph)
    fold_by_rows(graph)
    cut_planes(graph)


def enlarge_at_once(network: GraphProto) -> None:
    """Let each nearest enlargement by 2 be one ``Resize``: exact, and memory is passed once.

    TensorFlow repeats rows, then columns, each by a ``Tile`` between transpositions.

    Args:
        network: graph as tf2onnx made it of ``keras.layers.UpSampling2D``.
    """
    from onnx import helper

    firsts = [node for node in network.node if _ENLARGEMENT.search(node.name)]
    if not firsts:
        return
    twice = (np.zeros(0, np.float32), "no_region"), (np.float32([1, 1, 2, 2]), "twice")
    network.initializer.extend(constant(array, name) for array, name in twice)
    for first in firsts:
        end = f"{first.name.split('/Repeat/')[0]}/Repeat_1/Reshape_1"
        (last,) = (
            node
            for node in network.node
            if node.op_type == "Transpose" and node.input[0].startswith(end)
        )
        inputs = [first.input[0], "no_region", "twice"]
        nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        place = list(network.node).index(last)
        made = helper.make_node("Resize", inputs, last.output, mode="nearest", **nearest)
        network.node.remove(last)
        network.node.insert(place, made)
    _drop_unused(network)


def clip_at_once(graph: GraphProto) -> None:
    """Let the lesser, then the greater, of what is computed and a number be one ``Clip``.

    Args:
        graph: as tf2onnx made it.
    """
    from onnx import helper, numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    numbers = {name: array.reshape(()) for name, array in arrays.items() if array.size == 1}
    made = {node.output[0]: node for node in graph.node if node.op_type == "Min"}
    for place, node in enumerate(list(graph.node)):
        below = made.get(node.input[0]) if node.op_type == "Max" else None
        if below is None or not {below.input[1], node.input[1]} <= numbers.keys():
            continue
        ends = {f"{node.output[0]}/{end.op_type}": end.input[1] for end in (node, below)}
        graph.initializer.extend(constant(numbers[name], end) for end, name in ends.items())
        graph.node.remove(node)
        graph.node.insert(place, helper.make_node("Clip", [below.input[0], *ends], node.output))
    _drop_unused(graph)


def fold_by_rows(graph: GraphProto) -> None:
    """Let folding pictures, and unfolding them, move rows: up to a third less time.

    The two pixels of a row are moved first, then the two rows: two cheap transpositions.

    Args:
        graph: as tf2onnx made it of ``space_to_depth`` and ``depth_to_space`` by 2, of pictures of
            three channels: with the channels first, between transpositions.
    """
    made = {node.output[0]: node for node in graph.node}
    for node in list(graph.node):
        before = made.get(node.input[0]) if node.input else None
        if before is None:
            continue
        if node.op_type == "SpaceToDepth" and _order(before) == _FIRST:
            _put(graph, node, before.input[0], _FOLDING)
        elif _order(node) == _LAST:
            clip = before if before.op_type == "Clip" else None
            deep = made.get(clip.input[0]) if clip else before
            if deep is None or deep.op_type != "DepthToSpace":
                continue
            value = deep.input[0]
            if clip:  # Before it is moved, which is the same.
                clip.input[0], value = value, clip.output[0]
            _put(graph, node, value, _UNFOLDING)
    _drop_unused(graph)


def _put(graph, node, value, steps):
    """Put steps, each an operator and its numbers, from a value to what a node makes, in its place.

    Args:
        graph: of the node.
        node: which is removed.
        value: the name of what the first step is given.
        steps: of ``Reshape`` and ``Transpose``.
    """
    from onnx import helper

    place = list(graph.node).index(node)
    graph.node.remove(node)
    for number, (kind, numbers) in enumerate(steps):
        inputs, options = [value], {"perm": numbers}
        if kind == "Reshape":
            inputs, options = [value, f"{node.output[0]}/shape{number}"], {}
            graph.initializer.append(constant(np.array(numbers), inputs[1]))
        last = number == len(steps) - 1
        value = node.output[0] if last else f"{node.output[0]}/{number}"
        graph.node.insert(place + number, helper.make_node(kind, inputs, [value], **options))


def add_up_joined(graph: GraphProto, channels: int) -> None:
    """Let a narrow convolution over joined channels be the sum of two: nothing is copied for that.

    Wide ones are left: they take longer in two than the copies take.

    Args:
        graph: as tf2onnx made it.
        channels: of the first of what is joined.
    """
    from onnx import helper, numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    joins = {node.output[0]: node for node in graph.node if node.op_type == "Concat"}
    for whole in [node for node in graph.node if node.op_type == "Conv"]:
        join = joins.get(whole.input[0])
        kernel, place = arrays.get(whole.input[1]), list(graph.node).index(whole)
        if join is None or join.attribute[0].i != 1 or kernel is None or len(kernel) > _NARROW:
            continue
        parts = {"first": kernel[:, :channels], "rest": kernel[:, channels:]}
        graph.node.remove(whole)
        outputs = []
        for (part, weights), value in zip(parts.items(), join.input, strict=True):
            names = [f"{whole.output[0]}/{part}{end}" for end in ("", "/weights")]
            graph.initializer.append(constant(weights, names[1]))
            bias = [] if part == "first" else whole.input[2:]
            made = helper.make_node("Conv", [value, names[1], *bias], names[:1])
            made.attribute.extend(whole.attribute)
            graph.node.insert(place, made)
            outputs += names[:1]
        graph.node.insert(place + 2, helper.make_node("Add", outputs, whole.output))
    _drop_unused(graph)


def cut_planes(graph: GraphProto) -> None:
    """Let what is cut and then moved channels first be moved, and then cut.

    What another graph made channels first need not be moved then: see :func:`refine_if_given`.

    Args:
        graph: as tf2onnx made it.
    """
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node if node.op_type == "Slice"}
    for first in [node for node in graph.node if node.op_type == "Transpose"]:
        cut = made.get(first.input[0])
        read_by = [node for node in graph.node if first.input[0] in _read_by(node)]
        if cut is None or _order(first) != _FIRST or read_by != [first]:
            continue
        name = f"{first.output[0]}/axes"
        axes = arrays[cut.input[3]]
        axes = np.array([_FIRST.index(axis) for axis in axes], axes.dtype)
        graph.initializer.append(constant(axes, name))
        whole, moved = cut.input[0], f"{first.output[0]}/whole"
        first.input[0], cut.input[0], cut.input[3] = whole, moved, name
        first.output[0], cut.output[0] = moved, first.output[0]
        graph.node.remove(first)
        graph.node.insert(list(graph.node).index(cut), first)


def drop_unused_weights(graph: GraphProto) -> None:
    """Leave out the initializers that nothing reads; in the graphs inside as well."""
    for node in graph.node:
        for inner in _inside(node):
            drop_unused_weights(inner)
    used = {value.name for value in (*graph.input, *graph.output)}
    used = used.union(*map(_read_by, graph.node))
    _replace(graph, initializer=[t for t in graph.initializer if t.name in used])


def name_nodes(graph: GraphProto) -> None:
    """Give the nodes that have no name that of what they make; in the graphs inside as well."""
    for node in graph.node:
        node.name = node.name or node.output[0]
        for inner in _inside(node):
            name_nodes(inner)


def _order(node):
    """Return the order that a transposition puts axes in; None for another node."""
    return list(node.attribute[0].ints) if node.op_type == "Transpose" else None


def _drop_unused(graph):
    _replace(graph, node=_leading_to(graph.node, {value.name for value in graph.output}))


def _leading_to(nodes, wanted):
    """Return the nodes that values are made by, in their order."""
    found = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            found.append(node)
            wanted = wanted | _read_by(node)
    return found[::-1]


def _read_by(node):
    """Return the names that a node reads, and the graphs in it."""
    return set(node.input).union(*(_read_by(n) for inner in _inside(node) for n in inner.node))


def _read_of(weights, nodes):
    """Return those of the weights that nodes read."""
    needed = set().union(*map(_read_by, nodes))
    return [tensor for tensor in weights if tensor.name in needed]


def _replace(graph, **fields):
    """Put other nodes, initializers, inputs or outputs in the place of a graph's, by field."""
    for name, values in fields.items():
        field, values = getattr(graph, name), list(values)
        del field[:]
        field.extend(values)


def _rename(graph, names):
    """Give values of a graph other names, wherever it, or a graph inside, makes or reads them."""
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
        for inner in _inside(node):
            _rename(inner, names)
    for value in graph.output:
        value.name = names.get(value.name, value.name)


def _inside(node):
    """Return the graphs in a node: the branches of an ``If``."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _picture(name):
    """Return the description of a batch of pictures of any size."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["", "", "", 3])


def _sizes(value):
    """Return the axes of an input of a graph, with a name for one that is not known."""
    return [axis.dim_value or "batch" for axis in value.type.tensor_type.shape.dim]


def constant(array: np.ndarray, name: str) -> TensorProto:
    """Return an array as ONNX keeps it, under a name."""
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name)


def store_in_half_precision(graph: GraphProto) -> None:
    """Halve the large initializers where that is exact; runtimes cast them back as they load.

    Those of the graphs inside are kept in the outermost, each once.
    """
    stored = {}
    _halve(graph, stored)
    graph.initializer.extend(stored.values())


def _halve(graph, stored):
    """Let a graph, and those inside, cast its large initializers from ``stored``, by content."""
    from onnx import TensorProto, helper, numpy_helper

    for node in graph.node:
        for inner in _inside(node):
            _halve(inner, stored)
    casts, kept = [], []
    for tensor in graph.initializer:
        half = _half(numpy_helper.to_array(tensor))
        if half is None:
            kept.append(tensor)
            continue
        key = half.shape, half.tobytes()
        if key not in stored:
            stored[key] = constant(half, f"{tensor.name}_half")
        casts.append(
            helper.make_node("Cast", [stored[key].name], [tensor.name], to=TensorProto.FLOAT)
        )
    _replace(graph, node=[*casts, *graph.node], initializer=kept)


def _half(array):
    """Return a large array in half precision; None where that is not exact, or it is small."""
    if array.dtype != np.float32 or array.size < _LEAST_HALVED:
        return None
    half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else None
