"""The learned rivals of Table 1 as models: Retinex-Net, GLAD and KinD."""

import importlib
from collections.abc import Mapping, Sequence

import keras

from neid_tf.models.config import RivalConfig
from neid_tf.models.part import Part
from neid_tf.support.errors import NeidError

PARTS = ("whole", "training", "inference")
"""What a model can hold of a rival; :class:`Rival` describes each."""


class Tensors:
    """The tensors of a rival's graph by name, from ``image`` to ``le``, the enhanced picture.

    Args:
        config: what it is made of.

    Attributes:
        named: the tensors, as the rival's own module has them.
        context: nothing: each picture is computed whole.
    """

    def __init__(self, config: RivalConfig) -> None:
        module = importlib.import_module(f"neid_tf.models.{config.architecture}")
        self.named: Mapping[str, keras.KerasTensor] = module.tensors(config.filters)
        self.context: dict = {}
        for name, tensor in self.named.items():
            tensor.name = name  # Keras wants it of what becomes an input.

    def holds(self, part: str) -> bool:
        """Return whether a part shares this graph: training has a copy, of its own precision."""
        return part != "training"

    def cut(self, inputs: Sequence[str], outputs: Sequence[str]) -> keras.Model:
        """Return the model from some tensors to others, on the same layers and weights.

        Args:
            inputs: names of tensors; the model takes a dictionary of them.
            outputs: names of tensors; the model gives a dictionary of them.
        """
        return keras.Model(*({n: self.named[n] for n in names} for names in (inputs, outputs)))


@keras.saving.register_keras_serializable("neid_tf")
class Rival(Part):
    """The functional model of a :class:`RivalConfig`, or a part of it.

    It takes pictures N×h×w×3 in [0, 1], of any size. ``whole`` and ``training`` give a dictionary
    of what it computes on the way, in which ``le`` is the enhanced picture, N×h×w×3, not clipped;
    ``inference`` gives that alone.

    Args:
        part: how much the model holds, one of :data:`PARTS`.
        name: of the model; None for its architecture's.
        graph: the :class:`Tensors` to cut the part from; None for fresh weights.
        **fields: of :class:`RivalConfig`.

    Raises:
        NeidError: for an unknown part, or a bad value.
    """

    def __init__(
        self,
        part: str = "whole",
        name: str | None = None,
        graph: Tensors | None = None,
        **fields,
    ) -> None:
        config = RivalConfig(**fields)
        if part not in PARTS:
            raise NeidError(f"part must be one of {', '.join(PARTS)}, not {part!r}")
        graph = graph or Tensors(config)
        named = dict(graph.named)
        image = named.pop("image")
        outputs = named["le"] if part == "inference" else named
        super().__init__(config, part, graph, image, outputs, name)
