"""The enhancing function that a method's name stands for: NEID, or one of Table 1's rivals."""

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from neid_tf.inference import providers
from neid_tf.inference.network import Network, as_network
from neid_tf.models.config import RIVALS as LEARNED
from neid_tf.pixels.samples import from_float, to_float
from neid_tf.support import keras_start
from neid_tf.support.errors import UsageError
from neid_tf.support.libraries import optional_import

CLASSICAL = ("msr", "npe", "dong", "mf", "lime", "crm", "bimef")
METHODS = ("neid", *LEARNED, *CLASSICAL)
RUNTIMES = ("tensorflow", "saved_model", "onnx", "tensorrt", "litert")
DEFAULT = "neid"
"""The name of the package's weights that stands for what a method has of its own."""
FASTEST = ("onnx", "tensorflow")
"""The runtimes that run the package's weights, on a CPU the fastest first (``neid benchmark``)."""


def check(
    method: str,
    weights: str,
    scale: int = 1,
    runtime: str = "tensorflow",
    precision: str = "float32",
) -> None:
    """Raise what :func:`load` would for a bad method, scale or weights, without loading any.

    Args:
        method: one of :data:`METHODS`.
        weights: as for :func:`load_network`.
        scale: 1 or 2; all methods but ``neid`` know 1 only.
        runtime: as for :func:`load_network`; the other methods know TensorFlow at most.
        precision: as for :func:`load_network`; the other methods know float32 only.

    Raises:
        UsageError: for an unknown method, a scale, a runtime or a precision that it does not do,
            weights of another method, or weights for a method that has none.
        WeightsError, ModelFileError: where the weights can't be read, or are no export for the
            runtime.
    """
    if method not in METHODS:
        raise UsageError(f"--method is one of {', '.join(METHODS)}, not {method!r}")
    if method != "neid" and scale != 1:
        raise UsageError(f"--scale=2 needs --method=neid, {method} keeps the size")
    if method != "neid" and precision != "float32":
        raise UsageError(f"--precision={precision} needs --method=neid")
    if method != "neid" and runtime not in ("auto", "tensorflow"):
        raise UsageError(f"--runtime={runtime} needs --method=neid, not {method}")
    if method in LEARNED:
        _check_weights(_of_rival(method, weights), method)
    elif method == "neid":
        _chosen(weights, runtime, precision)
    else:
        if weights not in ("", DEFAULT):
            raise UsageError(f"--method={method} has no weights, but --weights={weights}")
        _classical(method)


def _check_weights(weights, method):
    """Refuse weights that can't be read, or that are another method's."""
    from neid_tf.models import pretrained
    from neid_tf.models.config import phases_to_come

    found = pretrained.architecture(weights)
    of = found if found in LEARNED else "neid"
    if of != method:
        raise UsageError(f"{weights} has weights of {of}, --method is {method}")
    if of in LEARNED and (missing := phases_to_come(of, pretrained.card(weights))):
        raise UsageError(f"{weights}: {of} lacks what --train={missing[0]} learns")


def weights_named(method: str, weights: str) -> str | None:
    """Return the weights that a record of a method names; None for its own, or if it has none.

    Args:
        method: one of :data:`METHODS`.
        weights: as they were asked for; the default of a rival is its own.
    """
    is_named = method == "neid" or (method in LEARNED and weights not in ("", DEFAULT))
    return weights if is_named else None


def _of_rival(method, weights):
    """Return the path of a rival's weights: the package's in place of the default.

    Raises:
        UsageError: for the name of other weights of NEID.
    """
    from neid_tf.models import pretrained

    if weights in ("", DEFAULT):
        return pretrained.rival_file(method)
    if _is_packaged(weights):
        raise UsageError(f"--weights={weights} needs --method=neid, not {method}")
    return weights


def load(
    method: str,
    weights: str,
    scale: int = 1,
    strength: float = 1.0,
    tile: int | None = None,
    runtime: str = "tensorflow",
    threads: int | None = None,
    precision: str = "float32",
    shown: Callable[[list], Iterable] = iter,
) -> Callable[[np.ndarray], np.ndarray]:
    """Make a function from H×W×3 RGB pixels (uint8 or uint16) to enhanced ones.

    Args:
        method: one of :data:`METHODS`.
        weights: for ``neid``: as for :func:`load_network`; for a learned rival the path of its
            weights, or :data:`DEFAULT` for those of the package; else empty.
        scale: 1 or 2; all methods but ``neid`` know 1 only.
        strength: see :func:`neid_tf.enhance`.
        tile: side of tiles in input pixels; None for a size that fits.
        runtime, threads, precision: as for :func:`load_network`.
        shown: shows how far a large picture is; see :class:`neid_tf.inference.tiles.Tiled`.
    """
    check(method, weights, scale, runtime, precision)
    if method == "neid":
        network = load_network(weights, runtime, threads, precision)
        return _neid(network, scale, strength, tile, shown)
    if method in LEARNED:
        return _neid(_keras_model(_of_rival(method, weights)), scale, strength, tile)
    return functools.partial(_enhanced_classically, _classical(method), strength=strength)


def load_all(names: Sequence[str], weights: str) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Make the functions of several methods, by the names that the paper prints.

    Args:
        names: of :data:`METHODS`; ``NAME=FILE`` for a network with weights of its own. One that is
            named with several weights has them in its names.
        weights: for ``neid``: as for :func:`load`; the other networks have the package's.

    Raises:
        UsageError: for an unknown name, or weights of a classical method.
    """
    usual = dict.fromkeys(LEARNED, DEFAULT) | {"neid": weights}
    given = {}
    for name, _, file in (item.partition("=") for item in names):
        if name not in METHODS:
            raise UsageError(f"--methods are of {', '.join(METHODS)}, not {name!r}")
        if file and name in CLASSICAL:
            raise UsageError(f"--methods: {name} has no weights, but {name}={file}")
        given[name, file or usual.get(name, "")] = None
    named = [name for name, _ in given]
    labels = [f"{title(n)} {file}" if named.count(n) > 1 else title(n) for n, file in given]
    rows = [(*both, reference_runtime(both[1], both[0])) for both in given]
    for name, file, runtime in rows:
        check(name, file, runtime=runtime)  # All of them, before the first takes its time to load.
    functions = [load(name, file, runtime=runtime) for name, file, runtime in rows]
    return dict(zip(labels, functions, strict=True))


def title(name: str) -> str:
    """Return a method's name as the paper prints it."""
    return _TITLES.get(name, name.upper())


_TITLES = {"dong": "Dong", "retinexnet": "Retinex-Net", "kind": "KinD"}
"""What the paper does not print in capitals."""


def _neid(model, scale, strength, tile, shown=iter):
    from neid_tf.inference import tiles
    from neid_tf.inference.enhance import Enhancement, halves

    side = 2 if halves(as_network(model), scale) else 1
    pixels = tiles.TILE if tile is None else max(tile // side, 32)
    return Enhancement(tiles.in_tiles(model, pixels, shown), scale, strength)


def load_network(
    weights: str,
    runtime: str = "tensorflow",
    threads: int | None = None,
    precision: str = "float32",
) -> Network:
    """Load a network into a runtime.

    Args:
        weights: name or path of weights, or the path of an export.
        runtime: one of :data:`RUNTIMES`, or ``auto``: see :func:`choose_runtime`.
        threads: as for :func:`neid_tf.inference.runtimes.load`; TensorFlow has one setting for a
            process.
        precision: what the network computes in, float32 or bfloat16; the latter in TensorFlow only.

    Raises:
        UsageError: for weights, a runtime and a precision that do not go together.
        MissingLibraryError: where the runtime is not installed.
    """
    runtime = _chosen(weights, runtime, precision)
    from neid_tf.inference import runtimes
    from neid_tf.models import presets, pretrained

    if runtime == "tensorflow":
        network = _keras_model(weights, precision)
    else:
        path = pretrained.onnx_file(weights) if _is_packaged(weights) else weights
        network = runtimes.load(path, runtime, threads)
    if (name := presets.current(weights)) != weights:
        network.notes = (*network.notes, f"--weights={weights}: {name} has taken its place")
    return network


def _chosen(weights, runtime, precision):
    """Return the runtime, with ``auto`` resolved; refuse what does not fit, or is missing."""
    if not weights:
        raise UsageError("--weights is empty: it is a name or a path")
    if runtime == "auto":
        in_any = precision != "float32" and _is_packaged(weights)
        runtime = "tensorflow" if in_any else choose_runtime(weights)
    if precision != "float32" and runtime != "tensorflow":
        raise UsageError(f"--precision={precision} needs TensorFlow, not {runtime}")
    from neid_tf.inference import runtimes

    if runtime == "tensorflow":
        _check_weights(weights, "neid")
    elif not _is_packaged(weights):
        runtimes.check(weights, runtime)
    elif runtime not in ("onnx", runtimes.TENSORRT):
        export = f"--weights=FILE of neid export --format={runtime}"
        raise UsageError(f"--runtime={runtime} needs {export}")
    return runtime


def _is_packaged(weights):
    """Tell whether weights are of the package, by a name of today or of before."""
    from neid_tf.models import presets, pretrained

    return presets.current(weights) in pretrained.names()


def choose_runtime(weights: str) -> str:
    """Return the fastest installed runtime for weights: an export's own; else see ``--runtime``."""
    from neid_tf.inference import runtimes

    if _is_packaged(weights):
        # TensorFlow comes first with a card, but for an ONNX Runtime that knows the card too.
        has_card = shutil.which("nvidia-smi") is not None
        order = FASTEST[::-1] if has_card and not providers.offered() else FASTEST
        return next((name for name in order if _is_installed(name)), FASTEST[0])
    if Path(weights).is_dir() or Path(weights).suffix in filter(None, runtimes.SUFFIXES.values()):
        return runtimes.runtime_of(weights)
    return "tensorflow"


def reference_runtime(weights: str, method: str = "neid") -> str:
    """Return the runtime that scores are made with: TensorFlow, or where it is missing another.

    Args:
        weights: name or path of weights, or the path of an export.
        method: one of :data:`METHODS`.
    """
    if method != "neid":
        return "tensorflow"
    has_keras = _is_installed("tensorflow") and _is_installed("keras")
    if has_keras and _is_packaged(weights):
        return "tensorflow"
    return choose_runtime(weights)


def _is_installed(runtime):
    # Keras computes on another backend where its variable says so.
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    library = {"onnx": "onnxruntime", "tensorflow": backend}.get(runtime, runtime)
    return bool(importlib.util.find_spec(library))


def _keras_model(weights, precision="float32"):
    with optional_import("the network in TensorFlow"):
        keras_start.import_keras()
    from neid_tf.models.precision import computing_in
    from neid_tf.models.pretrained import load_pretrained

    with computing_in(precision):
        return as_network(load_pretrained(weights))


@functools.cache
def load_for_video(
    method: str, weights: str, runtime: str = "tensorflow", precision: str = "float32"
) -> Network:
    """Return the network that videos are enhanced with.

    Args:
        method: ``neid``.
        weights, runtime, precision: as for :func:`load_network`.

    Raises:
        UsageError: for another method.
    """
    if method != "neid":
        raise UsageError(f"videos need --method=neid, not {method}")
    return load_network(weights, runtime, precision=precision)


def _classical(method):
    """Return the function of a classical method."""
    with optional_import(f"--method={method}"):
        from neid_tf import baselines
    return baselines.get(method)


def _enhanced_classically(function, pixels, strength):
    from neid_tf.inference.enhance import adjust

    image = to_float(pixels, np.float64)
    output = np.clip(function(image), 0.0, 1.0)
    if strength != 1.0:
        output = adjust(image, output, strength)
    return from_float(output, pixels.dtype)
