"""Weights files: half-precision arrays, the model's description and its card in one ``.npz``."""

import dataclasses
import importlib.resources
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from neid_tf.support import files
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import optional_import

DEFAULT = "neid"
_FORMAT = 1


class WeightsError(NeidError):
    """A weights file that is missing, damaged or not one of ours; the message names it."""


def names():
    """Return the names of the weights that come with the package."""
    folder = importlib.resources.files("neid_tf.models") / "weights"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(f.name[: -len(".npz")] for f in folder.iterdir() if f.name.endswith(".npz"))
    )


def load_pretrained(name=DEFAULT):
    """Load a trained model.

    Args:
        name: one of :func:`names`, or the path of a weights file.

    Returns:
        A Keras model from float RGB N×h×w×3 in [0, 1] to N×2h×2w×3, not clipped. Its ``card``
        says how it was trained.

    Raises:
        WeightsError: where there is no such name or file, or the file is damaged.
        MissingLibraryError: where Keras or its backend is not installed.
    """
    with optional_import("a Keras model"):
        from neid_tf import models
        from neid_tf.models.neid import NEID

    arrays, header = _read(_locate(name))
    try:
        model = NEID(part=header["part"], name=header["name"], **header["config"])
        model.set_weights(
            [arrays[f"w{index}"].astype(np.float32) for index in range(len(model.weights))]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{name}: the weights do not fit the model they name: {error}"
        ) from error
    if model.part != "inference":
        model = models.inference_model(model)
    model.card = header["card"]
    return model


def onnx_file(name=DEFAULT):
    """Return the path of the ONNX file of packaged weights.

    Raises:
        WeightsError: where there is none of this name.
    """
    path = importlib.resources.files("neid_tf.models") / "weights" / f"{name}.onnx"
    if name not in names() or not path.is_file():
        raise WeightsError(f"{name}: not a name of the package that has an ONNX file")
    return path


def card(name=DEFAULT):
    """Return how weights were trained: a dictionary (command, epochs, seed, scores, …)."""
    return _read(_locate(name), only_header=True)[1]["card"]


def _locate(name):
    packaged = importlib.resources.files("neid_tf.models") / "weights" / f"{name}.npz"
    if name in names():
        return packaged
    path = Path(name)
    if not path.is_file():
        known = ", ".join(names()) or "none"
        raise WeightsError(f"{name}: neither a weights file nor a name of the package ({known})")
    return path


def _read(path, only_header=False):
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = (
                {} if only_header else {key: file[key] for key in file.files if key != "header"}
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(f"{path}: not a readable weights file: {error}") from error
    if header.get("format") != _FORMAT:
        raise WeightsError(f"{path}: weights format {header.get('format')!r}, expected {_FORMAT}")
    return arrays, header


def save(model, path, card=None, dtype="float16"):
    """Write a model's weights, whole or not at all.

    Args:
        model: a :class:`neid_tf.models.NEID`.
        path: the file to write; what is there is replaced.
        card: what is known of the training, a dictionary that JSON can hold.
        dtype: of the stored arrays; ``float16`` halves the file.
    """
    header = {
        "format": _FORMAT,
        "name": model.name,
        "part": model.part,
        "config": dataclasses.asdict(model.config),
        "card": card or {},
    }
    arrays = {f"w{index}": array.astype(dtype) for index, array in enumerate(model.get_weights())}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=np.array(json.dumps(header)), **arrays)
    files.write_whole(path, buffer.getvalue())
