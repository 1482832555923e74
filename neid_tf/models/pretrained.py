"""Trained models: those of the package by name, others by the path of their weights file."""

from __future__ import annotations

import dataclasses
import os
import typing
from pathlib import Path

import numpy as np

from neid_tf.models.config import RIVALS
from neid_tf.models.presets import FOLDER, current, nearest, presets
from neid_tf.models.weights_file import WeightsError, WeightsFile, damage_named, write
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import optional_import

if typing.TYPE_CHECKING:
    from neid_tf.models.neid import NEID
    from neid_tf.models.rivals import Rival

__all__ = [
    "DEFAULT",
    "WeightsError",
    "architecture",
    "card",
    "load_pretrained",
    "names",
    "onnx_file",
    "rival_file",
    "rivals",
    "save",
]

DEFAULT = "neid"

_LOADABLE = ("whole", "training", "inference", "refined")


def names() -> tuple[str, ...]:
    """Return the names of the weights that come with the package."""
    return tuple(preset.name for preset in presets())


def load_pretrained(name: str | os.PathLike = DEFAULT) -> NEID | Rival:
    """Load a trained model.

    Args:
        name: one of :func:`names`, or the path of a weights file.

    Returns:
        A Keras model from float RGB N×h×w×3 in [0, 1] to N×2h×2w×3, or for a rival of Table 1
        N×h×w×3, not clipped. Its ``card`` says how it was trained.

    Raises:
        WeightsError: where there is no such name or file, or the file is damaged.
        MissingLibraryError: where Keras or its backend is not installed.
    """
    with optional_import("a Keras model"):
        from neid_tf import models
        from neid_tf.models import neid  # noqa: F401 (it is what needs Keras)

    with WeightsFile(_locate(name)) as file:
        file.check_size()
        model = _filled(file)
    if model.part != "inference":
        model = models.inference_model(model)
    model.card = file.header["card"]
    return model


def _filled(file):
    """Return the model of a file with its weights."""
    from neid_tf import models
    from neid_tf.models import backbone
    from neid_tf.models.transfer import named_variables

    header, inside = file.header, file.names()
    with damage_named(file.path):
        if header["part"] not in _LOADABLE:
            raise NeidError(f"it holds a {header['part']!r} part of a model")
        model = models.made(file.config, part=header["part"], name=header["name"])
        variables, shared = named_variables(model), set()
        if header["format"] > 1:
            shared = {name for name in backbone.stored() if name in variables} - set(inside)
        if shared and header.get("backbone") != backbone.digest():
            raise NeidError("it was made with other frozen features than the package's")
        wanted = {n: tuple(v.shape) for n, v in variables.items() if n not in shared}
        for name, array in file.arrays(wanted).items():
            variables[name].assign(array)
    return model


def onnx_file(name: str = DEFAULT) -> Path:
    """Return the path of the ONNX file of packaged weights.

    Raises:
        WeightsError: where there is none of this name.
    """
    name = current(name)
    path = FOLDER / f"{name}.onnx"
    if name not in names() or not path.is_file():
        raise WeightsError(name, "not a name of the package that has an ONNX file")
    return path


def rivals() -> tuple[str, ...]:
    """Return the learned rivals of Table 1 whose weights come with the package."""
    return tuple(name for name in RIVALS if (FOLDER / "rivals" / f"{name}.npz").is_file())


def rival_file(name: str) -> Path:
    """Return the path of the package's weights of a learned rival of Table 1.

    Args:
        name: one of :data:`neid_tf.models.RIVALS`.

    Raises:
        WeightsError: where the package has none.
    """
    path = FOLDER / "rivals" / f"{name}.npz"
    if name not in rivals():
        raise WeightsError(
            name,
            "its weights are not in the package: neid train makes them (docs/rivals.md says how), "
            f"and --weights=FILE (neid compare: --methods={name}=FILE) takes them",
        )
    return path


def architecture(name: str | os.PathLike) -> str:
    """Return what weights are of: the ``architecture`` of their configuration.

    Raises:
        WeightsError: as for :func:`load_pretrained`.
    """
    with WeightsFile(_locate(name)) as file:
        return file.config.architecture


def card(name: str | os.PathLike = DEFAULT) -> dict:
    """Return how weights were trained: a dictionary (command, epochs, seed, scores, …).

    Raises:
        WeightsError: as for :func:`load_pretrained`.
    """
    with WeightsFile(_locate(name)) as file:
        return file.header["card"]


def _locate(name):
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise NeidError(f"weights are named by a name of the package or a path, not {name!r}")
    name = current(name)
    if name in names():
        return FOLDER / next(p.weights for p in presets() if p.name == name)
    path = Path(name)
    if not path.is_file():
        known, near = ", ".join(names()) or "none", nearest(os.fspath(name))
        meant = f"; did you mean {near}?" if near else ""
        raise WeightsError(
            name, f"neither a weights file nor a name of the package ({known}){meant}"
        )
    return path


def save(
    model: NEID | Rival, path: str | os.PathLike, card: dict | None = None, dtype: str = "float16"
) -> None:
    """Write a model's weights, whole or not at all.

    The frozen features (:mod:`neid_tf.models.backbone`), which are in the package, are left out
    where they are as they are there.

    Args:
        model: a :class:`neid_tf.models.NEID` or ``Rival``.
        path: the file to write; what is there is replaced.
        card: what is known of the training, a dictionary that JSON can hold.
        dtype: of the stored arrays; ``float16`` halves the file.

    Raises:
        WeightsError: where weights are not finite, or not in ``dtype``; what is there stays.
        ValueError: where ``dtype`` is not float16, float32 or float64.
    """
    if str(dtype) not in ("float16", "float32", "float64"):
        raise NeidError(f"weights are stored as float16, float32 or float64, not {dtype}")
    from neid_tf.models import backbone
    from neid_tf.models.transfer import as_part, named_variables

    if model.config.refinement:
        model = as_part(model, "refined")  # It holds the refinement as well.
    values = {name: np.asarray(variable) for name, variable in named_variables(model).items()}
    packaged = backbone.stored()
    shared = {name for name in packaged if np.array_equal(packaged[name], values.get(name))}
    with np.errstate(over="ignore"):  # What became infinite is refused by its name.
        arrays = {name: v.astype(dtype) for name, v in values.items() if name not in shared}
    header = {
        "name": model.name,
        "part": model.part,
        "config": dataclasses.asdict(model.config),
        "card": card or {},
    }
    if shared:
        header["backbone"] = backbone.digest()
    write(path, arrays, header)
