"""The TensorBoard log of a run: a curve for each number, and panels of pictures."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from neid_tf import models
from neid_tf.data.pairs import Pairs
from neid_tf.inference.enhance import enhance
from neid_tf.inference.network import FunctionNetwork, Network, as_network
from neid_tf.pixels.samples import to_one_type
from neid_tf.support.errors import NeidError


class Board:
    """Writes the log; on Keras backends other than TensorFlow it does nothing.

    Args:
        folder: where the log is written.
    """

    def __init__(self, folder: Path) -> None:
        self.writer, self.folder = None, folder
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            with self._errors_named():
                self.writer = tf.summary.create_file_writer(str(folder))

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Name the folder where it can't be written, such as on a full disk."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            reason = error.message.rpartition("}}")[2].strip()
            raise NeidError(f"{self.folder}: can't be written: {reason}") from error

    def scalars(self, row: Mapping[str, float]) -> None:
        """Write the numbers of an epoch, which the row names as ``epoch``."""
        if self.writer is None:
            return
        import tensorflow as tf

        with self._errors_named(), self.writer.as_default():
            for name, value in row.items():
                tf.summary.scalar(name.replace("validation_", "validation/"), value, row["epoch"])
            self.writer.flush()

    def panel(self, whole: models.NEID, pairs: Pairs, epoch: int) -> None:
        """Write a panel of the first pairs and what the network makes of them.

        Args:
            whole: the network, part ``whole``.
            pairs: at least one pair.
            epoch: the number of epochs done.
        """
        if self.writer is None:
            return
        import tensorflow as tf

        made = panel(whole, pairs)[None]
        with self._errors_named(), self.writer.as_default():
            tf.summary.image("panel", made, epoch)
            self.writer.flush()


def panel(whole: models.NEID, pairs: Pairs, count: int = 3) -> np.ndarray:
    """Return rows of pictures side by side: input, enhanced, DR where there is one, reference.

    Args:
        whole: the network, part ``whole``.
        pairs: the pairs to show, of any sizes.
        count: how many of them, from the first on.

    Returns:
        H×W×3 of the pictures' type.
    """
    rows = []
    for low, high in zip(pairs.low[:count], pairs.high[:count], strict=True):
        pictures = [low, *(enhance(low, part) for part in _parts(whole)), high]
        rows.append(np.concatenate(to_one_type(pictures), axis=1))
    rows = to_one_type(rows)
    widest = max(row.shape[1] for row in rows)
    rows = [np.pad(row, [(0, 0), (0, widest - row.shape[1]), (0, 0)]) for row in rows]
    return np.concatenate(rows, axis=0)


def _parts(whole: models.NEID) -> list[Network]:
    """Return networks from a small picture to the enhanced picture, and to DR's."""
    networks = [as_network(models.inference_model(whole))]
    if "dr" in whole.output:
        detail = keras.Model(whole.graph.inputs["image"], whole.output["dr"])
        networks.append(FunctionNetwork(detail.predict_on_batch, whole.config.scale))
    return networks
