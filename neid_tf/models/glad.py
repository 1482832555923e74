"""GLAD (Wang, Wei, Yang and Liu, FG 2018), a rival of Table 1.

The *overview* is an estimate of the light, made of the picture at 96×96; the *detail* convolutions
make the enhanced picture of that and of the picture.
"""

import keras
from keras import KerasTensor, layers, ops

from neid_tf.models.retinexnet import enlarged_like

Side = int | KerasTensor

SIDE = 96
"""Side of the picture that the overview is made of."""
_LEVELS = 6
_DETAIL = 4


def tensors(filters: int) -> dict[str, KerasTensor]:
    """Build the graph.

    Args:
        filters: channels of the overview, half of those of the detail; 64 as published.

    Returns:
        By name: ``image`` N×h×w×3, ``small`` N×96×96×3, ``overview`` N×96×96×filters,
        ``enlarged`` N×h×w×filters, and the enhanced picture ``le`` N×h×w×3.
    """
    image = keras.Input((None, None, 3), name="image")
    small = Nearest(SIDE, name="small")(image)
    overview = _overview(small, filters)
    enlarged = NearestLike(name="enlarged")([overview, image])
    features = layers.Concatenate(name="detail_joined")([enlarged, image])
    for index in range(1, _DETAIL + 1):
        features = _convolution(2 * filters, name=f"detail_conv{index}")(features)
    light = _convolution(3, dtype="float32", name="enhanced")(features)
    named = {"image": image, "small": small, "overview": overview, "enlarged": enlarged}
    return named | {"le": light}


def _convolution(filters, **options):
    return layers.Conv2D(filters, 3, padding="same", activation="relu", **options)


def _overview(small, filters):
    """Return the overview of a picture of 96×96."""
    features, skips = small, []
    for index in range(1, _LEVELS + 1):
        features = _convolution(filters, strides=2, name=f"overview_down{index}")(features)
        skips.append(features)
    for index in range(_LEVELS - 1, 0, -1):
        skip, name = skips[index - 1], f"overview_up{index}"
        features = enlarged_like(features, skip, 2, name)
        features = _convolution(filters, name=f"{name}_conv")(features)
        features = layers.Add(name=f"{name}_added")([features, skip])
    features = layers.UpSampling2D(2, name="overview_up0_enlarged")(features)
    return _convolution(filters, name="overview_up0_conv")(features)


def nearest(
    images: KerasTensor, height: int | KerasTensor, width: int | KerasTensor
) -> KerasTensor:
    """Resize pictures to the nearest pixels, those at ⌊i · size / new size⌋.

    Args:
        images: N×h×w×C.
        height: the new height.
        width: the new width.

    Returns:
        N×height×width×C.
    """
    for axis, size in ((1, height), (2, width)):
        places = ops.arange(size) * ops.shape(images)[axis] // size
        images = ops.take(images, places, axis=axis)
    return images


@keras.saving.register_keras_serializable("neid_tf")
class Nearest(layers.Layer):
    """Pictures of any size at ``side × side``: N×h×w×C to N×side×side×C; see :func:`nearest`."""

    def __init__(self, side, **kwargs):
        super().__init__(**kwargs)
        self.side = side

    def call(self, images: KerasTensor) -> KerasTensor:
        return nearest(images, self.side, self.side)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.side, self.side, input_shape[-1])

    def get_config(self) -> dict:
        return super().get_config() | {"side": self.side}


@keras.saving.register_keras_serializable("neid_tf")
class NearestLike(layers.Layer):
    """Features at the size of a picture: N×h×w×C and N×H×W×K to N×H×W×C; see :func:`nearest`."""

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:
        features, like = inputs
        return nearest(features, *ops.shape(like)[1:3])

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        features, like = input_shapes
        return (*like[:-1], features[-1])
