"""The losses of section 2.3, equations 1 to 7, and three terms beyond the paper.

Each loss takes pictures N×H×W×3 (the reference in [0, 1], the prediction unbounded) and gives
one value a picture, shape N, so that it can be averaged over any number of devices.
"""

import dataclasses

from keras import ops

from neid_tf.training import metrics

_EPSILON = 1e-3


def huber(y_true, y_pred, delta=1.0):
    """Compute the Huber loss, equations 1 and 2; below ``delta`` it is ½·(y_true − y_pred)²."""
    error = ops.abs(y_true - y_pred)
    square = 0.5 * ops.square(error)
    linear = delta * error - 0.5 * delta**2
    return _mean(ops.where(error <= delta, square, linear))


def mse(y_true, y_pred):
    """Compute the mean squared error, equation 3."""
    return _mean(ops.square(y_true - y_pred))


def charbonnier(y_true, y_pred, epsilon=1e-3):
    """Compute √(error² + ε²), a smooth absolute error (not in the paper)."""
    return _mean(ops.sqrt(ops.square(y_true - y_pred) + epsilon**2))


def log_mse(y_true, y_pred, floor=1e-3):
    """Compute 0.1·ln(1 + MSE / floor): every decibel of PSNR counts alike (not in the paper)."""
    return 0.1 * ops.log(1.0 + mse(y_true, y_pred) / floor)


def aligned(y_true, y_pred):
    """Compute the Charbonnier loss of a prediction brought to the reference's mean brightness.

    How bright a picture is meant to be is uncertain, and that error would drown the rest: here
    contrast, colour and detail count alone (not in the paper). The gain is at most 2.
    """
    means = [ops.mean(images, axis=(1, 2, 3), keepdims=True) for images in (y_true, y_pred)]
    gain = ops.clip(means[0] / ops.maximum(means[1], 0.02), 0.5, 2.0)
    return charbonnier(y_true, gain * y_pred)


def structure(y_true, y_pred):
    """Compute 1 − SSIM (not in the paper)."""
    return 1.0 - metrics.ssim(y_true, y_pred)


def colour(y_true, y_pred):
    """Compute the colour loss, equations 4 to 6.

    One minus the cosine similarity of the hue channels, plus the same of the saturation
    channels. Hue and saturation are undefined on gray and black, so the prediction is
    clipped to [ε, 1] first and no division is by less than ε: value and gradient are finite.
    """
    true, predicted = _hue_saturation(y_true), _hue_saturation(y_pred)
    return sum(1.0 - _cosine(a, b) for a, b in zip(true, predicted, strict=True))


def _hue_saturation(images):
    """Return hue and saturation, each N×H×W in [0, 1], of RGB pictures."""
    images = ops.clip(images, _EPSILON, 1.0)
    red, green, blue = (images[..., channel] for channel in range(3))
    largest = ops.max(images, axis=-1)
    chroma = largest - ops.min(images, axis=-1)
    divisor = ops.where(chroma > _EPSILON, chroma, 1.0)
    hue = ops.where(
        largest == red,
        (green - blue) / divisor,
        ops.where(largest == green, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0),
    )
    hue = ops.where(chroma > _EPSILON, ops.where(hue < 0.0, hue + 6.0, hue) / 6.0, 0.0)
    return hue, chroma / largest


def _cosine(a, b):
    """Return the cosine similarity of two N×H×W maps; two maps of zeros are alike (1)."""
    shape = (ops.shape(a)[0], -1)
    a, b = ops.reshape(a, shape), ops.reshape(b, shape)
    size = ops.cast(ops.shape(a)[1], a.dtype)
    product = ops.sum(a * b, axis=1) / size + _EPSILON**2
    norms = [ops.sqrt(ops.sum(x * x, axis=1) / size + _EPSILON**2) for x in (a, b)]
    return product / (norms[0] * norms[1])


def _mean(values):
    return ops.mean(values, axis=(1, 2, 3))


RECONSTRUCTIONS = {"huber": huber, "mse": mse, "charbonnier": charbonnier, "log_mse": log_mse}


@dataclasses.dataclass(frozen=True)
class Objective:
    """The weighted total of equation 7; the defaults are the paper's.

    Attributes:
        reconstruction: the loss between the LE output and the reference.
        delta: the Huber loss's δ.
        detail_weight: λ1, of the detail branch's mean squared error.
        colour_weight: λ2, of the colour loss.
        aligned_weight: of :func:`aligned` (0: off, as in the paper).
        structure_weight: of 1 − SSIM (0: off, as in the paper).
        tone_weight: of the toned thumbnail's :func:`log_mse` (models with a tone).
    """

    reconstruction: str = "huber"
    delta: float = 1.0
    detail_weight: float = 0.1
    colour_weight: float = 0.1
    aligned_weight: float = 0.0
    structure_weight: float = 0.0
    tone_weight: float = 1.0

    def terms(self, outputs, targets):
        """Compute each weighted term.

        Args:
            outputs: dictionary of pictures, what there is of ``le``, ``dr`` and ``tone``.
            targets: dictionary with a target of the same shape for each of the outputs.

        Returns:
            Dictionary from the term's name to its values, each of shape N.
        """
        terms = self._of_light(targets["le"], outputs["le"]) if "le" in outputs else {}
        if "dr" in outputs and self.detail_weight:
            terms["detail"] = self.detail_weight * mse(targets["dr"], outputs["dr"])
        if "tone" in outputs and self.tone_weight:
            terms["tone"] = self.tone_weight * log_mse(targets["tone"], outputs["tone"])
        return terms

    def _of_light(self, *light):
        """Compute the terms of the LE output."""
        options = {"delta": self.delta} if self.reconstruction == "huber" else {}
        terms = {self.reconstruction: RECONSTRUCTIONS[self.reconstruction](*light, **options)}
        if self.aligned_weight:
            terms["aligned"] = self.aligned_weight * aligned(*light)
        if self.colour_weight:
            terms["colour"] = self.colour_weight * colour(*light)
        if self.structure_weight:
            terms["structure"] = self.structure_weight * structure(*light)
        return terms
