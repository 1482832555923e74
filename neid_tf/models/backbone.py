"""What is in a picture: features of EfficientNet-lite0 with its ImageNet weights, frozen.

How bright a dark picture is meant to be depends on what it shows, and a few hundred pairs do not
teach a network to see. The weights (Google, Apache-2.0) come with the package, without what
only the classifier needs; ``data/make_backbone.py`` made the file.
"""

import functools
import hashlib
import importlib.resources
import io
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from neid_tf.models.layers import Twice, WithMirrored, area_resize

SIDE = 128
"""Cells along each side of the thumbnail that the features are taken from."""


class Stage(typing.NamedTuple):
    """Some inverted bottleneck blocks; the first has the stride and changes the channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
)
"""EfficientNet-lite0's stages but for the last."""

_GRAY = 0.42


@keras.saving.register_keras_serializable("neid_tf")
class AutoExposure(layers.Layer):
    """Bring pictures N×h×w×3 in [0, 1] to one brightness, as far as they are darker.

    The gain ``g`` of the curve ``g·x / (1 − x + g·x)`` adds ``log g`` to every pixel's logit, so
    the one that brings the mean logit to that of 0.42 is known without a search.

    Gives the pictures, N×h×w×3, and log g, N×1 and at least 0.
    """

    def call(self, images: keras.KerasTensor) -> tuple[keras.KerasTensor, ...]:
        inside = ops.clip(images, 1.0 / 255.0, 254.0 / 255.0)
        logits = ops.mean(ops.log(inside / (1.0 - inside)), axis=(1, 2, 3), keepdims=True)
        log_gain = ops.maximum(float(np.log(_GRAY / (1.0 - _GRAY))) - logits, 0.0)
        gain = ops.exp(log_gain)
        return gain * images / (1.0 - images + gain * images), log_gain[:, :, 0, 0]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape, (input_shape[0], 1)


@keras.saving.register_keras_serializable("neid_tf")
class LogOfPicture(layers.Layer):
    """The logarithm of pictures N×h×w×3 in [0, 1], with black at the darkest level of 8 bits.

    Gives N×h×w×3.
    """

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return ops.log(images + 1.0 / 255.0)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape


@keras.saving.register_keras_serializable("neid_tf")
class Centred(layers.Layer):
    """Bring pictures from [0, 1] to the range that EfficientNet-lite0 was trained on.

    ``layers.Rescaling`` does the same, but only where TensorFlow is installed. Takes and gives
    N×h×w×3.
    """

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return images * (255.0 / 128.0) - 127.0 / 128.0

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape


@keras.saving.register_keras_serializable("neid_tf")
class MeanAndDeviation(layers.Layer):
    """Mean and standard deviation of every channel: N×h×w×C to N×2C."""

    def call(self, features: keras.KerasTensor) -> keras.KerasTensor:
        parts = [ops.mean(features, axis=(1, 2)), ops.std(features, axis=(1, 2))]
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], 2 * input_shape[-1])


@keras.saving.register_keras_serializable("neid_tf")
class Standardized(layers.Layer):
    """Subtract a stored mean from each feature and divide it by a stored deviation.

    Takes and gives N×C; the mean and the deviation have one number a feature.
    """

    def build(self, input_shape: tuple) -> None:
        size = input_shape[-1:]
        self.mean = self.add_weight(name="mean", shape=size, trainable=False)
        self.deviation = self.add_weight(
            name="deviation", shape=size, initializer="ones", trainable=False
        )

    def call(self, features: keras.KerasTensor) -> keras.KerasTensor:
        return (features - self.mean) / self.deviation

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape


def features(thumbnail: Any, mirrored: bool = False) -> tuple[Any, Any]:
    """Describe pictures by 861 numbers: what they show, and how bright they are.

    Args:
        thumbnail: N×128×128×3 in [0, 1].
        mirrored: describe their mirror images, too, behind them: 2N for N in what is returned.

    Returns:
        The features, N×861, of mean 0 and deviation 1 over LoL's training pictures; and the log of
        the gain that :class:`AutoExposure` gave the picture, N×1.
    """
    return features_and_maps(thumbnail, mirrored)[:2]


def features_and_maps(thumbnail: Any, mirrored: bool = False) -> tuple[Any, Any, Any, Any]:
    """Return what :func:`features` returns, and what it averages over the picture.

    Args:
        thumbnail, mirrored: as there.

    Returns:
        Features, log gain, a list of maps (N×16×16×40, N×8×8×80, N×8×8×112, N×4×4×192), and the
        pictures that they were taken from, as :class:`AutoExposure` gives them.
    """
    raw, log_gain, maps, exposed = _measured(thumbnail, stored(), mirrored)
    standard = Standardized(name="tone_standard", dtype="float32")
    result = standard(raw)
    _fill(standard, stored())
    return result, log_gain, maps, exposed


def statistics(
    arrays: Mapping[str, np.ndarray], pictures: Iterable[np.ndarray]
) -> dict[str, np.ndarray]:
    """Measure the features of pictures, for ``data/make_backbone.py``.

    Args:
        arrays: kernel and bias of every layer.
        pictures: uint8 pictures.

    Returns:
        The two arrays of :class:`Standardized`, under their names in the file.
    """
    image = keras.Input((SIDE, SIDE, 3))
    measure = keras.Model(image, _measured(image, arrays)[0])
    thumbnails = [area_resize(picture[None] / np.float32(255), SIDE) for picture in pictures]
    values = np.concatenate([np.asarray(measure(thumbnail)) for thumbnail in thumbnails])
    return {
        "tone_standard/mean": values.mean(axis=0).astype(np.float32),
        "tone_standard/deviation": (values.std(axis=0) + 1e-4).astype(np.float32),
    }


@functools.cache
def stored() -> dict[str, np.ndarray]:
    """Return the arrays of the package's file, float32, by ``layer/variable`` name."""
    content = (importlib.resources.files("neid_tf.models") / "backbone.npz").read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


@functools.cache
def digest() -> str:
    """Return what tells these arrays from others: 16 hexadecimal digits."""
    summed = hashlib.sha256()
    for name, array in sorted(stored().items()):
        summed.update(name.encode() + array.tobytes())
    return summed.hexdigest()[:16]


def _fill(layer, arrays):
    names = [variable.path.rpartition("/")[2] for variable in layer.weights]
    layer.set_weights([arrays[f"{layer.name}/{name}"] for name in names])


def _measured(thumbnail, arrays, mirrored=False):
    exposed, log_gain = AutoExposure(name="tone_exposure", dtype="float32")(thumbnail)
    logarithm = LogOfPicture(name="tone_logarithm", dtype="float32")(thumbnail)
    if mirrored:
        exposed = WithMirrored(name="tone_with_mirrored", dtype="float32")(exposed)
    maps = _stages(exposed, arrays)
    *raw, of_picture, of_logarithm = (
        MeanAndDeviation(name=f"tone_pool{index + 1}", dtype="float32")(pooled)
        for index, pooled in enumerate([*maps, thumbnail, logarithm])
    )
    alike = [of_picture, of_logarithm, log_gain]
    if mirrored:
        names = ("tone_picture_twice", "tone_logarithm_twice", "tone_gain_twice")
        alike = [
            Twice(name=name, dtype="float32")(vector)
            for name, vector in zip(names, alike, strict=True)
        ]
    joined = layers.Concatenate(name="tone_features", dtype="float32")([*raw, *alike])
    return joined, alike[-1], maps, exposed


def _stages(exposed, arrays):
    """Return the feature maps of the last four stages."""

    def convolve(features, kind, name, activation="relu6", **options):
        layer = kind(**options, padding="same", activation=activation, name=name, trainable=False)
        # Kernels drawn at random, to be replaced in the next line, would take a while.
        initial = f"{'depthwise' if kind is layers.DepthwiseConv2D else 'kernel'}_initializer"
        setattr(layer, initial, keras.initializers.Zeros())
        result = layer(features)
        _fill(layer, arrays)
        return result

    features = Centred(name="tone_scaled")(exposed)
    stem = {"filters": 32, "kernel_size": 3, "strides": 2}
    features = convolve(features, layers.Conv2D, "tone_stem", **stem)
    maps, number = [], 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            number += 1
            name, before, stride = f"tone_block{number}", features, 1 if repeat else stage.stride
            if stage.expansion > 1:
                wide = {"filters": before.shape[-1] * stage.expansion, "kernel_size": 1}
                features = convolve(features, layers.Conv2D, f"{name}_expand", **wide)
            filters = {"kernel_size": stage.kernel, "strides": stride}
            features = convolve(features, layers.DepthwiseConv2D, f"{name}_depthwise", **filters)
            narrow = {"filters": stage.filters, "kernel_size": 1, "activation": None}
            features = convolve(features, layers.Conv2D, f"{name}_project", **narrow)
            if repeat:
                features = layers.Add(name=f"{name}_sum")([before, features])
        maps.append(features)
    return maps[2:]
