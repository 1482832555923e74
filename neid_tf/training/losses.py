"""The losses of section 2.3, equations 1 to 6, and four terms beyond the paper.

Each loss takes pictures N×H×W×3 (the reference in [0, 1], the prediction unbounded) and gives
one value a picture, shape N, so that it can be averaged over any number of devices; it raises a
ValueError where the shapes differ. Their weighted sum, equation 7, is
:class:`neid_tf.training.objective.Objective`.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from neid_tf.training import metrics

Tensor = Any
"""A tensor of the Keras backend in use, or an array of NumPy."""

_EPSILON = 1e-3


def huber(y_true: Tensor, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    """Compute the Huber loss, equations 1 and 2.

    With e = y_true − y_pred it is ½·e² where |e| ≤ δ, and δ·|e| − ½·δ² beyond, averaged over the
    pixels and channels of each picture.

    Args:
        y_true: the references, N×H×W×3 in [0, 1].
        y_pred: the predictions, of the same shape.
        delta: δ, in units of white. With pictures in [0, 1], 1 makes it ½·MSE.

    Returns:
        N values of at least 0.
    """
    error = ops.abs(_difference(y_true, y_pred))
    square = 0.5 * ops.square(error)
    linear = delta * error - 0.5 * delta**2
    return mean_of_each(ops.where(error <= delta, square, linear))


def mse(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the mean squared error, equation 3.

    Args:
        y_true: the targets, N×H×W×3 in [0, 1].
        y_pred: the predictions, of the same shape.

    Returns:
        N values of at least 0.
    """
    return mean_of_each(ops.square(_difference(y_true, y_pred)))


def charbonnier(y_true: Tensor, y_pred: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Compute √(e² + ε²), a smooth absolute error (not in the paper).

    Args:
        y_true: the references, N×H×W×3 in [0, 1].
        y_pred: the predictions, of the same shape.
        epsilon: ε, in units of white: the value where both are equal.

    Returns:
        N values of at least ε.
    """
    return mean_of_each(ops.sqrt(ops.square(_difference(y_true, y_pred)) + epsilon**2))


def log_mse(y_true: Tensor, y_pred: Tensor, floor: float = 1e-3) -> Tensor:
    """Compute 0.1·ln(1 + MSE / floor): every decibel of PSNR counts alike (not in the paper).

    Args:
        y_true: the references, N×H×W×3 in [0, 1].
        y_pred: the predictions, of the same shape.
        floor: the mean squared error below which less error hardly counts (1e-3 is 30 dB).

    Returns:
        N values of at least 0.
    """
    return 0.1 * ops.log(1.0 + mse(y_true, y_pred) / floor)


def exposure_aligned(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the Charbonnier loss of a prediction brought to the reference's mean brightness.

    How bright a picture is meant to be is uncertain, and that error would drown the rest: here
    contrast, colour and detail count alone (not in the paper). The gain is between ½ and 2.

    Args:
        y_true: the references, N×H×W×3 in [0, 1].
        y_pred: the predictions, of the same shape.

    Returns:
        N values above 0.
    """
    metrics.check_shapes(y_true, y_pred)
    means = [ops.mean(images, axis=(1, 2, 3), keepdims=True) for images in (y_true, y_pred)]
    gain = ops.clip(means[0] / ops.maximum(means[1], 0.02), 0.5, 2.0)
    return charbonnier(y_true, gain * y_pred)


def one_minus_ssim(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute 1 − SSIM (not in the paper), see :func:`neid_tf.training.metrics.ssim`.

    Args:
        y_true: the references, N×H×W×3 in [0, 1], at least 11×11.
        y_pred: the predictions, of the same shape.

    Returns:
        N values in [0, 2].

    Raises:
        ValueError: where the shapes differ.
    """
    return 1.0 - metrics.ssim(y_true, y_pred)


def colour(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the colour loss, equations 4 to 6.

    One minus the cosine similarity of the hue channels, plus the same of the saturation
    channels. Hue and saturation are undefined on gray and black, so the pictures are clipped to
    [ε, 1] first and no division is by less than ε: value and gradient are finite.

    Args:
        y_true: the references, N×H×W×3 in [0, 1].
        y_pred: the predictions, of the same shape.

    Returns:
        N values in [0, 2].
    """
    metrics.check_shapes(y_true, y_pred)
    true, predicted = _hue_saturation(y_true), _hue_saturation(y_pred)
    return sum(1.0 - _cosine(a, b) for a, b in zip(true, predicted, strict=True))


def _hue_saturation(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return hue and saturation, each N×H×W in [0, 1], of RGB pictures."""
    images = ops.clip(images, _EPSILON, 1.0)
    red, green, blue = (images[..., channel] for channel in range(3))
    # Not ops.max: compiled by XLA, its gradient can be 0 / 0, where what it compares is computed
    # twice and rounded otherwise.
    largest = ops.maximum(ops.maximum(red, green), blue)
    chroma = largest - ops.minimum(ops.minimum(red, green), blue)
    divisor = ops.where(chroma > _EPSILON, chroma, 1.0)
    hue = ops.where(
        largest == red,
        (green - blue) / divisor,
        ops.where(largest == green, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0),
    )
    hue = ops.where(chroma > _EPSILON, ops.where(hue < 0.0, hue + 6.0, hue) / 6.0, 0.0)
    return hue, chroma / largest


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine similarity of two N×H×W maps; two maps of zeros are alike (1)."""
    shape = (ops.shape(a)[0], -1)
    a, b = ops.reshape(a, shape), ops.reshape(b, shape)
    size = ops.cast(ops.shape(a)[1], a.dtype)
    product = ops.sum(a * b, axis=1) / size + _EPSILON**2
    norms = [ops.sqrt(ops.sum(x * x, axis=1) / size + _EPSILON**2) for x in (a, b)]
    return product / (norms[0] * norms[1])


def _difference(y_true: Tensor, y_pred: Tensor) -> Tensor:
    metrics.check_shapes(y_true, y_pred)
    return y_true - y_pred


def mean_of_each(values: Tensor) -> Tensor:
    """Return the mean of each picture: N×H×W×C to N."""
    return ops.mean(values, axis=(1, 2, 3))


RECONSTRUCTIONS: dict[str, Callable[..., Tensor]] = {
    "huber": huber,
    "mse": mse,
    "charbonnier": charbonnier,
    "log_mse": log_mse,
}
"""The losses between LE's output and the reference, by name."""
