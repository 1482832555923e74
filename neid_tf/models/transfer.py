"""Parts of a network, and weights from one network to another."""

import dataclasses

import keras
import numpy as np

from neid_tf.models.neid import NEID
from neid_tf.models.part import Part
from neid_tf.support.errors import NeidError

_JOINING = "refine_conv1"


def as_part(model: NEID, part: str) -> NEID:
    """Return another part of a network.

    It is a view on the same weights where it is cut from the same graph. The ``training`` part has
    a graph of its own (the thumbnail is an input, and not mirrored): its weights are copies.

    Args:
        model: a :class:`NEID`, or a ``Rival``, that holds every layer of the part.
        part: one of :data:`neid_tf.models.graph.PARTS`, or of a rival's.

    Returns:
        A model of the same class.

    Raises:
        ValueError: for an unknown part, or one with layers that the model does not hold; for what
            is no such model.
    """
    if not isinstance(model, Part):
        made = "a network is what neid_tf.models.build or neid_tf.load_pretrained returns"
        raise NeidError(f"{made}, not {model!r}")
    fields = dataclasses.asdict(model.config)
    if model.graph.holds(part):
        return type(model)(part=part, name=model.name, graph=model.graph, **fields)
    copy = type(model)(part=part, name=model.name, **fields)
    copy_weights(model, copy)
    return copy


def inference_model(model: NEID) -> NEID:
    """Drop all that only DR's output needs (section 1: the detail branch costs nothing then).

    Args:
        model: a :class:`NEID`.

    Returns:
        A :class:`NEID` from N×h×w×3 in [0, 1] to the enhanced picture, not clipped: bit for bit
        the ``le`` of ``model``. It shares the weights of a ``whole`` model.
    """
    return as_part(model, "inference")


def named_variables(model: keras.Model) -> dict:
    """Return a model's variables by ``layer/variable`` name, in the order of ``model.weights``."""
    names = {}
    for layer in model.layers:
        for variable in layer.weights:
            inner = variable.path.rpartition(f"{layer.name}/")[2]
            names[f"{layer.name}/{inner}"] = variable
    return names


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of every layer of ``target`` from ``source``'s layer of that name.

    Args:
        source: the model that the weights are taken from.
        target: the model that is changed.

    Raises:
        NeidError: where ``source`` has no such layer.
        ValueError: where it has one of another shape.
    """
    theirs = {layer.name: layer for layer in source.layers}
    needed = [layer for layer in target.layers if layer.weights]
    lacking = [layer.name for layer in needed if layer.name not in theirs]
    if lacking:
        of, without = (getattr(model, "part", model.name) for model in (target, source))
        count = f"{len(lacking)} layers of {of}, such as {lacking[0]!r}"
        raise NeidError(f"{target.name}: {count}, are not in {without}, which it is to be made of")
    for layer in needed:
        layer.set_weights(theirs[layer.name].get_weights())


def load_matching(source: keras.Model, target: keras.Model) -> list[str]:
    """Copy what fits: the weights of the layers that have the same name in both.

    Of a network with a refinement that is taken too, though its file is loaded without.

    A layer of ``target`` that is a whole number of times as wide takes the other's channels in
    between its own fresh ones, which have no effect at first: where all layers have fitted
    so, ``target`` gives what ``source`` gives, and has more to learn with.

    Args:
        source: the model that the weights are taken from.
        target: the model that is changed.

    Returns:
        The names of the layers of ``target`` that learn and keep the weights that they had.

    Raises:
        ValueError: where nothing fits.
    """
    layers = [*source.layers, *_refinement(source)]
    theirs = {layer.name: layer.get_weights() for layer in layers if layer.weights}
    widths = {getattr(getattr(model, "config", None), "filters", 0) for model in (source, target)}
    if len(widths) > 1:  # It takes features of that width beside channels of another.
        theirs.pop(_JOINING, None)
    fitting = []
    for layer in target.layers:
        own = layer.get_weights()
        given = theirs.get(layer.name, ())
        if own and len(given) == len(own) and all(map(_fits, given, own)):
            fitting.append((layer, list(map(_embed_channels, given, own))))
    if not fitting:
        raise NeidError(f"no layer of {source.name} fits {target.name}")
    for layer, weights in fitting:
        layer.set_weights(weights)
    taken = {layer.name for layer, _ in fitting}
    return [
        layer.name for layer in target.layers if layer.trainable_weights and layer.name not in taken
    ]


def _refinement(model: keras.Model) -> list:
    """Return the layers that a network has beside those of the part that a file is loaded as."""
    config = getattr(model, "config", None)
    if not getattr(config, "refinement", 0) or not model.graph.holds("refined"):
        return []
    return as_part(model, "refined").layers


def _fits(small: np.ndarray, large: np.ndarray) -> bool:
    """Tell whether an array has another's size, or is only wider in its channels."""
    if small.ndim != large.ndim or small.shape[:-2] != large.shape[:-2]:
        return False
    return all(n % m == 0 for m, n in zip(small.shape, large.shape, strict=True))


def _embed_channels(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Put an array into a wider one, every so many channels; nothing else leads to those."""
    every = [slice(None, None, n // m) for m, n in zip(small.shape, large.shape, strict=True)]
    result = large.copy()
    result[..., every[-1]] = 0.0
    result[tuple(every)] = small
    return result
