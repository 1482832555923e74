"""Writing a LiteRT file: float, or with both streams in 8-bit integers."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import typing
import warnings
from collections.abc import Sequence

import cv2
import numpy as np
import tensorflow as tf

from neid_tf.export import signature
from neid_tf.export.check import Comparison, checked_target, compare, trials
from neid_tf.inference import runtimes
from neid_tf.models.graph import THUMBNAIL
from neid_tf.pixels.resample import area_reduce, halve, pad_to_even
from neid_tf.pixels.samples import to_float
from neid_tf.support.errors import NeidError
from neid_tf.support.files import write_whole
from neid_tf.support.libraries import optional_import
from neid_tf.support.machine import usable_cores

if typing.TYPE_CHECKING:
    from neid_tf.models import NEID

_INTEGER_LAYERS = "/(encoder|le_decoder|dr_features|ff|le_head)"


def to_litert(
    model: NEID,
    path: str | os.PathLike,
    size: tuple[int, int] = (200, 300),
    representative: Sequence[np.ndarray] | None = None,
    overwrite: bool = False,
) -> Comparison:
    """Write a LiteRT file of built-in operators for pictures of one size, one at a time.

    Its signature ``serving_default`` makes ``enhanced`` of ``image``: float32, 1×h×w×3 and
    1×2h×2w×3 in [0, 1], in the int8 variant as well. That of a model with a refinement has
    ``serving_refined`` too, which is also given ``picture``, 1×2h×2w×3, that ``image`` was made
    of by halving, and puts its details back.

    For pictures that do not fill that size, a model with a tone has ``serving_seen``, and with a
    refinement ``serving_refined_seen``. They are also given ``thumbnail``, 1×128×128×3, the mean
    colours of the picture, which the tone is read off instead of ``image``; and where the tone is
    a grid of gains ``box``, 1×4: where ``image`` lies in the picture: top, left, height and width,
    as shares of the picture (0, 0, 1.5, 1 for one that fills the upper two thirds of ``image``).

    In the int8 variant both streams are computed with 8-bit integers. The tone stays in float,
    since 8 bits are too few for dark levels that are about to be brightened, as does the
    refinement.

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
    path = checked_target(model, path, overwrite)
    if representative is not None and not len(representative):
        raise NeidError("int8 needs at least one representative picture")
    pictures = representative and [_at_size(picture, size) for picture in representative]
    with optional_import("exporting to litert"):
        content = _litert_bytes(model, size, pictures)
        tried = [_halved(picture) for picture in pictures[:8]] if pictures else trials([(1, *size)])
        comparison = compare(model, runtimes.LiteRT(content), tried, quantized=bool(pictures))
    write_whole(path, content)
    return comparison


def _at_size(picture, size):
    """Return a picture of twice a size, 1×2h×2w×3 float32: halved, it is what the network sees."""
    pixels = pad_to_even(to_float(picture))
    height, width = (2 * side for side in size)
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return pixels[None]


def _halved(picture):
    return halve(picture[0])[None]


def _litert_bytes(model, size, pictures):
    config, shape = model.config, (1, *size)
    parts = {runtimes.SERVING_REFINED: "refined"} if config.refinement else {}
    parts |= {runtimes.SERVING_SEEN: "seen"} if config.tone else {}
    parts |= {runtimes.SERVING_REFINED_SEEN: "refined_seen"} if config.refinement else {}
    functions = [signature.float_function(model, shape)]
    functions += [signature.part_function(model, part, name, shape) for name, part in parts.items()]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function() for function in functions],
        signature.variables_holder(model),
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    content = converter.convert()
    return _quantized(content, pictures) if pictures else content


def _quantized(content, pictures):
    """Turn the layers of a float LiteRT model that can take it into 8-bit ones."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import qtyping, quantizer

    signatures = Interpreter(model_content=content).get_signature_list()
    tool = quantizer.Quantizer(content)
    tool.add_static_config(_INTEGER_LAYERS, qtyping.TFLOperationName.ALL_SUPPORTED, 8, 8)
    # One call a picture: within a call the tool averages the ranges, and bright parts are cut off.
    # Its progress bars and its warning that calibration takes memory help nobody.
    silenced = contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), silenced, _nothing_logged():
        warnings.simplefilter("ignore")
        calls = [_calls(picture, signatures) for picture in pictures]
        ranges = [tool.calibrate(call, num_threads=usable_cores()) for call in calls]
        return bytes(tool.quantize(_widest(ranges), enable_progress_report=False).quantized_model)


@contextlib.contextmanager
def _nothing_logged():
    """Log no warnings, as that both signatures quantise the biases that they share: alike."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _calls(picture, signatures):
    """Return what each signature is given for a picture.

    Args:
        picture: 1×2h×2w×3 float32.
        signatures: the inputs of each, by its name.
    """
    image = _halved(picture)
    given = {
        runtimes.INPUT: image,
        runtimes.PICTURE: picture,
        runtimes.SEEN: area_reduce(image[0], THUMBNAIL)[None],
        runtimes.BOX: np.float32([[0.0, 0.0, 1.0, 1.0]]),
    }
    return {key: [{n: given[n] for n in s["inputs"]}] for key, s in signatures.items()}


def _widest(ranges):
    """Return each tensor's range over all pictures, of a list with its range in each."""
    ends = {"min": np.min, "max": np.max}
    return {
        name: {end: pick([r[name][end] for r in ranges], axis=0) for end, pick in ends.items()}
        for name in ranges[0]
    }
