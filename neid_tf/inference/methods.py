"""The enhancing function that a method's name stands for: NEID, or a classical method."""

import functools
import importlib.util
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from neid_tf.inference.network import KerasNetwork, Network
from neid_tf.pixels.samples import from_float, to_float
from neid_tf.support import keras_start
from neid_tf.support.errors import UsageError
from neid_tf.support.libraries import optional_import

METHODS = ("neid", "msr", "npe", "dong", "mf", "lime", "crm", "bimef")
RUNTIMES = ("tensorflow", "saved_model", "onnx", "litert")
FASTEST = ("onnx", "tensorflow")
"""The runtimes that run the package's weights, on a CPU the fastest first (``neid benchmark``)."""


def check(method: str, weights: str, scale: int = 1, runtime: str = "tensorflow") -> None:
    """Raise what :func:`load` would for a bad method, scale or weights, without loading any.

    Args:
        method: one of :data:`METHODS`.
        weights: as for :func:`load_network`.
        scale: 1 or 2; the classical methods know 1 only.
        runtime: as for :func:`load_network`.

    Raises:
        UsageError: for an unknown method, or a scale that it does not do.
        WeightsError: where the weights can't be read.
    """
    if method not in METHODS:
        raise UsageError(f"--method is one of {', '.join(METHODS)}, not {method!r}")
    if method != "neid":
        if scale != 1:
            raise UsageError(f"--scale=2 needs --method=neid, {method} keeps the size")
        return
    if runtime == "auto":
        runtime = choose_runtime(weights)
    if runtime == "tensorflow":
        from neid_tf.models import pretrained

        pretrained.card(weights)


def load(
    method: str,
    weights: str,
    scale: int = 1,
    strength: float = 1.0,
    tile: int | None = None,
    runtime: str = "tensorflow",
    threads: int | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Make a function from H×W×3 RGB pixels (uint8 or uint16) to enhanced ones.

    Args:
        method: one of :data:`METHODS`.
        weights: for ``neid``: as for :func:`load_network`.
        scale: 1 or 2; the classical methods know 1 only.
        strength: see :func:`neid_tf.enhance`.
        tile: side of tiles in input pixels; None for a size that fits.
        runtime, threads: as for :func:`load_network`.
    """
    check(method, weights, scale, runtime)
    if method == "neid":
        return _neid(load_network(weights, runtime, threads), scale, strength, tile)
    from neid_tf import baselines

    return functools.partial(_classical, baselines.get(method), strength=strength)


def load_all(names: Sequence[str], weights: str) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Make the functions of several methods, by the names that the paper prints.

    Args:
        names: of :data:`METHODS`.
        weights: for ``neid``: as for :func:`load_network`.

    Raises:
        UsageError: for an unknown name.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise UsageError(f"--methods are of {', '.join(METHODS)}, not {unknown[0]!r}")
    runtime = reference_runtime(weights)
    return {title(name): load(name, weights, runtime=runtime) for name in names}


def title(name: str) -> str:
    """Return a method's name as the paper prints it."""
    return name.capitalize() if name == "dong" else name.upper()


def _neid(model, scale, strength, tile):
    from neid_tf.inference import tiles
    from neid_tf.inference.enhance import Enhancement

    if model.tileable:
        pixels = tiles.TILE if tile is None else max(tile // (2 if scale == 1 else 1), 32)
        model = tiles.Tiled(model, pixels)
    return Enhancement(model, scale, strength)


def load_network(weights: str, runtime: str = "tensorflow", threads: int | None = None) -> Network:
    """Load a network into a runtime.

    Args:
        weights: name or path of weights, or the path of an export.
        runtime: one of :data:`RUNTIMES`, or ``auto``: see :func:`choose_runtime`.
        threads: as for :func:`neid_tf.inference.runtimes.load`; TensorFlow has one setting for a
            process.
    """
    runtime = choose_runtime(weights) if runtime == "auto" else runtime
    if runtime == "tensorflow":
        return _keras_model(weights)
    from neid_tf.inference import runtimes
    from neid_tf.models import presets, pretrained

    if presets.current(weights) not in pretrained.names():
        return runtimes.load(weights, runtime, threads)
    if runtime != "onnx":
        raise UsageError(
            f"--runtime={runtime} needs --weights=FILE of neid export --format={runtime}"
        )
    return runtimes.load(pretrained.onnx_file(weights), runtime, threads)


def choose_runtime(weights: str) -> str:
    """Return the fastest installed runtime for weights: an export's own; else see ``--runtime``."""
    from neid_tf.inference import runtimes
    from neid_tf.models import presets, pretrained

    if presets.current(weights) in pretrained.names():
        order = FASTEST[::-1] if shutil.which("nvidia-smi") else FASTEST
        return next((name for name in order if _is_installed(name)), FASTEST[0])
    if Path(weights).is_dir() or Path(weights).suffix in filter(None, runtimes.SUFFIXES.values()):
        return runtimes.runtime_of(weights)
    return "tensorflow"


def reference_runtime(weights: str) -> str:
    """Return the runtime that scores are made with: TensorFlow, or where it is missing another.

    Args:
        weights: name or path of weights, or the path of an export.
    """
    from neid_tf.models import presets, pretrained

    has_keras = _is_installed("tensorflow") and _is_installed("keras")
    if has_keras and presets.current(weights) in pretrained.names():
        return "tensorflow"
    return choose_runtime(weights)


def _is_installed(runtime):
    return bool(importlib.util.find_spec({"onnx": "onnxruntime"}.get(runtime, runtime)))


def _keras_model(weights):
    with optional_import("the network in TensorFlow"):
        keras_start.import_keras()
    from neid_tf.models.pretrained import load_pretrained

    return KerasNetwork(load_pretrained(weights))


@functools.cache
def load_for_video(method: str, weights: str, runtime: str = "tensorflow") -> Network:
    """Return the network that videos are enhanced with.

    Args:
        method: ``neid``.
        weights: as for :func:`load_network`.
        runtime: as for :func:`load_network`.

    Raises:
        UsageError: for another method.
    """
    if method != "neid":
        raise UsageError(f"videos need --method=neid, not {method}")
    return load_network(weights, runtime)


def _classical(function, pixels, strength):
    from neid_tf.inference.enhance import adjust

    image = to_float(pixels, np.float64)
    output = np.clip(function(image), 0.0, 1.0)
    if strength != 1.0:
        output = adjust(image, output, strength)
    return from_float(output, pixels.dtype)
