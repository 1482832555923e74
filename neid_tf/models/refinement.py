"""Detail at full size, for pictures that are there at full size: what halving took away.

The network works on the halved picture, so at ``scale`` 1 details finer than that are in the input
and not in the output. This block puts them back: every pixel is a blend of the streams' picture
and of the toned full-size one, plus a correction. The blend's share is read off the streams'
features and how the two differ: near 1 where the picture is clean, near 0 where it is noise.
Beyond the paper; ``ModelConfig.refinement`` turns it on.
"""

import keras
from keras import layers, ops

SHARES = 12
"""Numbers for every pixel of the halved picture: 2×2 pixels of 3 channels."""


@keras.saving.register_keras_serializable("neid_tf")
class Blend(layers.Layer):
    """Blend each pixel of two pictures, and correct it.

    Inputs are the streams' picture and how the full-size one differs from it, both N×h×w×12 (2×2
    pixels behind each other), and N×h×w×24 numbers: of each pixel the logit of the full-size
    picture's share, and the correction. Gives N×h×w×12.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        enhanced, difference, numbers = inputs
        shares = ops.sigmoid(numbers[..., :SHARES])
        return enhanced + shares * difference + numbers[..., SHARES:]

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]


def refine(
    features: keras.KerasTensor,
    enhanced: keras.KerasTensor,
    toned: keras.KerasTensor,
    filters: int,
    count: int = 2,
) -> keras.KerasTensor:
    """Build the block.

    Args:
        features: of the LE decoder, N×h×w×C.
        enhanced: the streams' picture, N×h×w×12: 2×2 pixels behind each other.
        toned: the full-size picture after the tone, likewise.
        filters: channels of the block's 3×3 convolutions.
        count: how many of them there are.

    Returns:
        The refined picture, N×h×w×12 likewise, float32 and not clipped.
    """
    difference = layers.Subtract(name="refine_difference", dtype="float32")([toned, enhanced])
    inner = layers.Concatenate(name="refine_join")([features, difference])
    for index in range(1, count + 1):
        inner = layers.Conv2D(
            filters, 3, padding="same", activation="relu", name=f"refine_conv{index}"
        )(inner)
    numbers = layers.Conv2D(
        2 * SHARES,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name="refine_head",
        dtype="float32",
    )(inner)
    return Blend(name="refine", dtype="float32")([enhanced, difference, numbers])
