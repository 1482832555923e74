"""What the tone and the streams are trained to make small: values of pictures, one a picture."""

from typing import Any

import numpy as np
from keras import ops

from neid_tf.models import grid
from neid_tf.pixels.curve import odds_curve
from neid_tf.training import losses


def toned(images: Any, parameters: Any) -> Any:
    """Return whole pictures after the tone.

    Args:
        images: N×h×w×3 in [0, 1].
        parameters: N×:data:`neid_tf.models.grid.PARAMETERS`.
    """
    whole = ops.zeros_like(parameters[:, :4]) + np.float32([[0, 0, 1, 1]])
    return grid.toned(images, parameters, whole)


def tone_loss(parameters: Any, low: Any, high: Any) -> Any:
    """Return the error in decibels, that of the chroma, and how rough the grid is; one a picture.

    Args:
        parameters: N×:data:`neid_tf.models.grid.PARAMETERS`.
        low: dark pictures, N×h×w×3 in [0, 1].
        high: their references, likewise.
    """
    made = toned(low, parameters)
    cells = ops.reshape(parameters[:, grid.GLOBAL :], (-1, grid.SIDE, grid.SIDE, grid.BINS))
    rough = ops.mean(ops.square(cells[:, 1:] - cells[:, :-1]), axis=(1, 2, 3))
    rough = rough + ops.mean(ops.square(cells[:, :, 1:] - cells[:, :, :-1]), axis=(1, 2, 3))
    steps = ops.mean(ops.square(cells[..., 1:] - cells[..., :-1]), axis=(1, 2, 3))
    error = losses.log_mse(high, made) + 0.5 * off_chroma(high, made)
    return error + 0.02 * (rough + 0.3 * steps)


def apart(made: Any, wanted: Any) -> Any:
    """Return the mean absolute difference, one value a picture.

    Args:
        made: pictures, N×h×w×3 in [0, 1].
        wanted: pictures of the same shape.
    """
    return ops.mean(ops.sqrt(ops.square(made - wanted) + 1e-6), axis=(1, 2, 3))


def off_chroma(y_true: Any, y_pred: Any) -> Any:
    """Return how far the channels are off apart from their mean, one value a picture.

    Args:
        y_true: references, N×h×w×3 in [0, 1].
        y_pred: pictures of the same shape.
    """
    return apart(*(p - ops.mean(p, axis=-1, keepdims=True) for p in (y_true, y_pred)))


def loss(y_true: Any, y_pred: Any, gain: Any = 1.0) -> Any:
    """Return decibels, error at the reference's brightness, structure and chroma, one a picture.

    Args:
        y_true: references, N×h×w×3 in [0, 1].
        y_pred: the network's pictures, likewise.
        gain: of the odds of the references, by which they are of the tone's exposure: decibels
            and chroma are measured there.
    """
    exposed = odds_curve(y_true, gain)
    total = losses.log_mse(exposed, y_pred) + 2.0 * losses.exposure_aligned(y_true, y_pred)
    return total + 0.6 * losses.one_minus_ssim(y_true, y_pred) + 0.5 * off_chroma(exposed, y_pred)


def to_exposure(pictures: Any, model: Any) -> Any:
    """Return the gain of the odds that brings the mean of pictures to that of others, N×1×1×1.

    Args:
        pictures: N×h×w×3 in [0, 1].
        model: pictures of another exposure, N×h×w×3 in [0, 1].
    """
    means = [ops.mean(p, axis=(1, 2, 3), keepdims=True) for p in (model, pictures)]
    odds = [m / (1.0 - m) for m in (ops.clip(mean, 0.02, 0.98) for mean in means)]
    return ops.clip(odds[0] / odds[1], 1.0 / 3.0, 3.0)
