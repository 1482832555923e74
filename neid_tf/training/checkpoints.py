"""Checkpoints of a training run: weights, optimizer and the epochs done, in one file.

``checkpoint.npz`` is the last one and ``checkpoint_before.npz`` the one before it, which a run goes
on from where the last is damaged; that one is called ``checkpoint_damaged.npz`` then.
"""

import contextlib
import io
import os
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from neid_tf.support import files
from neid_tf.support.errors import NeidError, reason_of

LAST, BEFORE, DAMAGED = "checkpoint.npz", "checkpoint_before.npz", "checkpoint_damaged.npz"
_COUNT = "optimizer/iteration"
_OLD = {"weights": "n", "optimizer": "o"}


def exist(workdir: Path) -> bool:
    """Tell whether a run has left a checkpoint in a folder."""
    return any((workdir / name).exists() for name in (LAST, BEFORE))


def save(
    workdir: Path, network: Any, optimizer: Any, epoch: int, best: float, steps: int = 0
) -> None:
    """Write a checkpoint; the one that was the last is kept beside it.

    Args:
        workdir: folder of the run.
        network: the Keras model that is trained.
        optimizer: its Keras optimizer, built.
        epoch: the number of epochs done.
        best: the best validation score so far, in dB.
        steps: of an epoch; 0 where that never changes.
    """
    arrays = {name: np.asarray(v) for name, v in _variables(network, optimizer).items()}
    buffer = io.BytesIO()
    np.savez(buffer, epoch=epoch, best=best, steps=steps, **arrays)
    last = workdir / LAST
    with files.whole_file(last) as temporary:
        temporary.write_bytes(buffer.getvalue())
        if last.exists():
            os.replace(last, workdir / BEFORE)


def restore(workdir: Path, network: Any, optimizer: Any, steps: int = 0) -> tuple[int, float]:
    """Load the last checkpoint, or where it is damaged the one before; say so then.

    Args:
        workdir: folder of the run.
        network: the Keras model to train.
        optimizer: its Keras optimizer, built.
        steps: of an epoch now: where there were more or fewer, the optimizer counts those that
            are done anew, so that the learning rate is that of the epoch.

    Returns:
        The number of epochs done and the best validation score so far; 0 and −∞ where there is
        no checkpoint.

    Raises:
        NeidError: naming the file, where there are checkpoints and none can be read.
    """
    variables, damage = _variables(network, optimizer), []
    for path in (workdir / LAST, workdir / BEFORE):
        if not path.exists():
            continue
        try:
            values, epoch, best, before = _read(path, variables)
        except NeidError as error:
            damage.append(error)
            continue
        if damage:
            print(f"{damage[0]}; going on from {path.name}", file=sys.stderr, flush=True)
            # The next one that is saved must not put it in the place of the sound one.
            with contextlib.suppress(FileNotFoundError):
                os.replace(workdir / LAST, workdir / DAMAGED)
        for name, variable in variables.items():
            variable.assign(values[name])
            if name.startswith(_COUNT) and before and steps not in (0, before):
                variable.assign(round(int(values[name]) * steps / before))
        return epoch, best
    if damage:
        raise NeidError("; ".join(map(str, damage))) from damage[0]
    return 0, float("-inf")


def restore_network(workdir: Path, network: Any) -> None:
    """Load the weights alone of the last checkpoint.

    Args:
        workdir: folder of the run.
        network: the Keras model that takes them.

    Raises:
        NeidError: naming the file, where there is none that can be read.
    """
    weights = _weights(network)
    values, _, _, _ = _read(workdir / LAST, weights)
    for name, variable in weights.items():
        variable.assign(values[name])


def _read(path: Path, variables: dict[str, Any]) -> tuple[dict[str, np.ndarray], int, float, int]:
    """Return the arrays that variables take, the epochs done, the best score, an epoch's steps."""
    try:
        content = io.BytesIO(path.read_bytes())
        if not zipfile.is_zipfile(content):
            raise ValueError("not a zip file")
        with np.load(content, allow_pickle=False) as file:
            names = _stored_names(file.files, list(variables))
            values = {name: file[stored] for name, stored in names.items()}
            epoch, best = int(file["epoch"]), float(file["best"])
            steps = int(file["steps"]) if "steps" in file else 0  # Until version 0.16.
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise NeidError(f"{path}: not a readable checkpoint: {reason_of(error)}") from error
    for name, variable in variables.items():
        if values[name].shape != tuple(variable.shape):
            shapes = f"{values[name].shape}, not {tuple(variable.shape)}"
            raise NeidError(f"{path}: not a checkpoint of this run: {name} is {shapes}")
    return values, epoch, best, steps


def _stored_names(stored: list[str], names: list[str]) -> dict[str, str]:
    """Return what each variable is called in a file; version 0.5 counted them."""
    if "n0" not in stored:
        return {name: name for name in names}
    by_kind = {letter: [n for n in names if n.startswith(kind)] for kind, letter in _OLD.items()}
    return {n: f"{letter}{i}" for letter, kind in by_kind.items() for i, n in enumerate(kind)}


def _variables(network: Any, optimizer: Any) -> dict[str, Any]:
    """Return what a checkpoint holds, by name."""
    return _weights(network) | _states(optimizer)


def _weights(network: Any) -> dict[str, Any]:
    """Return a network's variables by ``weights/LAYER/NAME``, in its order."""
    names = {
        id(variable): f"weights/{layer.name}/{_name_inside(variable.path, layer.name)}"
        for layer in network.layers
        for variable in layer.variables
    }
    return {names[id(variable)]: variable for variable in network.variables}


def _name_inside(path: str, layer: str) -> str:
    """Return a variable's name in its layer; the state of a dropout is not under its name."""
    _, found, inside = path.rpartition(f"{layer}/")
    return inside if found else path.rpartition("/")[2]


def _states(optimizer: Any) -> dict[str, Any]:
    """Return an optimizer's variables by ``optimizer/NAME``, in its order."""
    named: dict[str, Any] = {}
    for variable in optimizer.variables:
        # The optimizer's own name, before the slash, counts those that the process has made.
        name = f"optimizer/{variable.path.partition('/')[2]}"
        # The scaling of losses has an optimizer inside, with variables of the same names.
        named[f"{name}_{len(named)}" if name in named else name] = variable
    return named
