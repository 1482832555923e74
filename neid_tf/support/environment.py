"""What a measurement or a training run was made with."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from neid_tf.support.keras_start import native_stderr_held_back
from neid_tf.support.version import __version__

LIBRARIES = {
    "numpy": ("numpy",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf-nightly"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    "jax": ("jax",),
}
"""The libraries whose versions are noted, and the distributions that they come in."""

COMMIT = "NEID_TF_COMMIT"
"""The environment variable that tells the commit of a copy without its repository."""


def environment() -> dict[str, Any]:
    """Describe the machine and the versions a run uses, and the commit of a checkout.

    Returns:
        ``python``, ``machine``, ``numpy``, and where they are installed ``tensorflow``,
        ``onnxruntime`` and ``jax``; where they are loaded ``keras``, its ``backend``, and the
        ``gpus`` that TensorFlow sees; ``neid_tf`` and the ``commit``, None where the package is not
        run from a checkout of its own; for a copy of a checkout what :data:`COMMIT` tells.
    """
    described: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    described |= {name: v for name in LIBRARIES if (v := _version(name)) is not None}
    if "keras" in sys.modules:  # a run without it is not made to wait for it
        import keras

        described |= {"keras": keras.__version__, "backend": keras.backend.backend()}
    if sys.modules.get("tensorflow") is not None:
        described["gpus"] = _gpus()
    return described | {"neid_tf": __version__, "commit": _commit()}


def _version(library: str) -> str | None:
    for distribution in LIBRARIES[library]:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _gpus() -> list[str]:
    """Return the names of the graphics cards, without starting them."""
    import tensorflow as tf

    with native_stderr_held_back():
        devices = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return [detail.get("device_name", "unknown") for detail in details]


def _commit() -> str | None:
    """Return the commit of the repository that this file belongs to.

    A virtual environment may lie inside another repository, which does not track this file.
    """
    file = Path(__file__).resolve()
    described = ["describe", "--always", "--dirty", "--abbrev=12"]
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return os.environ.get(COMMIT)
    return _git(file.parent, *described)


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
