"""The model that ``fit`` trains for a learned rival of Table 1."""

import dataclasses
from typing import Any

import numpy as np

from neid_tf.data.pairs import Pairs
from neid_tf.models.rivals import Rival
from neid_tf.pixels.samples import from_float
from neid_tf.training.phases import PHASES
from neid_tf.training.trainer import Batch, Trainer


class RivalTrainer(Trainer):
    """A rival's network with the loss of one phase of its training.

    Args:
        network: part ``training``.
        train: the phase, see :data:`neid_tf.models.config.PHASES`.
        exposure: as for :class:`Trainer`.
    """

    def __init__(self, network: Rival, train: str, exposure: float = 0.0, **kwargs: Any) -> None:
        phase = PHASES[network.config.architecture][train]
        super().__init__(network, phase, exposure, train, **kwargs)
        self.enhances = phase.enhances

    def _forward(self, train: str) -> Any:
        for layer in self.network.layers:
            layer.trainable = layer.name.startswith(self.objective.learns)
        return self.objective.prepare(self.network)

    def _term_names(self) -> list[str]:
        return list(self.objective.names)

    def _tells_psnr(self) -> bool:
        return self.objective.tells_psnr

    def prepared(self, pairs: Pairs) -> Pairs:
        """Return the pairs to train on: for KinD, each picture stretched as it is at inference."""
        if self.network.config.architecture != "kind":
            return pairs
        low, high = (tuple(map(stretched, side)) for side in (pairs.low, pairs.high))
        return dataclasses.replace(pairs, low=low, high=high)

    def call(self, batch: Batch, training: bool = False) -> dict[str, dict[str, Any]]:
        """Return the outputs of the phase and their targets, both by name, for a batch.

        Args:
            batch: as it was loaded.
            training: not used.
        """
        low, _, targets = self.prepare(batch)
        outputs, targets = self.forward(low, targets["le"], batch["exposure"])
        return {"outputs": outputs, "targets": targets}


def stretched(picture: np.ndarray) -> np.ndarray:
    """Stretch a picture from its darkest sample, which becomes 0, to its brightest one, white.

    Args:
        picture: H×W×3, uint8 or uint16.

    Returns:
        The same, uint16.
    """
    least, largest = int(picture.min()), int(picture.max())
    share = (picture - np.float32(least)) / np.float32(max(largest - least, 1))
    return from_float(share, np.uint16)
