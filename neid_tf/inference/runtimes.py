"""Running exported models: ONNX Runtime and LiteRT without TensorFlow and Keras, and SavedModels.

``neid_tf.enhance(image, runtimes.load("neid.onnx"))`` works as with a Keras model.
"""

import os
import threading
from pathlib import Path

import numpy as np

from neid_tf.inference import providers
from neid_tf.inference.network import Network, boxes, margin_of
from neid_tf.pixels.resample import area_reduce
from neid_tf.pixels.samples import to_float
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import MissingLibraryError, optional_import
from neid_tf.support.machine import usable_cores

SUFFIXES = {"saved_model": "", "onnx": ".onnx", "litert": ".tflite"}
"""The runtimes, and how the names of their models end; a SavedModel is a folder."""
_OF_A_SAVED_MODEL = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}
TENSORRT = "tensorrt"
"""ONNX Runtime with TensorRT, for ``.onnx`` files."""

INPUT, OUTPUT = "image", "enhanced"
"""Names of a picture batch, and of what is made of it, in every exported model."""

GIVEN = "given_"
"""In ONNX files, what the names of the inputs of the context begin with."""
STEP, MARGIN, REFINED_MARGIN = "neid_tf_step", "neid_tf_margin", "neid_tf_refined_margin"
"""In ONNX files, the names of the number of pixels that tiles are to begin at multiples of, of a
tile's margin, and of what the refinement needs of that: see
:class:`neid_tf.inference.network.Network`."""
_PREFIXES = (GIVEN, "told_")  # The other is that of files from before.
SERVING = "serving_default"
"""The usual signature of a SavedModel or a LiteRT file."""
REFINED, SERVING_REFINED = "refined", "serving_refined"
"""The signatures that put details back, of a SavedModel and of a LiteRT file. LiteRT sorts them by
name, and programs that ask for none take the first."""
CONTEXT, TILE, REFINED_TILE = "context", "tile", "refined_tile"
"""The signatures of a SavedModel that read the context off pictures, and that are given it. Old
ones lack them."""
SERVING_SEEN, SERVING_REFINED_SEEN = "serving_seen", "serving_refined_seen"
"""The signatures of a LiteRT file that are also given what the tone is read off, :data:`SEEN`. Old
files lack them, as do those of networks without a tone."""
SEEN = "thumbnail"
"""The name of that input: the whole picture as a small grid of mean colours."""
BOX, PICTURE = "box", "picture"
"""The names of further inputs, which may be left out: see :class:`Network`."""
CONTEXT_ONLY = "context_only"
"""In ONNX files, the name of the input that leaves out all but the context; old files lack it."""
_LARGEST = 1024
# Of so many cores each does a batch of its own; more than those are given to one batch after the
# other, since each takes the memory of one.
_MOST_BESIDE = 4

# Its warnings are about what is meant to be: inputs that have a default.
_ONNX_ERRORS = 3


class ModelFileError(NeidError):
    """An exported model that is missing, damaged or not one of ours; the message names it."""


def check_replaced(folder: str | os.PathLike[str]) -> None:
    """Refuse to replace a folder, with all that is in it, that is not only a SavedModel.

    Raises:
        NeidError: naming what else is there.
    """
    if not os.path.exists(folder):
        return
    if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
        raise NeidError(f"{folder}: is there already, and no SavedModel")
    held = sorted(os.listdir(folder))
    if others := [name for name in held if name not in _OF_A_SAVED_MODEL]:
        raise NeidError(f"{folder}: holds {others[0]}, which is not of a SavedModel")


def load(
    path: str | os.PathLike, runtime: str | None = None, threads: int | None = None
) -> Network:
    """Load an exported model.

    Args:
        path: what :mod:`neid_tf.export` wrote: a folder, a ``.onnx`` or a ``.tflite`` file.
        runtime: one of :data:`SUFFIXES`: ``saved_model`` (needs TensorFlow), ``onnx``
            (onnxruntime) or ``litert`` (ai-edge-litert); or :data:`TENSORRT`; None goes by the
            path (:func:`runtime_of`).
        threads: CPU threads of ONNX Runtime (None: its own choice) or LiteRT (None: one a core).

    Returns:
        A :class:`neid_tf.inference.network.Network` of pictures from 1×1 up (see :class:`LiteRT`
        for its sizes), whose output is clipped to [0, 1].

    Raises:
        ModelFileError: for a path that is no export for this runtime.
        MissingLibraryError: where the runtime is not installed.
        ValueError: for an unknown runtime.
    """
    runtime = runtime_of(path) if runtime is None else runtime
    if runtime not in (known := (*SUFFIXES, TENSORRT)):
        raise NeidError(f"runtime must be one of {', '.join(known)}, not {runtime!r}")
    try:
        with optional_import(f"runtime {runtime!r}"):
            return _load(path, runtime, threads)
    except MissingLibraryError:
        raise
    except Exception as error:
        # Each runtime has errors of its own for files that it cannot read.
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        raise ModelFileError(f"{path}: cannot be run as {runtime}: {reason}") from error


def _load(path, runtime, threads):
    if runtime == "saved_model":
        return SavedModel(path)
    content = Path(path).read_bytes()
    if runtime == "litert":
        return LiteRT(content, threads)
    return Onnx(content, threads, tensorrt=runtime == TENSORRT)


def runtime_of(path: str | os.PathLike) -> str:
    """Tell a model's runtime by its path: a folder, ``.onnx`` or ``.tflite``.

    Raises:
        ModelFileError: for another path.
    """
    if Path(path).is_dir():
        return "saved_model"
    runtime = {suffix: name for name, suffix in SUFFIXES.items()}.get(Path(path).suffix)
    if runtime in (None, "saved_model"):
        raise ModelFileError(f"{path}: not a folder, .onnx or .tflite file: name its runtime")
    return runtime


def check(path: str | os.PathLike, runtime: str) -> None:
    """Refuse a path that can be no export for a runtime, without loading it.

    Raises:
        ModelFileError: where there is none, or its suffix is that of another runtime.
    """
    file = Path(path, "saved_model.pb" if runtime == "saved_model" else "")
    owner = {".npz": "tensorflow", ".onnx": "onnx", ".tflite": "litert"}.get(file.suffix)
    if file.is_file() and owner in (None, runtime, {TENSORRT: "onnx"}.get(runtime)):
        return
    if file.is_file():
        reason = f"it is for {owner}"
    elif Path(path).is_dir():
        reason = "it is a folder" + (f" without {file.name}" if runtime == "saved_model" else "")
    elif Path(path).is_file():
        reason = "it is no folder"
    else:
        reason = "there is no such file"
    raise ModelFileError(f"{path}: cannot be run as {runtime}: {reason}")


class _Exported(Network):
    """Checks batches; a runtime fills in ``_run``."""

    def __call__(self, batch, picture=None):
        return super().__call__(_checked(batch), picture)

    def _measured_scale(self):
        """Return how many times larger the output is, by trying it."""
        trial = np.zeros((1, 16, 24, 3), np.float32)
        return _scale_of(trial.shape, self._run(trial, {}, None, None).shape)


def _checked(batch):
    """Return a batch as the runtimes take it, or refuse it."""
    batch = np.asarray(batch, np.float32)
    if batch.ndim != 4 or batch.shape[3] != 3 or 0 in batch.shape:
        raise NeidError(f"a batch has the shape (N, height, width, 3), not {batch.shape}")
    return batch


def _scale_of(before, after):
    """Return how many times larger a batch's shape has become."""
    for scale in (1, 2):
        if tuple(after) == (before[0], before[1] * scale, before[2] * scale, 3):
            return scale
    raise NeidError(f"not a NEID model: it makes {tuple(after)} of {tuple(before)}")


class Onnx(_Exported):
    """A model in ONNX Runtime, for pictures of any size.

    Args:
        content: the bytes of the file.
        threads: CPU threads; None for the runtime's choice.
        tensorrt: whether TensorRT computes: see :func:`neid_tf.inference.providers.start`.

    Attributes:
        on_card: whether it computes on an NVIDIA card.
    """

    tileable = True

    def __init__(self, content: bytes, threads: int | None = None, tensorrt: bool = False) -> None:
        import onnxruntime

        self._content, self._threads = content, threads
        self._alone, self._making = None, threading.Lock()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = _ONNX_ERRORS
        # Barely active channels make denormals, and those make convolutions many times slower.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        # A thread that waits for work would keep a core from those that read and write pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Otherwise a plan of the memory is kept for every size of picture that has been there.
        options.enable_mem_pattern = False
        self._session, self.notes = providers.start(content, options, tensorrt)
        self.on_card = providers.on_card(self._session)
        cores = threads or usable_cores()
        self.beside = cores if cores <= _MOST_BESIDE and not self.on_card else 1
        names = [value.name for value in self._session.get_overridable_initializers()]
        self._inputs = {_context_name(name): name for name in names if _context_name(name)}
        self.context = tuple(self._inputs)
        self._takes_box, self.refines = BOX in names, PICTURE in names
        self._context_only = {name: np.array(True) for name in names if name == CONTEXT_ONLY}
        told = self._session.get_modelmeta().custom_metadata_map
        self.step = _told(told, STEP, 1, 1)
        self.margin = _told(told, MARGIN, 0, margin_of(self.step))  # Old files lack it.
        if REFINED_MARGIN in told:  # Likewise.
            self.refined_margin = _told(told, REFINED_MARGIN, 0, 0)
        # What is put back was lost by halving, so there is nothing to try.
        self.scale = 2 if self.refines else self._measured_scale()

    def on_one_core(self) -> Network:
        """Return the same model with one thread, for batches that are run beside each other.

        A card computes them one after the other in any case.
        """
        if self._threads == 1 or self.on_card:
            return self
        with self._making:
            if self._alone is None:
                try:
                    self._alone = Onnx(self._content, 1)
                except Exception:  # Such as no memory for a second one: slower, but it works.
                    self._alone = self
        return self._alone

    def _run(self, batch, context, box, picture):
        given = {self._inputs[name]: array for name, array in context.items()}
        if box is not None and self._takes_box:
            given[BOX] = box
        if picture is not None and self.refines:
            given[PICTURE] = to_float(picture)
        return self._session.run([OUTPUT], {INPUT: batch} | given)[0]

    def _read(self, batch, known):
        given = {self._inputs[name]: array for name, array in known.items()}
        wanted = [name for name in self.context if name not in known]
        values = self._session.run(wanted, {INPUT: batch} | given | self._context_only)
        return dict(known) | dict(zip(wanted, values, strict=True))


def _context_name(name):
    """Return the name of the context that an input of an ONNX file gives, or None."""
    found = [name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)]
    return found[0] if found else None


def _told(metadata, name, least, otherwise):
    """Return a number of an ONNX file's metadata."""
    value = int(metadata.get(name, otherwise))
    if not least <= value <= _LARGEST:
        raise ModelFileError(f"its {name} is {value}: it must be from {least} to {_LARGEST}")
    return value


class LiteRT(_Exported):
    """A model in LiteRT. It takes pictures of the one size that it was exported for.

    A smaller picture is continued by its mirror image to that size, and the result cut. Its tone is
    read off the picture alone; the rest sees the mirror image, so the result is only near the Keras
    model's. At the exact size it is the same. Files from before read the tone off both: the result
    may be brighter or darker.

    Args:
        content: the bytes of the file.
        threads: CPU threads; None for one a core.

    Attributes:
        size: height and width of the network's input, in pixels.
    """

    def __init__(self, content: bytes, threads: int | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        threads = threads or usable_cores()
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._lock = threading.Lock()
        signatures = self._interpreter.get_signature_list()
        self._signatures = {frozenset(s["inputs"]): name for name, s in signatures.items()}
        self.refines = SERVING_REFINED in signatures
        serve = self._interpreter.get_signature_runner(SERVING)
        before = serve.get_input_details()[INPUT]["shape"]
        self.size = tuple(int(side) for side in before[1:3])
        self.scale = _scale_of(before, serve.get_output_details()[OUTPUT]["shape"])
        if SERVING_SEEN in signatures:
            self.context = (SEEN,)
            self._seen = self._interpreter.get_signature_runner(SERVING_SEEN).get_input_details()

    def _run(self, batch, context, box, picture):
        height, width = batch.shape[1:3]
        if height > self.size[0] or width > self.size[1]:
            most, given = "×".join(map(str, self.size)), f"{height}×{width}"
            raise NeidError(
                f"this LiteRT model takes {most} pixels (height×width) at most, not {given}: "
                f"export one with --height={height} --width={width}"
            )
        given = {INPUT: self._continued(batch, 1)}
        if picture is not None and self.refines:
            given[PICTURE] = self._continued(to_float(picture), self.scale)
        if self.context and (context or (height, width) != self.size):
            given |= context or self._read(batch, {})
            given |= {BOX: self._grown(batch, box)} if BOX in self._seen else {}
        enhanced = np.concatenate(
            [self._run_one({k: a[n : n + 1] for k, a in given.items()}) for n in range(len(batch))]
        )
        return enhanced[:, : height * self.scale, : width * self.scale]

    def _continued(self, batch, scale):
        """Continue pictures by their mirror image to the one size, or a multiple of it."""
        rest = [
            (0, scale * most - side) for most, side in zip(self.size, batch.shape[1:3], strict=True)
        ]
        return np.pad(batch, [(0, 0), *rest, (0, 0)], mode="symmetric")

    def _grown(self, batch, box):
        """Return which share of the whole picture each of a batch is once it is continued."""
        grown = np.divide(self.size, batch.shape[1:3])
        return np.float32(boxes(box, len(batch)) * [1.0, 1.0, *grown])

    def _read(self, batch, known):
        cells = int(self._seen[SEEN]["shape"][1])
        return {SEEN: np.stack([area_reduce(picture, cells) for picture in batch])}

    def _run_one(self, given):
        with self._lock:  # It does one picture at a time.
            run = self._interpreter.get_signature_runner(self._signatures[frozenset(given)])
            return run(**given)[OUTPUT]


class SavedModel(_Exported):
    """A SavedModel in TensorFlow, for pictures of any size.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        import tensorflow as tf

        # The loaded object owns the variables that its signatures use.
        self._loaded = tf.saved_model.load(str(path))
        self.refines = REFINED in self._loaded.signatures
        reader = self._loaded.signatures.get(CONTEXT)
        self.context = tuple(reader.structured_outputs) if reader else ()
        self.scale = self._measured_scale()

    def _run(self, batch, context, box, picture):
        refines, given = self.refines and picture is not None, {INPUT: batch} | dict(context)
        if refines:
            given[PICTURE] = to_float(picture)
        if not context:
            return self._computed(REFINED if refines else SERVING, given)[OUTPUT]
        name = REFINED_TILE if refines else TILE
        if BOX in self._loaded.signatures[name].structured_input_signature[1]:
            given[BOX] = boxes(box, len(batch))
        return self._computed(name, given)[OUTPUT]

    def _read(self, batch, known):
        return self._computed(CONTEXT, {INPUT: batch})

    def _computed(self, name, given):
        """Return what a signature makes of arrays, by name."""
        import tensorflow as tf

        tensors = {key: tf.constant(array) for key, array in given.items()}
        return {key: made.numpy() for key, made in self._loaded.signatures[name](**tensors).items()}
