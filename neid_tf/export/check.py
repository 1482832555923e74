"""What every export has to pass: it may be written, and it computes what the Keras model does."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from neid_tf import models
from neid_tf.inference import runtimes
from neid_tf.inference.network import Network
from neid_tf.models.graph import THUMBNAIL
from neid_tf.support.errors import NeidError

TOLERANCE = 1.0 / 255.0
"""How far a float export may be from the Keras model: one level of an 8-bit picture."""
LEAST_PSNR = 30.0
"""How near to the float model an int8 export must be, in dB."""
SHAPES = ((2, 17, 23), (1, 48, 32))
"""The batches that an export is tried with: number, height and width."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How an export compares with the Keras model, both clipped to [0, 1].

    Attributes:
        difference: the largest difference of a sample.
        psnr: in dB; inf where all is equal.
    """

    difference: float
    psnr: float


def checked_target(
    model: object, path: str | os.PathLike, overwrite: bool, folder: bool = False
) -> Path:
    """Return the path of an export, if it may be written.

    Args:
        model: what is to be exported.
        path: the file or folder to write.
        overwrite: whether one that is there may be replaced.
        folder: the export is a folder, a SavedModel.

    Raises:
        NeidError: for a model that can't be exported, or a path that is taken.
    """
    path, part = Path(path), getattr(model, "part", None)
    if part != "inference":
        raise NeidError(f"a model of part 'inference' is exported, not {part!r}")
    if keras.backend.backend() != "tensorflow":
        raise NeidError(f"exporting needs Keras's TensorFlow, not {keras.backend.backend()}")
    if path.exists() and not overwrite:
        raise NeidError(f"{path}: is there already, and not to be overwritten")
    if folder:
        runtimes.check_replaced(path)
    elif path.exists() and not path.is_file():
        raise NeidError(f"{path}: is there already, and no file")
    return path


def trials(shapes: Iterable[tuple[int, int, int]] = SHAPES) -> list[np.ndarray]:
    """Return float32 batches of noise, most of it dark.

    Args:
        shapes: number, height and width of the pictures of each batch.
    """
    random = np.random.default_rng(0)
    return [random.random((*shape, 3), np.float32) ** 3 for shape in shapes]


def compare(
    model: models.NEID, network: Network, batches: Iterable[np.ndarray], quantized: bool = False
) -> Comparison:
    """Compare an export with its Keras model, and refuse one that is off.

    They are compared in every way that the export is used: also with the full-size picture where
    it refines, and under a context that is given where it reads one.

    Args:
        model: the Keras model.
        network: the export in its runtime.
        batches: float32 N×h×w×3 in [0, 1].
        quantized: the export computes with 8-bit integers, and is allowed more.

    Raises:
        NeidError: where the export is farther from the model than :data:`TOLERANCE`, or
            :data:`LEAST_PSNR` where it is quantized.
    """
    errors = [
        made - np.clip(np.asarray(expected), 0.0, 1.0)
        for batch in batches
        for made, expected in _made(network, model, batch)
    ]
    difference = float(max(np.abs(error).max() for error in errors))
    mean = np.mean([np.square(error, dtype=np.float64).mean() for error in errors])
    comparison = Comparison(difference, float(-10.0 * np.log10(mean)) if mean else float("inf"))
    if not (comparison.psnr >= LEAST_PSNR if quantized else difference <= TOLERANCE):
        raise NeidError(f"the export is off from the Keras model and not kept: {comparison}")
    return comparison


def _made(network, model, batch):
    """Yield what an export and its model make of a batch, in each way that the export is used."""
    yield network(batch), model(batch, training=False)
    given = {}
    if network.refines:
        full = batch.repeat(network.scale, axis=1).repeat(network.scale, axis=2)
        grain = np.random.default_rng(0).uniform(0.8, 1.2, full.shape).astype(np.float32)
        given = {"picture": np.clip(full * grain, 0.0, 1.0)}
        refined = models.as_part(model, "refined")
        yield network(batch, **given), refined({"image": batch} | given, training=False)
    if network.context:
        box = np.float32([[0.25, 0.0, 0.5, 1.0]]).repeat(len(batch), axis=0)
        read = network.read_context(batch)
        part, expected = _given_to_a_tile(network, model, batch)
        for full in [{}, given] if given else [{}]:
            tile = models.as_part(model, f"refined_{part}" if full else part)
            inputs = {"image": batch} | _turned(expected) | full
            inputs |= {"box": box} if model.graph.place else {}
            made = network.run_with_context(batch, _turned(read), box, **full)
            yield made, tile(inputs, training=False)


def _given_to_a_tile(network, model, batch):
    """Return the part that an export is of where it is given a context, and that context."""
    if runtimes.SEEN in network.context:
        return "seen", {runtimes.SEEN: models.area_resize(batch, THUMBNAIL)}
    return "tile", models.as_part(model, "context")(batch, training=False)


def _turned(context):
    """Return the context of each picture as that of another, so that what is given counts."""
    return {name: np.asarray(array)[::-1] for name, array in context.items()}
