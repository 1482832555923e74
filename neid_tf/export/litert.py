"""Writing a LiteRT file: float, or with both streams in 8-bit integers."""

from __future__ import annotations

import contextlib
import io
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
from neid_tf.pixels.resample import halve, pad_to_even
from neid_tf.pixels.samples import to_float
from neid_tf.support.errors import NeidError
from neid_tf.support.files import write_whole
from neid_tf.support.libraries import optional_import

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
    path = checked_target(model, path, overwrite)
    if representative is not None and not len(representative):
        raise NeidError("int8 needs at least one representative picture")
    batches = representative and [_at_size(picture, size) for picture in representative]
    with optional_import("exporting to litert"):
        content = _litert_bytes(model, size, batches)
        tried = batches[:8] if batches else trials([(1, *size)])
        comparison = compare(model, runtimes.LiteRT(content), tried, quantized=bool(batches))
    write_whole(path, content)
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
