"""NEID: light enhancement, detail refinement and feature fusing on one encoder (section 2.2)."""

from collections.abc import MutableMapping

import keras
import numpy as np

from neid_tf.models.config import ModelConfig
from neid_tf.models.graph import PARTS, THUMBNAIL, Graph
from neid_tf.models.part import Part
from neid_tf.support.errors import NeidError

__all__ = ["NEID", "PARTS", "THUMBNAIL"]

_FORMER_NAMES = {"body": "tile"}
"""Parts that files from before name otherwise."""


@keras.saving.register_keras_serializable("neid_tf")
class NEID(Part):
    """The functional model of a :class:`ModelConfig`, or a part of it.

    Pictures are N×h×w×3 in [0, 1], of any size; what lies outside of that range is clipped to it.
    What comes out is float32 and not clipped.

    ============ ========================================= ====================================
    part         inputs                                    outputs
    ============ ========================================= ====================================
    whole        picture; if it refines, a dictionary of   dictionary of pictures, see below
                 ``image`` and ``picture``
    training     picture; if toned, a dictionary of        the same dictionary, and
                 ``image``, ``thumbnail`` (N×128×128×3),   ``tone_parameters`` if toned
                 with a grid ``box`` (N×4), and
                 ``picture`` if it refines
    inference    picture                                   the enhanced picture
    context      picture                                   dictionary of what is read off the
                                                           whole picture, by name
    fusing       dictionary of ``image``, the tone's share dictionary of the rest of it
                 of the context, and with a grid ``box``
    tile         dictionary of ``image``, the context,     the enhanced picture
                 and with a grid ``box``
    refined      dictionary of ``image`` and ``picture``   the refined picture
    refined_tile what ``tile`` takes, and ``picture``      the refined picture
    seen         dictionary of ``image``, ``thumbnail``,   the enhanced picture
                 and with a grid ``box``
    refined_seen what ``seen`` takes, and ``picture``      the refined picture
    ============ ========================================= ====================================

    ``picture`` is the picture at full size, N×2h×2w×3, that ``image``, N×h×w×3, was made of by
    halving; a network with a refinement takes it. It may be of the middle of ``image`` alone, as
    much smaller on each side as on the one across from it; so is the refined picture then. ``box``
    says which part of the whole picture each ``image`` is: top, left, height and width as shares of
    it; a network whose tone is a grid of gains takes it. ``thumbnail`` is the whole picture, and
    what the tone is read off.

    The dictionary of pictures holds ``le``, the enhanced picture (N×2h×2w×3; for ``unet``
    N×h×w×3); ``dr``, the detail branch's picture of that size, where there is a detail branch;
    ``tone``, the thumbnail after the tone, where there is a tone; and ``refined``, the enhanced
    picture with its full-size detail, where there is a refinement.

    An export computes in steps: the parts ``tone`` (picture to the tone's share of the context),
    ``encoder`` (picture, tone and box to all that the decoder takes, but for the tone, which it
    takes where it lifts shade), ``decoder`` (to the enhanced picture) and ``refiner`` (what encoder
    and decoder gave it, tone and ``picture`` to the refined picture). Where there is a refinement,
    the encoder gives its ``gain`` too, and the decoder a dictionary of ``features`` and ``folded``:
    the enhanced picture before its shade is lifted, N×h×w×12, with its 2×2 pixels behind each
    other.

    Args:
        part: how much of the network the model holds.
        name: of the model; None for its architecture's.
        graph: the :class:`neid_tf.models.graph.Graph` to cut the part from; None for a new one with
            fresh weights.
        **fields: of :class:`ModelConfig`.

    Raises:
        ValueError: for an unknown part or field, a bad value, or a part the network does not have.
    """

    def __init__(
        self,
        part: str = "whole",
        name: str | None = None,
        graph: Graph | None = None,
        **fields,
    ) -> None:
        config, part = ModelConfig(**fields), _FORMER_NAMES.get(part, part)
        if part not in PARTS:
            raise NeidError(f"part must be one of {', '.join(PARTS)}, not {part!r}")
        training = part == "training"
        graph = graph or Graph(config, training, detail=training or part == "whole")
        inputs, outputs = graph.cut(part)
        super().__init__(config, part, graph, inputs, outputs, name)

    def save_own_variables(self, store: MutableMapping) -> None:
        """Keep the refinement's weights in a file of Keras's, which has those of the part's layers.

        Args:
            store: that Keras gives, from names to arrays.
        """
        for name, variable in self._of_refinement().items():
            store[name] = np.asarray(variable)

    def load_own_variables(self, store: MutableMapping) -> None:
        """Take the refinement's weights from a file of Keras's.

        Args:
            store: that Keras gives, from names to arrays.

        Raises:
            NeidError: where the file has none.
        """
        variables = self._of_refinement()
        if not variables.keys() <= set(store.keys()):
            made = "the file holds no weights of the refinement"
            raise NeidError(f"{made}, as those of before 0.23.0: save the model anew")
        for name, variable in variables.items():
            variable.assign(store[name])

    def _of_refinement(self):
        """Return the variables with which the part ``inference`` is refined, by name."""
        if not (self.config.refinement and self.part == "inference"):
            return {}
        from neid_tf.models import transfer  # It is made of this class.

        own = {id(variable) for variable in self.weights}
        named = transfer.named_variables(transfer.as_part(self, "refined"))
        return {name.replace("/", "."): v for name, v in named.items() if id(v) not in own}
