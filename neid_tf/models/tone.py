"""Whole-picture tone: one curve a channel and a colour matrix, read off a thumbnail.

A network that learns from crops cannot know how bright a picture is meant to be; what is
in the picture decides that. So a small network looks at the whole picture, made small, and
gives the parameters of a curve. Beyond the paper; ``ModelConfig.tone`` turns it on.
"""

import keras
from keras import layers, ops

PARAMETERS = 15
"""Gain and exponent a channel, and a 3×3 colour matrix."""

_DARKEST = 1.0 / 1024.0


@keras.saving.register_keras_serializable("neid_tf")
class LogAndLinear(layers.Layer):
    """Stack a picture and its logarithm, so that the darkest levels count as well."""

    def call(self, images):
        return ops.concatenate([images, ops.log(images + 1.0 / 255.0) / 3.0 + 1.0], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])


@keras.saving.register_keras_serializable("neid_tf")
class ToneCurve(layers.Layer):
    """Brighten pictures by a monotone curve a channel, then mix the channels.

    With ``u = x ** exponent`` the curve is ``gain·u / (1 − u + gain·u)``: 0 stays 0 and 1
    stays 1, so highlights are not blown out. The matrix leaves gray as it is (each of its
    columns adds up to the same).

    Inputs are pictures N×h×w×3 in [0, 1] and N×15 parameters; all zeros give a gain of e²,
    an exponent of 1 and no mixing.
    """

    def call(self, inputs):
        images, parameters = inputs
        parameters = parameters[:, None, :]
        gain = ops.exp(parameters[..., 0:3] + 2.0)
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

    def compute_output_shape(self, input_shapes):
        return input_shapes[0]


@keras.saving.register_keras_serializable("neid_tf")
class SquareSymmetries(layers.Layer):
    """Turn and mirror square pictures: N×s×s×C to 8N×s×s×C, all N of one symmetry together."""

    def call(self, images):
        turned = ops.transpose(images, (0, 2, 1, 3))
        flipped = [
            pictures[:, ::rows, ::columns]
            for pictures in (images, turned)
            for rows in (1, -1)
            for columns in (1, -1)
        ]
        return ops.concatenate(flipped, axis=0)

    def compute_output_shape(self, input_shape):
        batch = input_shape[0]
        return (None if batch is None else 8 * batch, *input_shape[1:])


@keras.saving.register_keras_serializable("neid_tf")
class MeanOfSymmetries(layers.Layer):
    """Average the 8 answers for each picture that :class:`SquareSymmetries` asked for."""

    def call(self, answers):
        return ops.mean(ops.reshape(answers, (8, -1, answers.shape[-1])), axis=0)

    def compute_output_shape(self, input_shape):
        batch = input_shape[0]
        return (None if batch is None else batch // 8, *input_shape[1:])


def tone_parameters(thumbnail, average, widths=(16, 32, 48, 64, 96, 128), dropout=0.3):
    """Read the 15 parameters of :class:`ToneCurve` off a thumbnail.

    Args:
        thumbnail: N×s×s×3 in [0, 1], s a multiple of 32.
        average: ask for all 8 ways to turn and mirror the thumbnail, and average the answers.
        widths: channels of the six 3×3 convolutions; all but the last are pooled.
        dropout: share of the pooled features that training drops.

    Returns:
        N×15.
    """
    if average:
        thumbnail = SquareSymmetries(name="tone_symmetries", dtype="float32")(thumbnail)
    features = LogAndLinear(name="tone_input", dtype="float32")(thumbnail)
    for index, width in enumerate(widths):
        features = layers.Conv2D(
            width,
            3,
            padding="same",
            activation="leaky_relu",
            kernel_initializer="he_normal",
            name=f"tone_conv{index + 1}",
        )(features)
        if index < len(widths) - 1:
            features = layers.MaxPooling2D(name=f"tone_pool{index + 1}")(features)
    pooled = layers.GlobalAveragePooling2D(name="tone_average")(features)
    largest = layers.GlobalMaxPooling2D(name="tone_largest")(features)
    features = layers.Concatenate(name="tone_features")([pooled, largest])
    features = layers.Dropout(dropout, name="tone_dropout1")(features)
    features = layers.Dense(128, activation="relu", name="tone_dense")(features)
    features = layers.Dropout(dropout, name="tone_dropout2")(features)
    small = keras.initializers.RandomNormal(stddev=0.01)
    head = layers.Dense(PARAMETERS, kernel_initializer=small, dtype="float32", name="tone_head")
    if average:
        return MeanOfSymmetries(name="tone_parameters", dtype="float32")(head(features))
    return head(features)
