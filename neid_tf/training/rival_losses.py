"""The losses of Table 1's learned rivals: Retinex-Net, GLAD and KinD.

As in :mod:`neid_tf.training.losses`, each gives one value a picture. Pictures are N×H×W×3,
illuminations N×H×W×1, all in [0, 1].
"""

from typing import Any

from keras import ops

from neid_tf.training.losses import mean_of_each

Tensor = Any
"""A tensor of the Keras backend in use, or an array of NumPy."""

LUMINANCE = (0.29891, 0.58661, 0.11448)
"""The weights of red, green and blue in GLAD's loss."""

_GRAY = (0.2989, 0.587, 0.114)
_SHARPNESS = 10.0
_FLOOR = 0.01
_SMALL = 1e-4


def absolute(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the mean absolute error.

    Args:
        y_true: N×H×W×C.
        y_pred: the same shape.

    Returns:
        N values of at least 0.
    """
    return mean_of_each(ops.abs(y_true - y_pred))


def weighted_absolute(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute GLAD's loss: the absolute error, its channels weighted as luminance.

    Args:
        y_true: the references, N×H×W×3.
        y_pred: the predictions, of the same shape.

    Returns:
        N values of at least 0.
    """
    weights = ops.cast(LUMINANCE, y_pred.dtype)
    return mean_of_each(ops.abs(y_true - y_pred) * weights)


def smoothness(illumination: Tensor, reflectance: Tensor) -> Tensor:
    """Compute Retinex-Net's smoothness: gradients of light count where the surface is even.

    ``|∇I| · exp(−10 · mean of |∇R| over 3×3)``, R in gray, the sum over both directions.

    Args:
        illumination: N×H×W×1.
        reflectance: N×H×W×3.

    Returns:
        N values of at least 0.
    """
    light, surface = gradients(illumination), gradients(gray(reflectance))
    return sum(
        mean_of_each(change * ops.exp(-_SHARPNESS * _mean_filtered(edge)))
        for change, edge in zip(light, surface, strict=True)
    )


def mutual_smoothness(low: Tensor, high: Tensor) -> Tensor:
    """Compute KinD's mutual consistency of two illuminations.

    ``x · exp(−10 x)`` with ``x = |∇I_low| + |∇I_high|``, each :func:`scaled`: strong edges that
    both have cost nothing, weak ones do.

    Args:
        low: illumination of the low-light picture, N×H×W×1.
        high: that of its reference.

    Returns:
        N values of at least 0.
    """
    changes = [a + b for a, b in zip(scaled(low), scaled(high), strict=True)]
    return sum(mean_of_each(change * ops.exp(-_SHARPNESS * change)) for change in changes)


def relative_smoothness(illumination: Tensor, picture: Tensor) -> Tensor:
    """Compute KinD's smoothness: gradients of light against those of the picture.

    ``|∇I| / max(|∇S|, 0.01)``, S in gray, both gradients :func:`scaled`.

    Args:
        illumination: N×H×W×1.
        picture: N×H×W×3.

    Returns:
        N values of at least 0.
    """
    light, edges = scaled(illumination), scaled(gray(picture))
    return sum(
        mean_of_each(change / ops.maximum(edge, _FLOOR))
        for change, edge in zip(light, edges, strict=True)
    )


def gradient_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the mean squared error of the :func:`scaled` gradients of gray pictures.

    Args:
        y_true: N×H×W×1 or N×H×W×3, which is made gray.
        y_pred: the same shape.

    Returns:
        N values of at least 0.
    """
    sides = [scaled(gray(images)) for images in (y_true, y_pred)]
    return sum(mean_of_each(ops.square(a - b)) for a, b in zip(*sides, strict=True))


def gray(images: Tensor) -> Tensor:
    """Return pictures N×H×W×3 in gray, N×H×W×1; what has one channel stays as it is."""
    if images.shape[-1] == 1:
        return images
    return ops.sum(images * ops.cast(_GRAY, images.dtype), axis=-1, keepdims=True)


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the absolute differences of neighbours, along the rows and down the columns.

    Beyond the border lies black, so both have the shape of the images.

    Args:
        images: N×H×W×1.
    """
    right = ops.pad(images[:, :, 1:], [(0, 0), (0, 0), (0, 1), (0, 0)])
    below = ops.pad(images[:, 1:], [(0, 0), (0, 1), (0, 0), (0, 0)])
    return ops.abs(right - images), ops.abs(below - images)


def scaled(images: Tensor) -> list[Tensor]:
    """Return :func:`gradients` from the least of a batch at 0 to its largest at 1.

    KinD's are so in the released code. As they are, they are least where light is the same
    everywhere, and the decomposition ends there: white light, and the picture as its reflectance.
    """
    return [_stretched(change) for change in gradients(images)]


def _stretched(values: Tensor) -> Tensor:
    least, largest = ops.min(values), ops.max(values)
    return (values - least) / (largest - least + _SMALL)


def _mean_filtered(images: Tensor) -> Tensor:
    """Return the mean over 3×3 pixels, over those of them that are inside."""
    return ops.average_pool(images, 3, strides=1, padding="same")
