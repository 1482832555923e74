"""The U-net of section 2.1: encoder, decoder, and their blocks."""

from collections.abc import Callable, Sequence

import keras
from keras import KerasTensor, layers

Initializer = Callable[[], keras.initializers.Initializer]
"""Makes a fresh initialiser, so that no two kernels begin alike."""


def convolutions(
    features: KerasTensor, filters: int, count: int, initializer: Initializer, name: str
) -> KerasTensor:
    """Apply 3×3 convolutions, each with a ReLU (section 2.1, where there are two).

    Args:
        features: N×h×w×C.
        filters: channels of the result.
        count: how many there are.
        initializer: makes the initialiser of a kernel.
        name: what the names of the layers begin with.

    Returns:
        N×h×w×filters.
    """
    for index in range(1, count + 1):
        features = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=initializer(),
            name=f"{name}_conv{index}",
        )(features)
    return features


def encoder(
    features: KerasTensor,
    filters: int,
    depth: int,
    initializer: Initializer,
    count: int = 2,
    name: str = "encoder",
) -> tuple[KerasTensor, list[KerasTensor]]:
    """Build the contracting path (section 2.1).

    Each of the ``depth`` levels is 3×3 convolutions (two in the paper) and a 2×2 max-pool; the
    width doubles from level to level.

    Args:
        features: the picture, or what is made of it, N×h×w×C; height and width are multiples of
            ``2**depth``: see :class:`neid_tf.models.layers.Filled`.
        filters: channels of the first level.
        depth: how many levels there are.
        initializer: makes the initialiser of a kernel.
        count: how many 3×3 convolutions each level and the bottleneck have.
        name: what the names of the layers begin with.

    Returns:
        The features of the bottleneck (``filters · 2**depth`` channels) and the list of
        skip connections, the largest first.
    """
    skips = []
    for level in range(depth):
        features = convolutions(
            features, filters * 2**level, count, initializer, f"{name}{level + 1}"
        )
        skips.append(features)
        features = layers.MaxPooling2D(padding="same", name=f"{name}{level + 1}_pool")(features)
    width, name = filters * 2**depth, f"{name}_bottleneck"
    bottleneck = convolutions(features, width, count, initializer, name)
    return bottleneck, skips


def decoder(
    features: KerasTensor,
    skips: Sequence[KerasTensor],
    filters: int,
    initializer: Initializer,
    count: int = 2,
    up_kernel: int = 2,
    name: str = "decoder",
) -> KerasTensor:
    """Build the expansive path (section 2.1).

    Each step enlarges the features, applies a 2×2 convolution, joins the skip connection
    and applies 3×3 convolutions (two in the paper).

    Args:
        features: of the bottleneck.
        skips: the skip connections of :func:`encoder`, the largest first.
        filters: channels of the first level.
        initializer: makes the initialiser of a kernel.
        count: how many 3×3 convolutions each level has.
        up_kernel: 2 for that 2×2 convolution; 1 for one of 1×1, which is applied before the
            enlarging: the same as behind it.
        name: what the names of the layers begin with.

    Returns:
        Features of the size of ``skips[0]`` with ``filters`` channels.
    """
    for level in reversed(range(len(skips))):
        width, step = filters * 2**level, f"{name}{level + 1}"
        enlarge = layers.UpSampling2D(name=f"{step}_up")
        convolve = layers.Conv2D(
            width,
            up_kernel,
            padding="same",
            activation="relu",
            kernel_initializer=initializer(),
            name=f"{step}_up_conv",
        )
        for layer in (convolve, enlarge) if up_kernel == 1 else (enlarge, convolve):
            features = layer(features)
        features = layers.Concatenate(name=f"{step}_join")([skips[level], features])
        features = convolutions(features, width, count, initializer, step)
    return features
