"""Enhancing one picture: the single path from pixels to pixels."""

import numpy as np

from neid_tf.downsample import halve, pad_to_even

_WHITE = {"uint8": 255, "uint16": 65535}


def enhance(image, model, scale=1, strength=1.0):
    """Brighten a picture and restore its details.

    Args:
        image: H×W×3 RGB, uint8 or uint16, of any size from 1×1 up.
        model: a model from :func:`neid_tf.load_pretrained`, or any callable from float32
            N×h×w×3 in [0, 1] to N×2h×2w×3 (N×h×w×3 for the ``unet`` baseline).
        scale: 1 gives a picture of the input's size (it is halved bicubically first, as in the
            paper's evaluation); 2 gives twice its size.
        strength: 0 gives the input, 1 the model's result, values between a blend, and values
            above 1 more light. The mean brightness grows with it.

    Returns:
        H×W×3, or 2H×2W×3 for ``scale=2``, of the input's type.

    Raises:
        ValueError: for another shape or type, a scale other than 1 and 2, or a negative or
            non-finite strength.
    """
    _check(image, scale, strength)
    # A large picture's floats take gigabytes: they are made anew rather than kept.
    output = np.clip(_predict(_floats(image), model, scale), 0.0, 1.0)
    if strength != 1.0:
        output = adjust(_floats(image), output, strength)
    output *= _WHITE[image.dtype.name]
    return np.rint(output, out=output).astype(image.dtype)


def _floats(image):
    pixels = image.astype(np.float32)
    pixels /= _WHITE[image.dtype.name]
    return pixels


def _check(image, scale, strength):
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture has the shape (height, width, 3), not {image.shape}")
    if image.dtype.name not in _WHITE:
        raise ValueError(f"a picture's type is uint8 or uint16, not {image.dtype}")
    if scale not in (1, 2):
        raise ValueError(f"scale must be 1 or 2, not {scale!r}")
    if not (np.isfinite(strength) and strength >= 0.0):
        raise ValueError(f"strength must be a number of at least 0, not {strength!r}")


def _predict(pixels, model, scale):
    """Return the model's float output for a float picture, at ``scale`` times its size."""
    same_size = getattr(getattr(model, "config", model), "scale", 2) == 1
    if same_size and scale == 2:
        raise ValueError("this model keeps the size of its input: scale 2 needs another")
    height, width = pixels.shape[:2]
    small = halve(pad_to_even(pixels)) if scale == 1 and not same_size else pixels
    del pixels
    predict = getattr(model, "predict_on_batch", model)
    return np.asarray(predict(small[None]))[0][: height * scale, : width * scale]


def adjust(pixels, output, strength):
    """Blend a picture with its enhanced version, or brighten it further.

    Args:
        pixels: the input, float H×W×3 in [0, 1].
        output: the enhanced picture, in [0, 1], of the input's size or twice that.
        strength: up to 1, the share of ``output`` in a linear blend; above 1, the curve
            ``g·x / (1 + (g − 1)·x)`` with ``g = 2 ** (strength − 1)`` is applied to it, which
            brightens without clipping.
    """
    if strength > 1.0:
        gain = 2.0 ** (strength - 1.0)
        return gain * output / (1.0 + (gain - 1.0) * output)
    if output.shape != pixels.shape:
        import cv2

        size = output.shape[1::-1]
        pixels = np.clip(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), 0.0, 1.0)
    return pixels + np.float32(strength) * (output - pixels)
