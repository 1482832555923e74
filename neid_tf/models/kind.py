"""KinD (Zhang, Zhang and Guo, ACM Multimedia 2019), a rival of Table 1.

*Decom* splits a picture into reflectance and illumination, *restoration* takes noise and colour
casts out of the reflectance, and *adjust* brightens the illumination by a ratio that is given;
their product is the enhanced picture.
"""

import keras
from keras import KerasTensor, layers, ops

from neid_tf.models.layers import CropLike

RATIO = 5.0
"""How much brighter the illumination becomes where nothing else is known, as published."""
_SLOPE = 0.2
_SMALL = 1e-3
_DECOM, _RESTORATION = 2, 4
"""Levels below the first of both U-nets."""


def tensors(filters: int) -> dict[str, KerasTensor]:
    """Build the graph.

    Args:
        filters: channels of the first convolutions; 32 as published.

    Returns:
        By name: ``image`` N×h×w×3; ``stretched``, the same from its darkest sample to its brightest
        one; ``reflectance`` N×h×w×3 and ``illumination`` N×h×w×1; ``restored`` N×h×w×3;
        ``ratio`` N×h×w×1, :data:`RATIO` everywhere; ``adjusted`` N×h×w×1; and the enhanced
        picture ``le`` N×h×w×3. All but the ratio lie in [0, 1].
    """
    image = keras.Input((None, None, 3), name="image")
    stretched = Stretched(dtype="float32", name="stretched")(image)
    reflectance, illumination = _decom(stretched, filters)
    restored = _restoration(reflectance, illumination, filters)
    ratio = Constant(RATIO, dtype="float32", name="ratio")(illumination)
    adjusted = _adjust(illumination, ratio, filters)
    light = layers.Multiply(dtype="float32", name="enhanced")([restored, adjusted])
    named = {"image": image, "stretched": stretched, "reflectance": reflectance}
    named |= {"illumination": illumination, "restored": restored, "ratio": ratio}
    return named | {"adjusted": adjusted, "le": light}


@keras.saving.register_keras_serializable("neid_tf")
class Stretched(layers.Layer):
    """Pictures N×h×w×C from their darkest sample at 0 to their brightest one at 1, each."""

    def call(self, images: KerasTensor) -> KerasTensor:
        least, largest = (f(images, axis=(1, 2, 3), keepdims=True) for f in (ops.min, ops.max))
        return (images - least) / ops.maximum(largest - least, _SMALL)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape


@keras.saving.register_keras_serializable("neid_tf")
class Constant(layers.Layer):
    """A map N×h×w×C of one value for features of that shape."""

    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, features: KerasTensor) -> KerasTensor:
        return ops.full_like(features, self.value)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return super().get_config() | {"value": self.value}


def _convolution(features, filters, name, size=3):
    """Apply a convolution and a leaky ReLU."""
    features = layers.Conv2D(filters, size, padding="same", name=name)(features)
    return layers.LeakyReLU(_SLOPE, name=f"{name}_relu")(features)


def _sigmoid(features, filters, name, layer, size=1):
    """Apply a convolution and a sigmoid, which gives the tensor ``name``."""
    features = layers.Conv2D(filters, size, padding="same", name=layer)(features)
    return layers.Activation("sigmoid", dtype="float32", name=name)(features)


def _unet(features, filters, levels, repeats, name):
    """Return the features of a U-net's first level, on the way down and at the end.

    Args:
        features: N×h×w×C.
        filters: channels of the first level; they double with each.
        levels: how many there are below the first.
        repeats: convolutions of a level.
        name: what the names of the layers begin with.
    """

    def level(features, width, name):
        for index in range(1, repeats + 1):
            features = _convolution(features, width, f"{name}_conv{index}")
        return features

    skips = []
    for index in range(levels + 1):
        if index:
            pool = layers.MaxPooling2D(2, padding="same", name=f"{name}_pool{index}")
            features = pool(features)
        features = level(features, filters * 2**index, f"{name}_down{index}")
        skips.append(features)
    for index in range(levels - 1, -1, -1):
        width, at = filters * 2**index, f"{name}_up{index}"
        up = layers.Conv2DTranspose(width, 2, strides=2, use_bias=False, name=at)(features)
        up = CropLike(name=f"{at}_cut")([up, skips[index]])
        joined = layers.Concatenate(name=f"{at}_joined")([up, skips[index]])
        features = level(joined, width, at)
    return skips[0], features


def _decom(image, filters):
    """Return reflectance and illumination."""
    first, last = _unet(image, filters, _DECOM, 1, "decom")
    reflectance = _sigmoid(last, 3, "reflectance", "decom_reflectance")
    light = _convolution(first, filters, "decom_light")
    joined = layers.Concatenate(name="decom_light_joined")([light, last])
    return reflectance, _sigmoid(joined, 1, "illumination", "decom_illumination")


def _restoration(reflectance, illumination, filters):
    """Return the restored reflectance."""
    joined = layers.Concatenate(name="restoration_joined")([reflectance, illumination])
    _, last = _unet(joined, filters, _RESTORATION, 2, "restoration")
    return _sigmoid(last, 3, "restored", "restoration_last", size=3)


def _adjust(illumination, ratio, filters):
    """Return the brightened illumination."""
    features = layers.Concatenate(name="adjust_joined")([illumination, ratio])
    for index in (1, 2, 3):
        features = _convolution(features, filters, f"adjust_conv{index}")
    last = _convolution(features, 1, "adjust_last")
    return layers.Activation("sigmoid", dtype="float32", name="adjusted")(last)
