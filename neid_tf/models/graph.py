"""The graph of a network, built once, block by block in the order of section 2.2.

What a network is used for (whole, in training, at inference, in tiles) are cuts of this graph:
models from some of its tensors to others, on the same layers and weights.
"""

import functools
from typing import Any

import keras
from keras import layers

from neid_tf.models import backbone, grid, grid_limits, grid_reader, refinement, tone, unet
from neid_tf.models.config import ModelConfig
from neid_tf.models.layers import (
    Clipped,
    CropLike,
    DepthToSpace,
    FeatureFusing,
    Filled,
    FoldedBilinear,
    Middle,
    SpaceToDepth,
    SubPixelUpsampling,
    Thumbnail,
    WholePicture,
)
from neid_tf.models.precision import computing_in
from neid_tf.support.errors import NeidError

THUMBNAIL = backbone.SIDE
"""Cells along each side of the thumbnail that the tone is read off."""
PARTS = (
    *("whole", "training", "inference", "context", "fusing", "tile", "tone", "encoder", "decoder"),
    *("refined", "refined_tile", "refiner", "seen", "refined_seen"),
)
"""What a model can hold of a network; :class:`neid_tf.models.NEID` describes each."""


class Graph:
    """The tensors of a network, by name.

    Args:
        config: what the network is made of.
        training: the thumbnail is an input, and read as it is. Else it is made of the picture,
            the tone is the mean of what is read off it and off its mirror image, and it is
            limited (:mod:`neid_tf.models.grid_limits`).
        detail: the detail branch's picture is made too (section 2.2); inference goes without.

    Attributes:
        inputs: what the whole network is given: ``image``; in training ``thumbnail`` and ``box``
            too, where the network uses them; ``picture`` where it refines.
        seen: ``thumbnail``, where there is a tone: what the tone is read off.
        tone: what the tone is made of (the context's first share), read off the thumbnail.
        fusing: the vector that weighs the streams (the context's other share).
        place: ``box``, N×4, where the network needs to know which share of the whole picture it
            is given: top, left, height, width as shares of the whole.
        encoded: all that the decoder is given beside ``fusing`` and ``place``: features of the size
            of :class:`neid_tf.models.layers.Filled`, and ``toned``, the picture after its tone, or
            as it is where there is none.
        refining: what the refinement is given beside the tone and ``picture``, which is what
            ``image`` shows, or the middle of it, at full size: ``gain`` of the encoder,
            ``features`` of the decoder, and ``folded``, which is ``le`` before it is cut to the
            picture's size, with its 2×2 pixels behind each other.
        outputs: the pictures, and in training ``tone_parameters``.
        views: parts that were cut from it and are kept for further use, by name.
    """

    def __init__(self, config: ModelConfig, training: bool = False, detail: bool = True) -> None:
        self.config, self.training, self.detail = config, training, detail
        self.inputs = {"image": keras.Input((None, None, 3), name="image")}
        self.seen, self.tone, self.fusing, self.place, self.encoded = {}, {}, {}, {}, {}
        self.outputs, self.refining, self.views = {}, {}, {}
        self._width = config.filters * 2**config.depth
        self._initializer = {
            "normal": functools.partial(keras.initializers.RandomNormal, mean=0.0, stddev=0.02),
            "he_normal": keras.initializers.HeNormal,
        }[config.initializer]
        self._build()
        named = self.seen | self.context | self.place | self.encoded | self.refining
        for name, tensor in named.items():
            tensor.name = name  # Keras wants it of what becomes an input.

    @property
    def context(self) -> dict:
        """What the network reads off the whole picture, and tiles of it are given, by name."""
        return self.tone | self.fusing

    @property
    def lifting(self) -> dict:
        """What the decoder is given to lift the shade, by name; the refinement does it itself."""
        return self.tone if self.lifts_shade and not self.refining else {}

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
        cuts = {
            "whole": (self.inputs, self.outputs),
            "training": (self.inputs, self.outputs),
            "inference": (image, light),
            "context": (image, self.context),
            "fusing": (image | self.tone | self.place, self.fusing),
            "tile": (image | self.context | self.place, light),
            "tone": (image, self.tone),
            "seen": (image | self.seen | self.place, light),
            "encoder": (
                image | self.tone | self.place,
                self.encoded | self.fusing | self._share("gain"),
            ),
            "decoder": (
                self.encoded | self.fusing | self.place | self.lifting,
                self._share("folded", "features") or light,
            ),
        }
        cuts = cuts | self._refining_cuts(image) if self.refining else cuts
        inputs, outputs = cuts.get(part, (image, {}))
        if (isinstance(outputs, dict) and not outputs) or (part == "seen" and not self.seen):
            raise NeidError(f"this network has no part {part!r}")
        return (inputs if len(inputs) > 1 else inputs["image"]), outputs

    def _share(self, *names):
        """Return some of what the refinement is given; nothing where there is none."""
        return {name: self.refining[name] for name in names if self.refining}

    def _refining_cuts(self, image):
        picture, refined = {"picture": self.inputs["picture"]}, self.outputs["refined"]
        return {
            "refined": (image | picture, refined),
            "refined_tile": (image | self.context | self.place | picture, refined),
            "refined_seen": (image | self.seen | self.place | picture, refined),
            "refiner": (self.refining | self.tone | picture, refined),
        }

    def _build(self):
        config = self.config
        image = Clipped(name="clipped", dtype="float32")(self.inputs["image"])
        features, toned = self._toned(image) if config.tone else (image, None)
        light, skips = unet.encoder(
            Filled(2**config.depth, name="filled", dtype="float32")(features),
            config.filters,
            config.depth,
            self._initializer,
            config.convolutions,
        )
        fuses = config.architecture == "neid"
        detail = None
        if fuses or (self.detail and config.architecture == "le_dr"):
            detail = self._detail_features(light)
        self._note_encoded(light, skips, detail if fuses else None)
        self.encoded["toned"] = image if toned is None else toned
        if self.detail and detail is not None:
            base = image if config.tone and config.detail_target == "low" else toned
            self.outputs["dr"] = self._stream(detail, skips, base, "dr")
        if fuses:
            light, skips = self._fused_streams(light, skips, detail)
        self.outputs["le"] = self._stream(light, skips, toned, "le")
        if config.refinement:
            self.outputs["refined"] = self._refined()

    def _note_encoded(self, light, skips, detail):
        self.encoded = {"bottleneck": light}
        self.encoded |= {f"skip{level + 1}": skip for level, skip in enumerate(skips)}
        self.encoded |= {"detail": detail} if detail is not None else {}

    def _toned(self, image):
        """Return the streams' input and the toned picture; note the toned thumbnail."""
        thumbnail = self._thumbnail(image)
        is_grid = self.config.has_grid
        read = tone.tone_parameters
        if is_grid:
            read = functools.partial(grid_reader.grid_parameters, **self.config.reading)
        # In training both sides are seen in turn.
        with computing_in("float32"):  # It decides on the brightness of all.
            parameters = read(thumbnail, mirrored=self.config.mirrored and not self.training)
        if is_grid and not self.training:  # It would learn nothing in there.
            parameters = self._limited(thumbnail, parameters)
        self.tone["tone_parameters"] = parameters
        by = self._by_grid if is_grid else self._by_curve
        toned, self.outputs["tone"] = by(image, thumbnail, parameters)
        features = layers.Concatenate(name="dark_and_toned")([image, toned])
        if self.training:
            self.outputs["tone_parameters"] = parameters
        return features, toned

    def _limited(self, thumbnail, parameters):
        """Return what is left of a tone, and what is added where little is."""
        config = self.config
        limits = config.tone_dead_zone, config.tone_darkening, config.tone_least_lift
        if not any(limits):
            return parameters
        zone = grid_limits.DeadZone(*limits, name="tone_dead_zone", dtype="float32")
        parameters, slight = zone([thumbnail, parameters])
        if config.tone_shade > 1.0:
            shade = grid_limits.Shade(name="tone_shade", dtype="float32")
            parameters = shade([thumbnail, parameters, slight])
        return parameters

    @property
    def lifts_shade(self) -> bool:
        """Whether enhanced pictures get their shade lifted, which training does not see."""
        return self.config.has_grid and self.config.tone_shade > 1.0 and not self.training

    def lifted(self, picture: Any, parameters: Any, name: str | None = None) -> Any:
        """Return enhanced pictures with their shade lifted, where that is so.

        Args:
            picture: N×h×w×12, their 2×2 pixels behind each other.
            parameters: of their tone.
            name: of the layer.
        """
        if not self.lifts_shade:
            return picture
        lift = grid_limits.LiftedShade(self.config.tone_shade, name=name, dtype="float32")
        return lift([picture, parameters])

    @staticmethod
    def _by_curve(*inputs):
        """Return the picture and the thumbnail with their tone, as one curve a channel."""
        *pictures, parameters = inputs
        return [
            tone.ToneCurve(name=name, dtype="float32")([picture, parameters])
            for name, picture in zip(("toned", "tone"), pictures, strict=True)
        ]

    def _by_grid(self, image, thumbnail, parameters):
        """Return the same with the gains of a grid; note the picture's gain."""
        whole = WholePicture(name="whole_box", dtype="float32")(thumbnail)
        toned = []
        for name, picture, box in (("toned", image, self._box()), ("tone", thumbnail, whole)):
            gain = grid.GridGain(name=f"{name}_gain", dtype="float32")([picture, parameters, box])
            if self.config.refinement:
                self.refining.setdefault("gain", gain)
            toned.append(grid.GridTone(name=name, dtype="float32")([picture, gain, parameters]))
        return toned

    def _refined(self):
        """Put full-size detail back (:mod:`neid_tf.models.refinement`)."""
        self.inputs["picture"] = picture = keras.Input((None, None, 3), name="picture")
        picture = SpaceToDepth(name="picture_folded", dtype="float32")(picture)
        picture = Clipped(name="picture_clipped", dtype="float32")(picture)
        made = {
            name: Middle(name=f"middle_{name}", dtype=tensor.dtype)(
                [tensor, self.refining["gain"], picture]
            )
            for name, tensor in self.refining.items()
        }
        gain = grid.EnlargedGain(name="picture_gain", dtype="float32")(made["gain"])
        curve = grid.GridTone(name="picture_toned", dtype="float32")
        toned = curve([picture, gain, self.tone["tone_parameters"]])
        filters, count = self.config.refinement, self.config.convolutions
        folded = refinement.refine(made["features"], made["folded"], toned, filters, count)
        folded = self.lifted(folded, self.tone["tone_parameters"], "refined_lifted")
        return DepthToSpace(dtype="float32", name="refined")(folded)

    def _thumbnail(self, image):
        if self.training:
            thumbnail = keras.Input((THUMBNAIL, THUMBNAIL, 3), name="thumbnail")
            self.inputs["thumbnail"] = thumbnail
        else:
            thumbnail = Thumbnail(THUMBNAIL, name="thumbnail", dtype="float32")(image)
        self.seen["thumbnail"] = thumbnail
        return thumbnail

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
            features,
            skips,
            config.filters,
            self._initializer,
            config.convolutions,
            config.up_kernel,
            f"{name}_decoder",
        )
        # A correction starts near zero, so that training starts from the toned picture.
        small = keras.initializers.RandomNormal(stddev=0.001)
        initializer = self._initializer() if base is None else small
        if config.scale == 1:
            head = layers.Conv2D(3, 1, kernel_initializer=initializer, name=f"{name}_head")
        else:
            head = SubPixelUpsampling(
                3, kernel_initializer=initializer, folded=True, name=f"{name}_head"
            )
        picture = head(features)
        if base is not None:
            enlarged = FoldedBilinear(2**config.depth, name=f"{name}_base", dtype="float32")
            add = layers.Add(name=f"{name}_residual", dtype="float32")
            picture = add([enlarged(base), picture])
        if config.refinement and name == "le":
            self.refining |= {"features": features, "folded": picture}
        cut = CropLike(name=f"{name}_cut", dtype="float32")
        picture = cut([picture, self.encoded["toned"]])
        if name == "le":
            picture = self.lifted(picture, self.tone.get("tone_parameters"), "le_lifted")
        if config.scale == 1:
            return layers.Activation("linear", dtype="float32", name=name)(picture)
        return DepthToSpace(dtype="float32", name=name)(picture)
