"""Reading the grid of gains (:mod:`neid_tf.models.grid`) off a picture's thumbnail."""

import keras
from keras import layers, ops

from neid_tf.models import backbone
from neid_tf.models.grid import BINS, EXPOSURE, PARAMETERS, SIDE, VEIL, brightest
from neid_tf.models.layers import Twice
from neid_tf.pixels.samples import LUMA


def luminance(images: keras.KerasTensor) -> keras.KerasTensor:
    """Return the luminance of pictures N×h×w×3, N×h×w×1."""
    return ops.sum(images * ops.convert_to_tensor(LUMA, images.dtype), axis=-1, keepdims=True)


@keras.saving.register_keras_serializable("neid_tf")
class Blackened(layers.Layer):
    """Take what is nearly black for black, without colour.

    At one or two levels of 255 a colour is rounding, and brightness a codec's blocks. Exposed as a
    dark room is, a black sky by night looks like an olive wall; it is not to be read as one. With
    ``m`` the largest channel over ``black``, the picture is kept to the share ``1 − exp(−m²)``, and
    its colour beside its luminance to ``1 − exp(−(m / 1.5)⁴)``. Up to ``black`` the largest channel
    is the mean of 3×3 pixels, each at most at ``black``, since a few brighter ones do not make
    light of noise. What is of more than 8 bits may be dark altogether: no more than an eighth of a
    picture's brightest level is taken for black.

    Args:
        black: level of 255.

    Takes and gives pictures N×h×w×3 in [0, 1].
    """

    def __init__(self, black=1.5, **kwargs):
        super().__init__(**kwargs)
        self.black = black

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        largest = ops.max(images, axis=-1, keepdims=True)
        brightest = ops.max(largest, axis=(1, 2), keepdims=True)
        black = ops.clip(brightest / 8.0, 1e-6, max(self.black / 255.0, 1e-6))
        around = ops.average_pool(ops.minimum(largest, black), 3, 1, padding="same")
        level = ops.square((around + ops.relu(largest - black)) / black)
        gray = luminance(images)
        coloured = 1.0 - ops.exp(-ops.square(level / 1.5**2))
        return (gray + (images - gray) * coloured) * (1.0 - ops.exp(-level))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return super().get_config() | {"black": self.black}


@keras.saving.register_keras_serializable("neid_tf")
class Veil(layers.Layer):
    """How much light lies over all of a picture, as haze, glare and a camera's flat profile lay it.

    A picture without white whose darkest hundredth is gray has a veil: what that hundredth (of the
    smallest channel, in the mean) is above 5 levels of 255, but no more than half of the
    way to the brightest hundredth (of the largest channel), so that a wall stays as it is. Where
    the brightest is at 0.75 or less it is all of that, and from 0.85 on nothing: most pictures
    with white are in the key that they are meant to be in. Light over all is what dehazing
    takes off as well (He et al., "Single Image Haze Removal Using Dark Channel Prior", 2009).

    Args:
        share: of the veil that is meant.

    Takes pictures N×s×s×3 in [0, 1], gives N×1.
    """

    LEAST, WHITE, SLOPE = 5.0 / 255.0, 0.85, 10.0

    def __init__(self, share=1.0, **kwargs):
        super().__init__(**kwargs)
        self.share = share

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        if not self.share:
            return ops.zeros_like(images[:, 0, 0, :1])
        dark, bright = -brightest(-ops.min(images, axis=-1)), brightest(ops.max(images, axis=-1))
        veil = ops.relu(ops.minimum(dark - self.LEAST, (bright - dark) / 2.0))
        return self.share * veil * ops.clip((self.WHITE - bright) * self.SLOPE, 0.0, 1.0)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], 1)

    def get_config(self) -> dict:
        return super().get_config() | {"share": self.share}


@keras.saving.register_keras_serializable("neid_tf")
class Unveiled(layers.Layer):
    """Take veils N×1 off pictures N×h×w×3 in [0, 1]."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        images, veil = inputs
        veil = veil[:, None, None]
        return ops.relu(images - veil) / (1.0 - veil)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]


@keras.saving.register_keras_serializable("neid_tf")
class OneColour(layers.Layer):
    """To what share pictures are of one colour: gray, or gray under a cast, as sepia is.

    Each channel is fitted by a line in the luminance, with weights that let dark pixels count as
    much as bright ones; a cast is a factor or an offset, and in a dark picture one level of 255 is
    an offset that counts. With ``c`` the mean of what the channels of a pixel are apart beside the
    lines, as a share of the mean of the largest channel, it is ``exp(−(c / 0.035)⁴)``: 1 for
    gray, next to nothing from 0.05 on, as nearly all pictures of several colours are.

    Takes pictures N×h×w×3 in [0, 1], gives N×1.
    """

    WIDTH = 0.035

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        gray = luminance(images)
        weights = 1.0 / (gray + 0.25 * ops.mean(gray, axis=(1, 2), keepdims=True) + 1.0 / 255.0)
        weights = weights / ops.sum(weights, axis=(1, 2), keepdims=True)

        def mean(values):
            return ops.sum(weights * values, axis=(1, 2), keepdims=True)

        off = gray - mean(gray)
        slope = mean(off * images) / (mean(off * off) + 1e-9)
        beside = images - mean(images) - slope * off
        spread = ops.max(beside, axis=-1, keepdims=True) - ops.min(beside, axis=-1, keepdims=True)
        colour = mean(spread) / (mean(ops.max(images, axis=-1, keepdims=True)) + 1e-6)
        return ops.exp(-((colour[:, 0, 0] / self.WIDTH) ** 4))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], 1)


@keras.saving.register_keras_serializable("neid_tf")
class Decoloured(layers.Layer):
    """Take the colour off pictures N×h×w×3, each to its share of N×1."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        images, share = inputs
        gray = luminance(images)
        return images + (gray - images) * share[:, None, None]

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]


@keras.saving.register_keras_serializable("neid_tf")
class WithVeil(layers.Layer):
    """Put veils N×1 in their place among what :class:`JoinedTone` gives, and no shade behind them.

    Gives N×:data:`neid_tf.models.grid.PARAMETERS`.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        parameters, veil = inputs
        shade = ops.zeros_like(veil)
        return ops.concatenate([parameters[:, :VEIL], veil, shade, parameters[:, VEIL:]], axis=-1)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return (input_shapes[0][0], PARAMETERS)


@keras.saving.register_keras_serializable("neid_tf")
class MeanOfMirrored(layers.Layer):
    """Average the parameters of pictures with those of their mirror images, mirrored back.

    The rows are ordered as :class:`neid_tf.models.layers.WithMirrored` puts them. Takes 2N rows of
    what :class:`JoinedTone` gives, gives N of them.
    """

    def call(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        straight, mirrored = ops.split(parameters, 2, axis=0)
        grid = ops.reshape(mirrored[:, VEIL:], (-1, SIDE, SIDE, BINS))[:, :, ::-1]
        grid = ops.reshape(grid, (-1, SIDE * SIDE * BINS))
        return 0.5 * (straight + ops.concatenate([mirrored[:, :VEIL], grid], axis=-1))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, size = input_shape
        return (None if batch is None else batch // 2, size)


@keras.saving.register_keras_serializable("neid_tf")
class JoinedTone(layers.Layer):
    """Join whole-picture numbers N×(21 + 8), a grid N×16×16×8 and a log exposure N×1.

    The last 8 of the numbers are a curve of the whole picture, added to that of every cell. Gives
    N×:data:`neid_tf.models.grid.PARAMETERS`, less veil and shade.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        numbers, grid, log_exposure = inputs
        grid = grid + numbers[:, None, None, EXPOSURE:]
        flat = ops.reshape(grid, (-1, SIDE * SIDE * BINS))
        return ops.concatenate([0.3 * numbers[:, :EXPOSURE], log_exposure, flat], axis=-1)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return (input_shapes[0][0], PARAMETERS - 2)


def grid_parameters(
    thumbnail: keras.KerasTensor,
    hidden: int = 128,
    filters: int = 48,
    dropout: float = 0.3,
    mirrored: bool = False,
    black: float = 0.0,
    veil: float = 0.0,
    gray: int = 0,
) -> keras.KerasTensor:
    """Read the parameters of the tone off a thumbnail.

    Frozen features say what the picture shows, as a whole and in every place
    (:mod:`neid_tf.models.backbone`).

    Args:
        thumbnail: N×128×128×3 in [0, 1].
        hidden: units of the dense layer that reads the whole picture's features.
        filters: channels of the convolutions that read the maps.
        dropout: share of the features that training drops.
        mirrored: whether the result is the mean for the thumbnail and its mirror image.
        black: what level of 255 is taken for black (:class:`Blackened`); 0 to read all.
        veil: what share of the veil is taken off (:class:`Veil`); 0 to leave it.
        gray: units of what corrects the reading of pictures of one colour, which are read as gray
            ones (:class:`OneColour`); 0 for none.

    Returns:
        N×:data:`neid_tf.models.grid.PARAMETERS`.
    """
    over = Veil(veil, name="tone_veil", dtype="float32")(thumbnail)
    if veil:
        thumbnail = Unveiled(name="tone_unveiled", dtype="float32")([thumbnail, over])
    if gray:
        share = OneColour(name="tone_one_colour", dtype="float32")(thumbnail)
        thumbnail = Decoloured(name="tone_decoloured", dtype="float32")([thumbnail, share])
        if mirrored:
            share = Twice(name="tone_one_colour_twice", dtype="float32")(share)
    if black:
        thumbnail = Blackened(black, name="tone_blackened", dtype="float32")(thumbnail)
    features, log_gain, maps, exposed = backbone.features_and_maps(thumbnail, mirrored)
    features = layers.Dropout(dropout, name="tone_dropout1")(features)
    seen = features
    features = layers.Dense(hidden, activation="relu", name="tone_dense")(features)
    if gray:
        features = _corrected(features, seen, share, gray)
    features = layers.Dropout(dropout, name="tone_dropout2")(features)
    small = {"kernel_initializer": keras.initializers.RandomNormal(stddev=0.01)}
    numbers = layers.Dense(EXPOSURE + BINS, dtype="float32", name="tone_head", **small)(features)
    local = _local(exposed, maps, features, filters, dropout)
    grid = layers.Conv2D(BINS, 1, dtype="float32", name="tone_grid", **small)(local)
    parameters = JoinedTone(name="tone_parameters", dtype="float32")([numbers, grid, log_gain])
    if mirrored:
        parameters = MeanOfMirrored(name="tone_mean", dtype="float32")(parameters)
    return WithVeil(name="tone_with_veil", dtype="float32")([parameters, over])


def _corrected(read, features, share, units):
    """Return what is read off pictures, with a correction to the share that they are of one colour.

    What is learned in colour takes pictures without for others.
    """
    found = layers.Dense(units, activation="relu", name="tone_gray1")(features)
    found = layers.Dense(read.shape[-1], kernel_initializer="zeros", name="tone_gray2")(found)
    found = layers.Multiply(name="tone_gray_share", dtype="float32")([found, share])
    return layers.Add(name="tone_gray_told", dtype="float32")([read, found])


def _local(exposed, maps, features, filters, dropout):
    """Return features of every cell of the grid: what is there, and what the picture is."""

    def convolve(inputs, kernel, name):
        layer = layers.Conv2D(filters, kernel, padding="same", activation="relu", name=name)
        return layer(inputs)

    def normed(inputs, name):
        return layers.LayerNormalization(name=name, dtype="float32")(inputs)

    fine, middle, late, coarse = (
        normed(inputs, f"tone_normed{index + 1}") for index, inputs in enumerate(maps)
    )
    coarse = layers.UpSampling2D(name="tone_coarse")(coarse)
    context = layers.Concatenate(name="tone_context")([middle, late, coarse])
    context = layers.SpatialDropout2D(dropout, name="tone_dropout3")(context)
    context = convolve(context, 1, "tone_local1")
    context = layers.Add(name="tone_told")(
        [
            context,
            layers.Reshape((1, 1, filters), name="tone_spread")(
                layers.Dense(filters, name="tone_whole")(features)
            ),
        ]
    )
    context = convolve(context, 3, "tone_local2")
    context = layers.UpSampling2D(interpolation="bilinear", name="tone_enlarged")(context)
    cells = Cells(name="tone_cells", dtype="float32")(exposed)
    joined = layers.Concatenate(name="tone_joined")([context, fine, cells])
    return convolve(convolve(joined, 1, "tone_local3"), 3, "tone_local4")


@keras.saving.register_keras_serializable("neid_tf")
class Cells(layers.Layer):
    """The mean and the largest of every cell of the grid.

    Takes pictures N×s×s×3, with s a multiple of 16, gives N×16×16×6.
    """

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        side = images.shape[1] // SIDE
        cells = ops.reshape(images, (-1, SIDE, side, SIDE, side, 3))
        return ops.concatenate([ops.mean(cells, axis=(2, 4)), ops.max(cells, axis=(2, 4))], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], SIDE, SIDE, 6)
