"""Layers of the network, written with ``keras.ops`` so that every Keras backend runs them."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

_package = "neid_tf"


def area_resize(images: Any, size: int, boxes: Any = None) -> Any:
    """Average every picture over a ``size × size`` grid of equal cells.

    Two products with a matrix of cell-to-pixel overlaps, so it needs nothing but
    matrix products and works at any picture size, smaller than the grid as well.

    Args:
        images: N×h×w×C.
        size: cells along each side of the result.
        boxes: optional N×4 of ``top, left, height, width``, each as a share of the
            picture in [0, 1]; without it the grid covers the whole picture.

    Returns:
        N×size×size×C.
    """
    height, width = ops.shape(images)[1], ops.shape(images)[2]
    if boxes is None:
        boxes = ops.cast([[0.0, 0.0, 1.0, 1.0]], images.dtype)
    rows = _overlaps(height, size, boxes[:, 0:1], boxes[:, 2:3], images.dtype)
    columns = _overlaps(width, size, boxes[:, 1:2], boxes[:, 3:4], images.dtype)
    rows, columns = ops.expand_dims(rows, 1), ops.expand_dims(columns, 1)
    planes = ops.transpose(images, (0, 3, 1, 2))
    cells = ops.matmul(ops.matmul(rows, planes), ops.transpose(columns, (0, 1, 3, 2)))
    return ops.transpose(cells, (0, 2, 3, 1))


def _overlaps(length, size, start, extent, dtype):
    """Return N×size×length: the share of each cell that each pixel covers (rows sum to 1)."""
    length_f = ops.cast(length, "float32")
    cell = ops.cast(extent, "float32") * length_f / size
    low = ops.cast(start, "float32") * length_f + cell * ops.arange(size, dtype="float32")
    low, high = low[..., None], (low + cell)[..., None]
    pixel = ops.cast(ops.arange(length), "float32")
    overlap = ops.maximum(ops.minimum(high, pixel + 1.0) - ops.maximum(low, pixel), 0.0)
    return ops.cast(overlap / cell[..., None], dtype)


def repeated(images: Any, axis: int, count: Any) -> Any:
    """Return the last row or column of pictures several times.

    Args:
        images: N×h×w×C.
        axis: 1 for rows, 2 for columns.
        count: how many times.
    """
    last = images[:, -1:] if axis == 1 else images[:, :, -1:]
    if isinstance(count, int) and count == 1:
        return last
    sizes = list(ops.shape(last))
    sizes[axis] = count
    return ops.broadcast_to(last, sizes)


def lacking(length: Any, step: int) -> Any:
    """Return what a side lacks of a multiple of a step."""
    # Of nothing negative: runtimes differ in what is left of that.
    return 0 if step == 1 else (step - length % step) % step


@keras.saving.register_keras_serializable(_package)
class Filled(layers.Layer):
    """Repeat the last row and the last column until both sides are multiples of a step.

    So that pooling and enlarging give the sizes that were there before, whatever a picture's size.

    Args:
        step: what the sides are to be multiples of.

    Takes N×h×w×C, gives N×h'×w'×C, at most ``step − 1`` rows and columns larger.
    """

    def __init__(self, step, **kwargs):
        super().__init__(**kwargs)
        self.step = step

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        for axis in (1, 2):
            rest = lacking(ops.shape(images)[axis], self.step)
            if not isinstance(rest, int) or rest:
                images = ops.concatenate([images, repeated(images, axis, rest)], axis=axis)
        return images

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, *sides, channels = input_shape
        sides = [None if side is None else side + lacking(side, self.step) for side in sides]
        return (batch, *sides, channels)

    def get_config(self) -> dict:
        return super().get_config() | {"step": self.step}


@keras.saving.register_keras_serializable(_package)
class CropLike(layers.Layer):
    """Cut the first input to the height and width of the second.

    Inputs are N×H×W×C and N×h×w×K, with h ≤ H and w ≤ W. Gives N×h×w×C.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        larger, like = inputs
        return larger[:, : ops.shape(like)[1], : ops.shape(like)[2], :]

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        larger, like = input_shapes
        return (*like[:-1], larger[-1])


@keras.saving.register_keras_serializable(_package)
class Middle(layers.Layer):
    """Cut out what a part shows that lies in the middle of a whole.

    Inputs are N×H×W[×C]; the whole, N×h×w[×K] with h ≤ H and w ≤ W, whose first row and column are
    those of the first input; and the part, N×i×j×L, with h − i and w − j even and not negative.
    Gives N×i×j[×C].
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        features, whole, part = inputs
        (_, height, width), (_, rows, columns) = ops.shape(whole)[:3], ops.shape(part)[:3]
        top, left = (height - rows) // 2, (width - columns) // 2
        return features[:, top : top + rows, left : left + columns]

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        features, _, part = input_shapes
        return (*part[:3], *features[3:])


@keras.saving.register_keras_serializable(_package)
class SubPixelUpsampling(layers.Layer):
    """Sub-pixel convolution: a 3×3 convolution, then ``depth_to_space`` (section 2.2, LE).

    Args:
        filters: channels of the result.
        scale: how many times larger the result is.
        kernel_initializer: initialiser of the convolution.
        folded: leave the s×s pixels behind each other, as the convolution gives them.

    Takes N×h×w×C, gives N×sh×sw×F for a scale of s and F filters; folded, N×h×w×s²F.
    """

    def __init__(self, filters, scale=2, kernel_initializer="he_normal", folded=False, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.scale = scale
        self.folded = folded
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.convolution = layers.Conv2D(
            filters * scale**2,
            3,
            padding="same",
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="convolution",
        )

    def build(self, input_shape: tuple) -> None:
        self.convolution.build(input_shape)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        deep = self.convolution(inputs)
        return deep if self.folded else ops.depth_to_space(deep, self.scale)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, _ = input_shape
        if self.folded:
            return (batch, height, width, self.filters * self.scale**2)
        enlarged = [None if side is None else side * self.scale for side in (height, width)]
        return (batch, *enlarged, self.filters)

    def get_config(self) -> dict:
        return super().get_config() | {
            "filters": self.filters,
            "scale": self.scale,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "folded": self.folded,
        }


@keras.saving.register_keras_serializable(_package)
class DepthToSpace(layers.Layer):
    """Put what lies behind each other side by side, 2×2 pixels: N×h×w×4C to N×2h×2w×C."""

    def call(self, folded: keras.KerasTensor) -> keras.KerasTensor:
        return ops.depth_to_space(folded, 2)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, channels = input_shape
        enlarged = [None if side is None else 2 * side for side in (height, width)]
        return (batch, *enlarged, channels // 4)


@keras.saving.register_keras_serializable(_package)
class SpaceToDepth(layers.Layer):
    """Put each 2×2 pixels behind each other, the inverse of :class:`DepthToSpace`.

    Takes N×2h×2w×C, gives N×h×w×4C.
    """

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return ops.space_to_depth(images, 2)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, channels = input_shape
        halved = [None if side is None else side // 2 for side in (height, width)]
        return (batch, *halved, 4 * channels)


@keras.saving.register_keras_serializable(_package)
class FoldedBilinear(Filled):
    """Bilinear ×2 with half-pixel centres, whose 2×2 pixels lie behind each other.

    :class:`DepthToSpace` of it equals ``UpSampling2D(interpolation="bilinear")``, which cannot be
    traced with a height and width that are not known yet. One convolution over repeated borders.

    Args:
        step: what the sides are filled up to multiples of, as by :class:`Filled`.

    Takes N×h×w×C, gives N×h'×w'×4C.
    """

    def __init__(self, step=1, **kwargs):
        super().__init__(step, **kwargs)

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        channels = images.shape[-1]
        shares = np.array([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])  # Of both pixels, in three.
        kernel = np.einsum("ai,bj,cd->ijcabd", shares, shares, np.eye(channels))
        kernel = kernel.reshape(3, 3, channels, 4 * channels)
        for axis in (1, 2):
            rest = lacking(ops.shape(images)[axis], self.step)
            first = images[:, :1] if axis == 1 else images[:, :, :1]
            last = repeated(images, axis, 1 + rest)
            images = ops.concatenate([first, images, last], axis=axis)
        return ops.conv(images, ops.convert_to_tensor(kernel, dtype=images.dtype))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        *filled, channels = super().compute_output_shape(input_shape)
        return (*filled, 4 * channels)


@keras.saving.register_keras_serializable(_package)
class FeatureFusing(layers.Layer):
    """The weighted sum of the two streams' features (section 2.2, Feature Fusing module).

    Inputs are the LE features, the DR features (both N×h×w×C) and one weight in [0, 1] a
    channel for DR (N×C); LE's weight is the rest to one. Gives N×h×w×C.
    """

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        light, detail, weights = inputs
        return light + weights[:, None, None, :] * (detail - light)

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]


@keras.saving.register_keras_serializable(_package)
class Thumbnail(layers.Layer):
    """The whole picture on a grid of ``size × size`` cells, whatever its own size and shape.

    Args:
        size: rows and columns of the grid.

    Takes N×h×w×C, gives N×size×size×C.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return area_resize(images, self.size)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.size, self.size, input_shape[-1])

    def get_config(self) -> dict:
        return super().get_config() | {"size": self.size}


@keras.saving.register_keras_serializable(_package)
class Clipped(layers.Layer):
    """Pictures clipped to [0, 1], so that 0 to 255 by mistake gives white, and no overflow.

    Takes and gives N×h×w×C.
    """

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return ops.clip(images, 0.0, 1.0)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape


@keras.saving.register_keras_serializable(_package)
class WholePicture(layers.Layer):
    """The box of pictures that are whole: N×h×w×C to N×4, each row 0, 0, 1, 1.

    A box is ``top, left, height, width``, each as a share of the whole picture.
    """

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        whole = ops.cast([[0.0, 0.0, 1.0, 1.0]], self.compute_dtype)
        return ops.tile(whole, (ops.shape(images)[0], 1))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], 4)


@keras.saving.register_keras_serializable(_package)
class WithMirrored(layers.Layer):
    """Put the mirror images of N pictures behind them: N×h×w×C to 2N×h×w×C."""

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return ops.concatenate([images, images[:, :, ::-1]], axis=0)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch = input_shape[0]
        return (None if batch is None else 2 * batch, *input_shape[1:])


@keras.saving.register_keras_serializable(_package)
class Twice(WithMirrored):
    """Put N vectors behind themselves, N×C to 2N×C: what is the same for a mirror image."""

    def call(self, vectors: keras.KerasTensor) -> keras.KerasTensor:
        return ops.concatenate([vectors, vectors], axis=0)
