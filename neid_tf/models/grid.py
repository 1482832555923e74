"""Local tone that keeps hues: a bilateral grid of gains, read off the whole picture.

One curve for a whole picture can't lift a figure before a bright sky and leave the sky as it is,
and one curve a channel bends hues. Here a small network reads a grid off the picture's
thumbnail: a gain for every place and every brightness (Gharbi et al., 2017). The
gain acts on the largest channel and the others follow, so that the hue stays; the white balance is
corrected apart from it. Beyond the paper; ``tone=True`` and ``tone_kind="grid"`` of
:class:`neid_tf.models.ModelConfig` turn it on.
"""

import keras
from keras import layers, ops

from neid_tf.models.layers import FoldedBilinear
from neid_tf.pixels.curve import odds_curve

SIDE, BINS = 16, 8
"""Cells along each side of the grid, and levels of brightness in every cell."""
EXPOSURE, VEIL, SHADE, GLOBAL = 21, 22, 23, 24
"""White balance (3), colour matrices for dark and for bright pixels (9 each), the logarithm of the
guide's exposure (1), the veil over the picture (1), and to what share its shade is lifted (1): what
the first grid cell comes after."""
PARAMETERS = GLOBAL + SIDE * SIDE * BINS
"""How many numbers describe the tone of a picture."""
BOX = 4
"""Top, left, height and width of a piece, as shares of the whole picture."""


@keras.saving.register_keras_serializable("neid_tf")
class GridGain(layers.Layer):
    """Slice the grid: the logarithm of every pixel's gain.

    Every pixel takes a mean of the grid's nearest cells, weighed by how near they are in place
    and in brightness. The brightness is the largest channel at a medium exposure.

    Here and below, numbers of one kind lie side by side, as planes (N×C×h×w): runtimes are several
    times as fast with them as with a few numbers for every pixel.

    Inputs are pictures N×h×w×3 in [0, 1], N×:data:`PARAMETERS` parameters, and N×4 boxes: which
    part of the whole picture they show. Gives N×h×w.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        images, parameters, boxes = inputs
        parameters = ops.cast(parameters, images.dtype)
        height, width = ops.shape(images)[1], ops.shape(images)[2]
        cells = ops.reshape(parameters[:, GLOBAL:], (-1, SIDE, SIDE, BINS))
        cells = ops.transpose(cells, (0, 3, 1, 2))
        # The darkest level, and how far each is from the one below it.
        cells = ops.concatenate([cells[:, :1], cells[:, 1:] - cells[:, :-1]], axis=1)
        rows = hat_weights(height, boxes[:, 0:1], boxes[:, 2:3], images.dtype)
        columns = hat_weights(width, boxes[:, 1:2], boxes[:, 3:4], images.dtype)
        columns = ops.transpose(columns, (0, 2, 1))
        levels = ops.matmul(ops.matmul(rows[:, None], cells), columns[:, None])
        log_exposure = parameters[:, EXPOSURE][:, None, None]
        balanced = white_balanced(planes(images), parameters)
        largest = ops.max(balanced, axis=2, keepdims=True)  # As GridTone does: computed once.
        guide = odds_curve(ops.squeeze(largest, 1), ops.exp(log_exposure))
        knots = ops.arange(BINS - 1, dtype=images.dtype)[None, :, None]
        passed = ops.clip(guide * (BINS - 1.0) - knots, 0.0, 1.0)
        levels = ops.reshape(levels, (-1, BINS, ops.shape(passed)[-1]))
        # Their sum, by a product: several times as fast as summing planes.
        sums = ops.matmul(ops.ones((1, BINS - 1), images.dtype), levels[:, 1:] * passed)
        return ops.reshape(log_exposure + levels[:, :1] + sums, (-1, height, width))

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0][:-1]


@keras.saving.register_keras_serializable("neid_tf")
class EnlargedGain(FoldedBilinear):
    """Enlarge planes by 2, bilinearly: N×h×w to N×h×w×4, 2×2 pixels behind each other."""

    def call(self, planes: keras.KerasTensor) -> keras.KerasTensor:
        return super().call(planes[..., None])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape, 4)


@keras.saving.register_keras_serializable("neid_tf")
class GridTone(layers.Layer):
    """Balance pictures, brighten them by a gain that keeps hues, and mix their channels a little.

    The gain ``g`` takes the largest channel ``m`` to ``g·m / (1 − m + g·m)`` and the others in
    proportion: 0 stays 0 and 1 stays 1; a veil is taken off before. Noise and a camera's black
    level bend the colours of dark pixels and not those of bright ones, so one matrix is for black
    and one for white, with a blend in between; both leave gray as it is.

    Inputs are pictures N×h×w×3 in [0, 1], their log gains N×h×w, and N×:data:`PARAMETERS`
    parameters. Gives N×h×w×3. Pictures whose 2×2 pixels lie behind each other (N×h×w×12, with gains
    N×h×w×4) stay so.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        images, log_gain, parameters = inputs
        parameters = ops.cast(parameters, images.dtype)
        pixels = planes(images)
        if len(log_gain.shape) == 3:
            log_gain = log_gain[..., None]
        log_gain = ops.transpose(log_gain, (0, 3, 1, 2))
        log_gain = ops.reshape(log_gain, (-1, images.shape[-1] // 3, 1, ops.shape(pixels)[-1]))
        gain, balanced = ops.exp(log_gain), white_balanced(pixels, parameters)
        largest = ops.max(balanced, axis=2, keepdims=True)
        factor = gain / (1.0 + (gain - 1.0) * largest)
        dark, slope = _matrices(parameters)
        brightened = balanced * factor
        mixed = ops.matmul(slope, brightened) * (largest * factor)
        mixed = ops.matmul(dark, brightened) + mixed
        return from_planes(mixed, images)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]


def toned(
    images: keras.KerasTensor, parameters: keras.KerasTensor, boxes: keras.KerasTensor
) -> keras.KerasTensor:
    """Return pictures after the tone.

    Args:
        images: N×h×w×3 in [0, 1].
        parameters: N×:data:`PARAMETERS`.
        boxes: N×4, or 1×4 for all, which part of the whole picture each shows.
    """
    gain = GridGain(dtype="float32")([images, parameters, boxes])
    return GridTone(dtype="float32")([images, gain, parameters])


def brightest(values: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean of the brightest hundredth of N×h×w values, N×1."""
    count = values.shape[1] * values.shape[2]
    found, _ = ops.top_k(ops.reshape(values, (-1, count)), max(round(0.01 * count), 1))
    return ops.mean(found, axis=-1, keepdims=True)


def transposed(parameters: keras.KerasTensor, change: keras.KerasTensor) -> keras.KerasTensor:
    """Let rows and columns of the grids of some tones change places.

    Args:
        parameters: N×:data:`PARAMETERS`.
        change: of which, N booleans.
    """
    cells = ops.reshape(parameters[:, GLOBAL:], (-1, SIDE, SIDE, BINS))
    cells = ops.where(change[:, None, None, None], ops.transpose(cells, (0, 2, 1, 3)), cells)
    flat = ops.reshape(cells, (-1, SIDE * SIDE * BINS))
    return ops.concatenate([parameters[:, :GLOBAL], flat], axis=-1)


def white_balanced(planes: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
    """Take the veil off, and multiply the odds of each channel by the exponential of its parameter.

    A veil ``v`` is light that lies over all of a picture: ``x`` comes to ``(x − v) / (1 − v)``, and
    what is below it to black.

    Args:
        planes: N×P×3×M in [0, 1], M pixels of P planes of each channel.
        parameters: of the tone, one row a picture; the first three are the channels', and one is
            the veil.

    Returns the same shape.
    """
    veil = parameters[:, None, VEIL:SHADE, None]
    share = 1.0 / ops.exp(parameters[:, None, :3, None])  # As in odds_curve, of (x − v) / (1 − v).
    lit = ops.maximum(planes, veil) - veil
    return lit / (share * (1.0 - veil) + (1.0 - share) * lit)


def planes(images: keras.KerasTensor) -> keras.KerasTensor:
    """Return pictures N×h×w×3P, with P pixels behind each other, as N×P×3×(h·w)."""
    made = ops.transpose(images, (0, 3, 1, 2))
    batch, channels, height, width = ops.shape(made)
    return ops.reshape(made, (batch, channels // 3, 3, height * width))


def from_planes(made: keras.KerasTensor, images: keras.KerasTensor) -> keras.KerasTensor:
    """Return what :func:`planes` gives as pictures again, of the shape of ``images``."""
    batch, height, width, channels = ops.shape(images)
    made = ops.reshape(made, (batch, channels, height, width))
    return ops.transpose(made, (0, 2, 3, 1))


def _matrices(parameters):
    """Return what the channels are multiplied by where it is dark, and what is added to that.

    Both are N×1×3×3; the second in proportion to how bright it is. Gray stays gray.
    """
    matrices = ops.reshape(parameters[:, 3:EXPOSURE], (-1, 2, 3, 3))
    matrices = ops.transpose(matrices - ops.mean(matrices, axis=2, keepdims=True), (0, 1, 3, 2))
    dark, bright = matrices[:, :1], matrices[:, 1:]
    return dark + ops.eye(3, dtype=parameters.dtype), bright - dark


def hat_weights(
    length: int | keras.KerasTensor,
    start: keras.KerasTensor,
    extent: keras.KerasTensor,
    dtype: str,
) -> keras.KerasTensor:
    """Return N×length×:data:`SIDE`: how much of every cell each pixel of a row or column takes.

    Args:
        length: pixels of the row or column.
        start: N×1, where it begins in the whole picture, as a share of it.
        extent: N×1, which share of the whole picture it covers.
        dtype: of the weights.
    """
    centre = (ops.arange(length, dtype="float32") + 0.5) / ops.cast(length, "float32")
    place = ops.cast(start, "float32") + ops.cast(extent, "float32") * centre[None]
    place = ops.clip(place * SIDE - 0.5, 0.0, SIDE - 1.0)
    knots = ops.arange(SIDE, dtype="float32")
    return ops.cast(ops.relu(1.0 - ops.abs(place[..., None] - knots)), dtype)
