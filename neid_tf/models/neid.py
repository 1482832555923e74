"""NEID: light enhancement, detail refinement and feature fusing on one encoder (section 2.2).

A :class:`ModelConfig` describes the network, and a *part* says how much of it a model holds:
the ``whole``; ``training``, with the thumbnail as an input of its own; ``inference``, without
what only the detail branch's output needs; and for pictures that are enhanced piece by piece
the ``context``, which is read off the whole picture, and the ``body``, which is told it;
``told`` is both in one, for exports. All parts of a network have the same layers by name, so
:func:`rebuild` moves weights between them.
"""

import dataclasses
import functools

import keras
from keras import layers

from neid_tf.models import backbone, tone, unet
from neid_tf.models.config import ModelConfig
from neid_tf.models.layers import (
    BilinearUpsampling,
    FeatureFusing,
    SubPixelUpsampling,
    Thumbnail,
    UnlessTold,
)
from neid_tf.support.errors import NeidError

THUMBNAIL = backbone.SIDE
"""Cells along each side of the thumbnail that the tone is read off."""
PARTS = ("whole", "training", "inference", "context", "body", "told")


@keras.saving.register_keras_serializable("neid_tf")
class NEID(keras.Model):
    """The functional model of a :class:`ModelConfig`, or a part of it.

    Pictures are N×h×w×3 in [0, 1], of any size; what comes out is float32 and not clipped.

    ========= ============================================ ====================================
    part      inputs                                       outputs
    ========= ============================================ ====================================
    whole     picture                                      dictionary of pictures, see below
    training  picture; if toned, a dictionary of ``image``  the same dictionary, and
              and ``thumbnail`` (N×128×128×3)              ``tone_parameters`` if toned
    inference picture                                      the enhanced picture
    context   picture                                      dictionary of the picture's vectors
    body      dictionary of ``image`` and the vectors      the enhanced picture
    told      the same, the vectors as ``told_NAME``; NaN   dictionary of the enhanced picture,
              where a vector is not told                   ``enhanced``, and the vectors
    ========= ============================================ ====================================

    The dictionary of pictures holds ``le``, the enhanced picture (N×2h×2w×3; for ``unet``
    N×h×w×3); ``dr``, the detail branch's picture of that size, where there is a detail branch;
    and ``tone``, the thumbnail after the tone curve, where there is a tone.
    """

    def __init__(self, part="whole", name=None, **fields):
        # === Functional Model ===
        config = ModelConfig(**fields)
        if part not in PARTS:
            raise NeidError(f"part must be one of {', '.join(PARTS)}, not {part!r}")
        graph = _Graph(config, part)
        outputs = graph.build()
        inputs = graph.inputs if len(graph.inputs) > 1 else graph.image
        super().__init__(inputs=inputs, outputs=outputs, name=name or config.architecture)
        # === Config ===
        self.config, self.part = config, part
        if keras.backend.backend() == "tensorflow":
            # With a GPU, Keras would have XLA compile the model anew for every size of picture.
            self.jit_compile = False

    def get_config(self):
        return {"name": self.name, "part": self.part} | dataclasses.asdict(self.config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


class _Graph:
    """Builds the graph of a part, block by block in the order of section 2.2."""

    def __init__(self, config, part):
        self.config, self.part = config, part
        self.image = keras.Input((None, None, 3), name="image")
        self.inputs, self.context = {"image": self.image}, {}
        self.width = config.filters * 2**config.depth
        self.initializer = {
            "normal": functools.partial(keras.initializers.RandomNormal, mean=0.0, stddev=0.02),
            "he_normal": keras.initializers.HeNormal,
        }[config.initializer]

    def build(self):
        config, outputs = self.config, {}
        features, base = self.image, None
        if config.tone:
            features, base, outputs["tone"] = self._tone()
            if self.part == "training":
                outputs["tone_parameters"] = self.context["tone_parameters"]
        bottleneck, skips = unet.encoder(features, config.filters, config.depth, self.initializer)
        detail = self._detail_features(bottleneck) if self._has_detail() else None
        if detail is not None and self.part in ("whole", "training"):
            detail_base = self.image if config.detail_target == "low" else base
            detail_base = None if base is None else detail_base
            outputs["dr"] = self._stream(detail, skips, detail_base, "dr")
        if config.architecture == "neid":
            bottleneck, skips = self._fuse(bottleneck, skips, detail)
        if self.part == "context":
            return self.context
        outputs["le"] = self._stream(bottleneck, skips, base, "le")
        if self.part == "told":
            return {"enhanced": outputs["le"]} | self.context
        return outputs if self.part in ("whole", "training") else outputs["le"]

    def _has_detail(self):
        whole = self.part in ("whole", "training")
        return self.config.architecture == "neid" or (self.config.architecture == "le_dr" and whole)

    def _told(self, name, size):
        """Make an input for a vector of the context."""
        self.inputs[name] = keras.Input((size,), name=name)
        return self.inputs[name]

    def _unless_told(self, name, vector):
        """Give a vector of the context the value that it is told, in the part that may be."""
        if self.part == "told":
            vector = UnlessTold()([vector, self._told(f"told_{name}", vector.shape[-1])])
        self.context[name] = vector
        return vector

    def _tone(self):
        """Return the streams' input, the toned picture and the toned thumbnail."""
        if self.part == "body":
            parameters, thumbnail = self._told("tone_parameters", tone.PARAMETERS), None
        else:
            thumbnail = self._thumbnail()
            # In training both sides are seen in turn.
            parameters = tone.tone_parameters(thumbnail, mirrored=self.part != "training")
            parameters = self._unless_told("tone_parameters", parameters)
        toned = tone.ToneCurve(name="toned", dtype="float32")([self.image, parameters])
        features = layers.Concatenate(name="dark_and_toned")([self.image, toned])
        if thumbnail is None:
            return features, toned, None
        curve = tone.ToneCurve(name="tone", dtype="float32")
        return features, toned, curve([thumbnail, parameters])

    def _thumbnail(self):
        if self.part != "training":
            return Thumbnail(THUMBNAIL, name="thumbnail", dtype="float32")(self.image)
        self.inputs["thumbnail"] = keras.Input((THUMBNAIL, THUMBNAIL, 3), name="thumbnail")
        return self.inputs["thumbnail"]

    def _detail_features(self, bottleneck):
        """Take DR's features off the shared bottleneck; these stay at inference."""
        return layers.Conv2D(
            self.width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=self.initializer(),
            name="dr_features",
        )(bottleneck)

    def _fuse(self, bottleneck, skips, detail):
        """Fuse the streams under weights that DR's average feature decides (Feature Fusing)."""
        size = max(self.width // 4, 8)
        if self.part == "body":
            vector = self._told("ff_squeeze", size)
        else:
            vector = layers.GlobalAveragePooling2D(name="ff_vector")(detail)
            vector = layers.Dense(
                size, activation="relu", kernel_initializer=self.initializer(), name="ff_squeeze"
            )(vector)
            vector = self._unless_told("ff_squeeze", vector)
        if self.part == "context":
            return bottleneck, skips
        fused = self._fused(bottleneck, detail, vector, "ff")
        if self.config.fusion == "all":
            skips = [self._fused_skip(skip, vector, level) for level, skip in enumerate(skips)]
        return fused, skips

    def _fused(self, light, detail, vector, name):
        weights = layers.Dense(
            light.shape[-1],
            activation="sigmoid",
            kernel_initializer=self.initializer(),
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
            features, skips, config.filters, self.initializer, f"{name}_decoder"
        )
        # A correction starts near zero, so that training starts from the toned picture.
        initializer = (
            self.initializer() if base is None else keras.initializers.RandomNormal(stddev=0.001)
        )
        if config.scale == 1:
            head = layers.Conv2D(3, 1, kernel_initializer=initializer, name=f"{name}_head")
        else:
            head = SubPixelUpsampling(3, kernel_initializer=initializer, name=f"{name}_head")
        picture = head(features)
        if base is not None:
            base = BilinearUpsampling(name=f"{name}_base")(base)
            picture = layers.Add(name=f"{name}_residual")([base, picture])
        return layers.Activation("linear", dtype="float32", name=name)(picture)


def rebuild(model, part):
    """Make another part of a network, with a copy of its weights.

    Args:
        model: a :class:`NEID` that holds every layer of the part.
        part: one of :data:`PARTS`.

    Returns:
        A new :class:`NEID`.
    """
    copy = NEID(part=part, name=model.name, **dataclasses.asdict(model.config))
    transfer(model, copy)
    return copy


def transfer(source, target):
    """Copy the weights of every layer of ``target`` from ``source``'s layer of that name."""
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def adopt(source, target):
    """Copy what fits: the weights of the layers that have the same name in both.

    A layer of ``target`` that is a whole number of times as wide takes the other's channels in
    between its own fresh ones, which start without a say in them: where all layers have fitted
    so, ``target`` gives what ``source`` gives, and has more to learn with.

    Raises:
        ValueError: where nothing fits.
    """
    theirs = {layer.name: layer.get_weights() for layer in source.layers if layer.weights}
    fitting = []
    for layer in target.layers:
        own = layer.get_weights()
        given = theirs.get(layer.name, ())
        if own and len(given) == len(own) and all(map(_fits, given, own)):
            fitting.append((layer, list(map(_within, given, own))))
    if not fitting:
        raise NeidError(f"no layer of {source.name} fits {target.name}")
    for layer, weights in fitting:
        layer.set_weights(weights)


def _fits(small, large):
    """Tell whether an array has another's size, or is only wider in its channels."""
    if small.ndim != large.ndim or small.shape[:-2] != large.shape[:-2]:
        return False
    return all(n % m == 0 for m, n in zip(small.shape, large.shape, strict=True))


def _within(small, large):
    """Put an array into a wider one, every so many channels; nothing else leads to those."""
    every = [slice(None, None, n // m) for m, n in zip(small.shape, large.shape, strict=True)]
    result = large.copy()
    result[..., every[-1]] = 0.0
    result[tuple(every)] = small
    return result


def inference_model(model):
    """Drop all that only DR's output needs (section 1: the detail branch costs nothing then).

    Args:
        model: a :class:`NEID`.

    Returns:
        A :class:`NEID` from N×h×w×3 in [0, 1] to the enhanced picture, not clipped: bit for bit
        the ``le`` of ``model``.
    """
    return rebuild(model, "inference")
