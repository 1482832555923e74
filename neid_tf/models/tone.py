"""Whole-picture tone: one curve a channel and a colour matrix, read off a thumbnail.

A network that learns from crops cannot know how bright a picture is meant to be; what is
in the picture decides that. So a small network looks at the whole picture, made small, and
gives the parameters of a curve. Beyond the paper; ``ModelConfig.tone`` turns it on.
"""

from typing import Any

import keras
from keras import layers, ops

from neid_tf.models import backbone

PARAMETERS = 15
"""Gain and exponent a channel, and a 3×3 colour matrix."""

_DARKEST = 1.0 / 1024.0
_NEUTRAL = 2.0


@keras.saving.register_keras_serializable("neid_tf")
class ToneCurve(layers.Layer):
    """Brighten pictures by a monotone curve a channel, then mix the channels.

    With ``u = x ** exponent`` the curve is ``gain·u / (1 − u + gain·u)``: 1 stays 1, so highlights
    are not blown out. The matrix leaves gray as it is (each of its columns adds up to the same).

    Values below 1/1024 count as 1/1024, so that black becomes 8 of 255 at a log gain of 3.5. The
    networks that have this tone learned with it: a curve that keeps black costs them 0.02 dB
    (7 held-out pictures of LoL). :class:`neid_tf.models.grid.GridTone` keeps black.

    Inputs are pictures N×h×w×3 in [0, 1] and N×15 parameters; all zeros give a gain of e²,
    an exponent of 1 and no mixing. Gives N×h×w×3.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        images, parameters = inputs
        parameters = parameters[:, None, :]
        gain = ops.exp(parameters[..., 0:3] + _NEUTRAL)
        exponent = ops.exp(parameters[..., 3:6] * 0.5)
        shape = ops.shape(images)
        pixels = ops.reshape(images, (shape[0], shape[1] * shape[2], 3))
        bent = ops.power(ops.maximum(pixels, _DARKEST), exponent)
        bright = gain * bent / (1.0 - bent + gain * bent)
        return ops.reshape(bright + ops.matmul(bright, self._mixing(parameters)), shape)

    @staticmethod
    def _mixing(parameters):
        matrix = ops.reshape(parameters[:, 0, 6:], (-1, 3, 3)) * 0.3
        return matrix - ops.mean(matrix, axis=1, keepdims=True)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]


@keras.saving.register_keras_serializable("neid_tf")
class ToneAround(layers.Layer):
    """Add a gain of ``log_gain`` (N×1) to parameters (N×15) that are relative to it: N×15."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        parameters, log_gain = inputs
        gains = parameters[:, :3] + (log_gain - _NEUTRAL)
        return ops.concatenate([gains, parameters[:, 3:]], axis=-1)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]


@keras.saving.register_keras_serializable("neid_tf")
class MeanOfHalves(layers.Layer):
    """Average the first half of the rows with the second.

    They are ordered as :class:`neid_tf.models.layers.WithMirrored` does.

    Takes 2N×C, gives N×C.
    """

    def call(self, vectors: keras.KerasTensor) -> keras.KerasTensor:
        return ops.mean(ops.reshape(vectors, (2, -1, vectors.shape[-1])), axis=0)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, size = input_shape
        return (None if batch is None else batch // 2, size)


def tone_parameters(
    thumbnail: Any, hidden: int = 128, dropout: float = 0.3, mirrored: bool = False
) -> Any:
    """Read the 15 parameters of :class:`ToneCurve` off a thumbnail.

    Frozen features say what the picture shows (:mod:`neid_tf.models.backbone`); two dense layers
    say how far its curve is from the one that brings it to a medium brightness.

    Args:
        thumbnail: N×128×128×3 in [0, 1].
        hidden: units of the first dense layer.
        dropout: share of the features, and of the units, that training drops.
        mirrored: whether the result is the mean for the thumbnail and its mirror image: what a
            picture shows does not depend on its side, but what is read off it does a little.

    Returns:
        N×15.
    """
    features, log_gain = backbone.features(thumbnail, mirrored)
    features = layers.Dropout(dropout, name="tone_dropout1")(features)
    features = layers.Dense(hidden, activation="relu", name="tone_dense")(features)
    features = layers.Dropout(dropout, name="tone_dropout2")(features)
    small = keras.initializers.RandomNormal(stddev=0.01)
    head = layers.Dense(PARAMETERS, kernel_initializer=small, dtype="float32", name="tone_head")
    around = ToneAround(name="tone_parameters", dtype="float32")
    parameters = around([head(features), log_gain])
    return MeanOfHalves(name="tone_mean", dtype="float32")(parameters) if mirrored else parameters
