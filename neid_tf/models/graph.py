"""The graph of a network, built once, block by block in the order of section 2.2.

What a network is used for (whole, in training, at inference, in tiles) are cuts of this graph:
models from some of its tensors to others, on the same layers and weights.
"""

import functools

import keras
from keras import layers

from neid_tf.models import backbone, tone, unet
from neid_tf.models.config import ModelConfig
from neid_tf.models.layers import (
    BilinearUpsampling,
    Clipped,
    FeatureFusing,
    SubPixelUpsampling,
    Thumbnail,
    WholePicture,
)
from neid_tf.support.errors import NeidError

THUMBNAIL = backbone.SIDE
"""Cells along each side of the thumbnail that the tone is read off."""
PARTS = ("whole", "training", "inference", "context", "tile", "tone", "encoder", "decoder")
"""What a model can hold of a network; :class:`neid_tf.models.NEID` describes each."""


class Graph:
    """The tensors of a network, by name.

    Args:
        config: what the network is made of.
        training: the thumbnail is an input, and read as it is. Else it is made of the picture,
            and the tone is the mean of what is read off it and off its mirror image.
        detail: the detail branch's picture is made too (section 2.2); inference goes without.

    Attributes:
        inputs: what the whole network is given: ``image``; in training ``thumbnail`` and ``box``
            too, where the network uses them.
        tone: what the tone is made of (the context's first share), read off the thumbnail.
        fusing: the vector that weighs the streams (the context's other share).
        place: ``box``, N×4, where the network needs to know which share of the whole picture it
            is given: top, left, height, width as shares of the whole.
        encoded: all that the decoder is given beside ``fusing`` and ``place``.
        outputs: the pictures, and in training ``tone_parameters``.
    """

    def __init__(self, config: ModelConfig, training: bool = False, detail: bool = True) -> None:
        self.config, self.training, self.detail = config, training, detail
        self.inputs = {"image": keras.Input((None, None, 3), name="image")}
        self.tone, self.fusing, self.place, self.encoded = {}, {}, {}, {}
        self.outputs = {}
        self._width = config.filters * 2**config.depth
        self._initializer = {
            "normal": functools.partial(keras.initializers.RandomNormal, mean=0.0, stddev=0.02),
            "he_normal": keras.initializers.HeNormal,
        }[config.initializer]
        self._build()
        for name, tensor in (self.context | self.place | self.encoded).items():
            tensor.name = name  # Keras wants it of what becomes an input.

    @property
    def context(self) -> dict:
        """What the network reads off the whole picture, and tiles of it are given, by name."""
        return self.tone | self.fusing

    def holds(self, part: str) -> bool:
        """Return whether a part is a cut of this graph."""
        if self.training or part == "training":
            return self.training and part == "training"
        return self.detail or part != "whole"

    def cut(self, part: str) -> tuple:
        """Return the inputs and the outputs of a part.

        Raises:
            ValueError: where the network has no such part.
        """
        image = {"image": self.inputs["image"]}
        light = self.outputs["le"]
        inputs, outputs = {
            "whole": (self.inputs, self.outputs),
            "training": (self.inputs, self.outputs),
            "inference": (image, light),
            "context": (image, self.context),
            "tile": (image | self.context | self.place, light),
            "tone": (image, self.tone),
            "encoder": (image | self.tone | self.place, self.encoded | self.fusing),
            "decoder": (self.encoded | self.fusing | self.place, light),
        }[part]
        if isinstance(outputs, dict) and not outputs:
            raise NeidError(f"this network reads no {part} off the picture")
        return (inputs if len(inputs) > 1 else inputs["image"]), outputs

    def _build(self):
        config = self.config
        image = Clipped(name="clipped", dtype="float32")(self.inputs["image"])
        features, toned = self._toned(image) if config.tone else (image, None)
        light, skips = unet.encoder(features, config.filters, config.depth, self._initializer)
        fuses = config.architecture == "neid"
        detail = None
        if fuses or (self.detail and config.architecture == "le_dr"):
            detail = self._detail_features(light)
        if self.detail and detail is not None:
            base = image if config.tone and config.detail_target == "low" else toned
            self.outputs["dr"] = self._stream(detail, skips, base, "dr")
        self._note_encoded(light, skips, detail if fuses else None, toned)
        if fuses:
            light, skips = self._fused_streams(light, skips, detail)
        self.outputs["le"] = self._stream(light, skips, toned, "le")

    def _note_encoded(self, light, skips, detail, toned):
        self.encoded = {"bottleneck": light}
        self.encoded |= {f"skip{level + 1}": skip for level, skip in enumerate(skips)}
        further = {"detail": detail, "toned": toned}
        self.encoded |= {name: tensor for name, tensor in further.items() if tensor is not None}

    def _toned(self, image):
        """Return the streams' input and the toned picture; note the toned thumbnail."""
        thumbnail = self._thumbnail(image)
        # In training both sides are seen in turn.
        parameters = tone.tone_parameters(thumbnail, mirrored=not self.training)
        self.tone["tone_parameters"] = parameters
        toned = tone.ToneCurve(name="toned", dtype="float32")([image, parameters])
        features = layers.Concatenate(name="dark_and_toned")([image, toned])
        curve = tone.ToneCurve(name="tone", dtype="float32")
        self.outputs["tone"] = curve([thumbnail, parameters])
        if self.training:
            self.outputs["tone_parameters"] = parameters
        return features, toned

    def _thumbnail(self, image):
        if not self.training:
            return Thumbnail(THUMBNAIL, name="thumbnail", dtype="float32")(image)
        self.inputs["thumbnail"] = keras.Input((THUMBNAIL, THUMBNAIL, 3), name="thumbnail")
        return self.inputs["thumbnail"]

    def _box(self):
        """Return which share of the whole picture the network is given, N×4.

        A whole picture is all of it; crops in training and tiles at inference are told.
        """
        if not self.place:
            if self.training:
                self.inputs["box"] = self.place["box"] = keras.Input((4,), name="box")
            else:
                whole = WholePicture(name="box", dtype="float32")
                self.place["box"] = whole(self.inputs["image"])
        return self.place["box"]

    def _detail_features(self, bottleneck):
        """Take DR's features off the shared bottleneck; these stay at inference."""
        return layers.Conv2D(
            self._width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=self._initializer(),
            name="dr_features",
        )(bottleneck)

    def _fused_streams(self, bottleneck, skips, detail):
        """Fuse the streams under weights that DR's average feature decides (Feature Fusing)."""
        vector = layers.GlobalAveragePooling2D(name="ff_vector")(detail)
        vector = layers.Dense(
            max(self._width // 4, 8),
            activation="relu",
            kernel_initializer=self._initializer(),
            name="ff_squeeze",
        )(vector)
        self.fusing["ff_squeeze"] = vector
        fused = self._fused(bottleneck, detail, vector, "ff")
        if self.config.fusion == "all":
            skips = [self._fused_skip(skip, vector, level) for level, skip in enumerate(skips)]
        return fused, skips

    def _fused(self, light, detail, vector, name):
        weights = layers.Dense(
            light.shape[-1],
            activation="sigmoid",
            kernel_initializer=self._initializer(),
            name=f"{name}_weights",
        )(vector)
        return FeatureFusing(name=name)([light, detail, weights])

    def _fused_skip(self, skip, vector, level):
        """Fuse a skip connection with detail features of its own level."""
        name = f"ff{level + 1}"
        detail = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_features")(skip)
        return self._fused(skip, detail, vector, name)

    def _stream(self, features, skips, base, name):
        """Decode features into a picture: the LE stream, or the DR stream in training."""
        config = self.config
        features = unet.decoder(
            features, skips, config.filters, self._initializer, f"{name}_decoder"
        )
        # A correction starts near zero, so that training starts from the toned picture.
        small = keras.initializers.RandomNormal(stddev=0.001)
        initializer = self._initializer() if base is None else small
        if config.scale == 1:
            head = layers.Conv2D(3, 1, kernel_initializer=initializer, name=f"{name}_head")
        else:
            head = SubPixelUpsampling(3, kernel_initializer=initializer, name=f"{name}_head")
        picture = head(features)
        if base is not None:
            base = BilinearUpsampling(name=f"{name}_base")(base)
            picture = layers.Add(name=f"{name}_residual")([base, picture])
        return layers.Activation("linear", dtype="float32", name=name)(picture)
