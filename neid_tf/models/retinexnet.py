"""Retinex-Net (Wei, Wang, Yang and Liu, BMVC 2018), a rival of Table 1.

*Decom* splits a picture into reflectance and illumination, *relight* brightens the illumination,
and their product is the enhanced picture. The paper also denoises the reflectance with BM3D, which
the authors' code does not, and this does not.
"""

import functools

import keras
from keras import KerasTensor, layers, ops

from neid_tf.models.layers import CropLike

_DEPTH = 5
"""Convolutions with a ReLU in the decomposition."""


def tensors(filters: int) -> dict[str, KerasTensor]:
    """Build the graph.

    Args:
        filters: channels of all inner convolutions; 64 as published.

    Returns:
        By name: ``image`` N×h×w×3, ``reflectance`` N×h×w×3 and ``illumination`` N×h×w×1 in (0, 1),
        ``relit`` N×h×w×1, and the enhanced picture ``le`` N×h×w×3.
    """
    image = keras.Input((None, None, 3), name="image")
    reflectance, illumination = _decom(image, filters)
    relit = _relight(reflectance, illumination, filters)
    light = layers.Multiply(dtype="float32", name="enhanced")([reflectance, relit])
    named = {"image": image, "reflectance": reflectance, "illumination": illumination}
    return named | {"relit": relit, "le": light}


@keras.saving.register_keras_serializable("neid_tf")
class JoinLargest(layers.Layer):
    """Put the largest channel of each pixel before the channels: N×h×w×C to N×h×w×(1 + C)."""

    def call(self, images: KerasTensor) -> KerasTensor:
        return ops.concatenate([ops.max(images, axis=-1, keepdims=True), images], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], input_shape[-1] + 1)


@keras.saving.register_keras_serializable("neid_tf")
class Channels(layers.Layer):
    """Take the channels from ``start`` to ``stop``: N×h×w×C to N×h×w×(stop − start)."""

    def __init__(self, start, stop, **kwargs):
        super().__init__(**kwargs)
        self.start, self.stop = start, stop

    def call(self, features: KerasTensor) -> KerasTensor:
        return features[..., self.start : self.stop]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.stop - self.start)

    def get_config(self) -> dict:
        return super().get_config() | {"start": self.start, "stop": self.stop}


def _convolution(filters, size=3, activation=None, **options):
    return layers.Conv2D(filters, size, padding="same", activation=activation, **options)


def _decom(image, filters):
    """Return reflectance and illumination."""
    features = JoinLargest(name="decom_joined")(image)
    features = _convolution(filters, 9, name="decom_first")(features)
    for index in range(1, _DEPTH + 1):
        features = _convolution(filters, activation="relu", name=f"decom_conv{index}")(features)
    features = _convolution(4, name="decom_last")(features)
    both = layers.Activation("sigmoid", dtype="float32", name="decom_sigmoid")(features)
    cut = functools.partial(Channels, dtype="float32")
    return cut(0, 3, name="reflectance")(both), cut(3, 4, name="illumination")(both)


def _relight(reflectance, illumination, filters):
    """Return the brightened illumination."""
    joined = layers.Concatenate(name="relight_joined")([reflectance, illumination])
    features = _convolution(filters, name="relight_first")(joined)
    skips = [features]
    for index in (1, 2, 3):
        down = _convolution(filters, strides=2, activation="relu", name=f"relight_down{index}")
        features = down(features)
        skips.append(features)
    levels = []
    for index in (2, 1, 0):
        features = enlarged_like(features, skips[index], 2, f"relight_up{index}")
        up = _convolution(filters, activation="relu", name=f"relight_up{index}_conv")
        features = layers.Add(name=f"relight_up{index}_added")([up(features), skips[index]])
        levels.append(features)
    gathered = [
        enlarged_like(levels[0], levels[2], 4, "relight_gather4"),
        enlarged_like(levels[1], levels[2], 2, "relight_gather2"),
        levels[2],
    ]
    gathered = layers.Concatenate(name="relight_gathered")(gathered)
    fused = _convolution(filters, 1, name="relight_fused")(gathered)
    return _convolution(1, dtype="float32", name="relight_last")(fused)


def enlarged_like(features: KerasTensor, like: KerasTensor, times: int, name: str) -> KerasTensor:
    """Repeat each pixel, and cut the result to the size of other features.

    Args:
        features: N×h×w×C.
        like: N×H×W×K, at most ``times`` as large.
        times: how often a row and a column are repeated.
        name: what the names of the layers begin with.

    Returns:
        N×H×W×C.
    """
    larger = layers.UpSampling2D(times, name=f"{name}_enlarged")(features)
    return CropLike(name=f"{name}_cut")([larger, like])
