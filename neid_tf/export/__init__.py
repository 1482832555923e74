"""Writing a model for other runtimes: TensorFlow Serving, ONNX Runtime, LiteRT.

Every export is loaded back by its own runtime and compared with the Keras model before it is
put in its place: what is there is whole, and right.
"""

import contextlib
import dataclasses
import io
import os
import shutil
import warnings
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from neid_tf.export import onnx as onnx_files
from neid_tf.export import signature
from neid_tf.inference import runtimes
from neid_tf.pixels.resample import halve, pad_to_even
from neid_tf.pixels.samples import to_float
from neid_tf.support.errors import NeidError
from neid_tf.support.files import write_whole
from neid_tf.support.libraries import optional_import

TOLERANCE = 1.0 / 255.0
"""How far a float export may be from the Keras model: one level of an 8-bit picture."""
LEAST_PSNR = 30.0
"""How near to the float model an int8 export must be, in dB."""
_INTEGER_LAYERS = "/(encoder|le_decoder|dr_features|ff|le_head)"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How an export compares with the Keras model, both clipped to [0, 1].

    Attributes:
        difference: the largest difference of a sample.
        psnr: in dB; inf where all is equal.
    """

    difference: float
    psnr: float


def to_saved_model(model, path, overwrite=False):
    """Write a SavedModel that TensorFlow loads without Keras and without this package.

    Batch, height and width are free. Its signatures, all with values clipped to [0, 1]:

    =============== ============================== ===========================================
    signature       input                          output
    =============== ============================== ===========================================
    serving_default ``image`` float32 N×h×w×3      ``enhanced`` float32 N×2h×2w×3
    uint8           ``image`` uint8 N×h×w×3        ``enhanced`` uint8 N×2h×2w×3
    encoded         ``image_bytes``, N files:      ``enhanced_bytes``, N PNG files of 8 bits,
                    JPEG, PNG, BMP, GIF or WebP    each of its picture's own size
    refined         ``image``, and ``picture``     ``enhanced`` float32 N×2h×2w×3, with the
                    float32 N×2h×2w×3 that it was  details of ``picture``
                    made of by halving
    =============== ============================== ===========================================

    ``encoded`` halves each picture first, as :func:`neid_tf.enhance` does at scale 1. It does not
    turn a picture as its EXIF block says, and drops alpha. Only a model with a refinement has
    ``refined``; its ``encoded`` refines.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        path: the folder to write.
        overwrite: replace a SavedModel that is there.

    Returns:
        A :class:`Comparison` of ``serving_default``.

    Raises:
        ValueError: for another model, or where the path is taken, or the export is wrong.
    """
    path = _checked_target(model, path, overwrite, folder=True)
    with _new_folder(path) as folder:
        tf.saved_model.save(
            signature.variables_holder(model), str(folder), signatures=signature.signatures(model)
        )
        return _compare(model, runtimes.load(folder, "saved_model"), _trials())


def to_onnx(model, path, overwrite=False, compact=False):
    """Write an ONNX file that makes ``enhanced`` of ``image``.

    Batch, height and width are free: float32 N×h×w×3 in [0, 1] to N×2h×2w×3 in [0, 1]. For large
    pictures in tiles there are further inputs, which may be left out, and further outputs:
    :func:`neid_tf.export.onnx.onnx_bytes` describes them.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        path: the file to write, usually ``.onnx``.
        overwrite: replace a file that is there.
        compact: store weights that half precision holds exactly in half precision.

    Returns:
        A :class:`Comparison`.

    Raises:
        ValueError: for another model, where the path is taken, the export is wrong, or tf2onnx
            or onnxruntime is not installed.
    """
    path = _checked_target(model, path, overwrite)
    with optional_import("exporting to onnx"):
        content = onnx_files.onnx_bytes(model, compact)
        comparison = _compare(model, runtimes.Onnx(content), _trials())
    write_whole(path, content)
    return comparison


def to_litert(model, path, size=(200, 300), representative=None, overwrite=False):
    """Write a LiteRT file of built-in operators for pictures of one size, one at a time.

    Input and output are float32, 1×h×w×3 and 1×2h×2w×3 in [0, 1], in the int8 variant as well.
    There both streams are computed with 8-bit integers; the tone stays in float, since 8 bits are
    too few for dark levels that are about to be brightened.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        path: the file to write, usually ``.tflite``.
        size: height and width of the network's input, in pixels.
        representative: None for float32; for int8 a list of low-light pictures, uint8 or uint16
            H×W×3 of any size, that show which values occur. They are halved, as in
            :func:`neid_tf.enhance` at scale 1, and brought to ``size``.
        overwrite: replace a file that is there.

    Returns:
        A :class:`Comparison`, of int8 on the first eight representative pictures.

    Raises:
        ValueError: for another model, an empty ``representative``, where the path is taken, the
            export is wrong, or ai-edge-litert (and ai-edge-quantizer for int8) is not installed.
    """
    path = _checked_target(model, path, overwrite)
    if representative is not None and not len(representative):
        raise NeidError("int8 needs at least one representative picture")
    batches = representative and [_at_size(picture, size) for picture in representative]
    with optional_import("exporting to litert"):
        content = _litert_bytes(model, size, batches)
        trials = batches[:8] if batches else _trials([(1, *size)])
        comparison = _compare(model, runtimes.LiteRT(content), trials, quantized=bool(batches))
    write_whole(path, content)
    return comparison


def _checked_target(model, path, overwrite, folder=False):
    """Refuse a model that can't be exported, or a path that is taken; return the path."""
    path, part = Path(path), getattr(model, "part", None)
    if part != "inference":
        raise NeidError(f"a model of part 'inference' is exported, not {part!r}")
    if keras.backend.backend() != "tensorflow":
        raise NeidError(f"exporting needs Keras's TensorFlow, not {keras.backend.backend()}")
    if path.exists() and not overwrite:
        raise NeidError(f"{path}: is there already, and not to be overwritten")
    # Replacing a folder removes all that is in it.
    if path.exists() and not (path / "saved_model.pb" if folder else path).is_file():
        raise NeidError(f"{path}: is there already, and no {'SavedModel' if folder else 'file'}")
    return path


@contextlib.contextmanager
def _new_folder(path):
    """Give a temporary folder beside the path, which takes its place if nothing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    try:
        yield folder
        if path.exists():
            path.rename(old)
        folder.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _trials(shapes=((2, 17, 23), (1, 48, 32))):
    """Return float32 batches of noise, most of it dark."""
    random = np.random.default_rng(0)
    return [random.random((*shape, 3), np.float32) ** 3 for shape in shapes]


def _compare(model, runner, batches, quantized=False):
    """Compare an export with its Keras model on batches, and refuse one that is off."""
    errors = [
        runner(batch) - np.clip(np.asarray(model(batch, training=False)), 0.0, 1.0)
        for batch in batches
    ]
    difference = float(max(np.abs(error).max() for error in errors))
    mean = np.mean([np.square(error, dtype=np.float64).mean() for error in errors])
    comparison = Comparison(difference, float(-10.0 * np.log10(mean)) if mean else float("inf"))
    if not (comparison.psnr >= LEAST_PSNR if quantized else difference <= TOLERANCE):
        raise NeidError(f"the export is off from the Keras model and not kept: {comparison}")
    return comparison


def _at_size(picture, size):
    """Return a picture as the network would see it, 1×h×w×3 float32 of a size."""
    pixels = to_float(picture[None])
    half = halve(pad_to_even(pixels)[0])
    if half.shape[:2] != tuple(size):
        half = cv2.resize(half, tuple(size)[::-1], interpolation=cv2.INTER_AREA)
    return half[None]


def _litert_bytes(model, size, batches):
    function = signature.float_function(model, (1, *size)).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function], signature.variables_holder(model)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    content = converter.convert()
    return _quantized(content, batches) if batches else content


def _quantized(content, batches):
    """Turn the layers of a float LiteRT model that can take it into 8-bit ones."""
    from ai_edge_quantizer import qtyping, quantizer

    tool = quantizer.Quantizer(content)
    tool.add_static_config(_INTEGER_LAYERS, qtyping.TFLOperationName.ALL_SUPPORTED, 8, 8)
    # One call a picture: within a call the tool averages the ranges, and bright parts are cut off.
    # Its progress bars and its warning that calibration takes memory help nobody.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        calls = [{"serving_default": [{runtimes.INPUT: batch}]} for batch in batches]
        ranges = [tool.calibrate(call, num_threads=os.cpu_count()) for call in calls]
        return bytes(tool.quantize(_widest(ranges), enable_progress_report=False).quantized_model)


def _widest(ranges):
    """Return each tensor's range over all pictures, of a list with its range in each."""
    ends = {"min": np.min, "max": np.max}
    return {
        name: {end: pick([r[name][end] for r in ranges], axis=0) for end, pick in ends.items()}
        for name in ranges[0]
    }
