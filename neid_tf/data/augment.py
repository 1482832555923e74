"""What is done to a whole batch on the training device: flips, quarter turns, halving.

Pure functions of ``keras.ops``; the draws come with the batch, so a run that goes on after an
interruption sees the same pictures.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from neid_tf.pixels.resample import bicubic_taps
from neid_tf.pixels.samples import WHITE

Tensor = Any
"""A tensor of the Keras backend in use, or an array of NumPy."""


def to_float(images: Tensor) -> Tensor:
    """Turn pictures of 8 or 16 bit into float32 in [0, 1]; float pictures stay as they are.

    Args:
        images: …×C of uint8, uint16 or floats.
    """
    dtype = keras.backend.standardize_dtype(images.dtype)
    white = WHITE.get(dtype, 1)
    return images if white == 1 else ops.cast(images, "float32") / float(white)


def expose(images: Tensor, draws: Tensor, extent: float) -> Tensor:
    """Make pictures brighter or darker by ``exp(±extent)`` at most, clipped to [0, 1].

    Args:
        images: N×H×W×C in [0, 1].
        draws: N uniform draws in [0, 1).
        extent: 0 leaves the pictures alone.
    """
    if not extent:
        return images
    gain = ops.exp((2.0 * draws - 1.0) * extent)
    return ops.minimum(images * ops.reshape(gain, (-1, 1, 1, 1)), 1.0)


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Flip pictures horizontally, each or not.

    Args:
        images: N×H×W×C.
        mirrored: N booleans: whether left and right change places.

    Returns:
        N×H×W×C.
    """
    return _where(mirrored, ops.flip(images, axis=2), images)


def flip_and_turn(images: Tensor, flips: Tensor, turns: Tensor) -> Tensor:
    """Flip pictures vertically, then turn them by quarter turns (section 3.2).

    Args:
        images: N×S×S×C, square.
        flips: N booleans: whether a picture is turned upside down first.
        turns: N whole numbers: quarter turns counter-clockwise, as ``numpy.rot90`` counts.

    Returns:
        N×S×S×C.
    """
    return moved(images, moves(flips, turns))


def moved(images: Tensor, steps: Sequence[Tensor]) -> Tensor:
    """Transpose, flip and mirror pictures, each or not.

    Args:
        images: N×S×S×C.
        steps: whether rows and columns change places, whether the picture is then turned upside
            down, and whether it is then mirrored; N booleans each, as of :func:`moves`.

    Returns:
        N×S×S×C.
    """
    transposed, down, across = steps
    images = _where(transposed, ops.transpose(images, (0, 2, 1, 3)), images)
    images = _where(down, ops.flip(images, axis=1), images)
    return _where(across, ops.flip(images, axis=2), images)


def moves(flips: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what :func:`flip_and_turn` does to each picture, in the order that it does it.

    Args:
        flips: N booleans, as there.
        turns: N whole numbers, as there.

    Returns:
        Three times N booleans, see :func:`moved`.
    """
    turns = ops.cast(turns, "int32") % 4
    odd = turns % 2 == 1
    # A quarter turn is a transposition and an upside-down flip, a half turn both flips. What is
    # turned upside down before a transposition is mirrored after it.
    first = ops.logical_and(flips, odd), ops.logical_and(flips, ops.logical_not(odd))
    down = ops.logical_xor((turns == 1) | (turns == 2), first[1])
    return odd, down, ops.logical_xor((turns == 2) | (turns == 3), first[0])


def view_with(place: Tensor, view: Tensor) -> Tensor:
    """Move views of pictures, and enlarge them where need be, so that each holds a crop.

    Args:
        place: N×4, where the crops are: top, left, height, width as shares of the picture.
        view: N×4, which part of the picture is seen, likewise.

    Returns:
        N×4 views.
    """
    corner, extent = place[:, :2], ops.maximum(view[:, 2:], place[:, 2:])
    start = ops.minimum(ops.minimum(view[:, :2], corner), 1.0 - extent)
    start = ops.maximum(start, corner + place[:, 2:] - extent)
    return ops.concatenate([start, extent], axis=-1)


def box_in_view(place: Tensor, view: Tensor, mirrored: Tensor, steps: Sequence[Tensor]) -> Tensor:
    """Return where crops are in what is seen of their pictures, after both were augmented.

    Args:
        place: N×4, where the crops are: top, left, height, width as shares of the picture.
        view: N×4, which part of the picture is seen, likewise.
        mirrored: N booleans: whether what is seen is mirrored (:func:`mirror`).
        steps: how the crops are turned (:func:`moved`).

    Returns:
        N×4, likewise as shares of what is seen; a negative height or width is that of a crop which
        is flipped against it. Where the crop is transposed, so is what is seen.
    """
    start, extent = (place[:, :2] - view[:, :2]) / view[:, 2:], place[:, 2:] / view[:, 2:]
    top, left, height, width = (part[:, i] for part in (start, extent) for i in range(2))
    left, width = ops.where(mirrored, 1.0 - left, left), ops.where(mirrored, -width, width)
    transposed, down, across = steps
    top, left = ops.where(transposed, left, top), ops.where(transposed, top, left)
    height, width = ops.where(transposed, width, height), ops.where(transposed, height, width)
    top, height = ops.where(down, top + height, top), ops.where(down, -height, height)
    left, width = ops.where(across, left + width, left), ops.where(across, -width, width)
    return ops.stack([top, left, height, width], axis=-1)


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return ops.where(ops.reshape(condition, (-1, 1, 1, 1)), yes, no)


def halve(images: Tensor) -> Tensor:
    """Downsample pictures by 2, bicubically and antialiased (section 3.2).

    One fixed strided convolution a direction, equal to ``tf.image.resize(method="bicubic",
    antialias=True)``. Like it, it leaves out what lies beyond the border.

    Args:
        images: float N×H×W×3, H and W even.

    Returns:
        N×H/2×W/2×3, clipped to [0, 1].

    Raises:
        ValueError: for an odd height or width.
    """
    for side in images.shape[1:3]:
        if side is not None and side % 2:
            raise ValueError(f"only even sizes can be halved, not {tuple(images.shape[1:3])}")
    halved = _filter_rows(_filter_rows(images, axis=1), axis=2)
    return ops.clip(halved, 0.0, 1.0)


def _filter_rows(images: Tensor, axis: int) -> Tensor:
    taps = bicubic_taps().astype("float32")
    shape = (8, 1) if axis == 1 else (1, 8)
    kernel = ops.convert_to_tensor(taps.reshape(*shape, 1, 1) * np.eye(3, dtype="float32"))
    strides = (2, 1) if axis == 1 else (1, 2)
    padding = [(0, 0), (0, 0), (0, 0), (0, 0)]
    padding[axis] = (3, 3)
    kernel = ops.cast(kernel, images.dtype)
    padded = ops.pad(images, padding)
    inside = ops.pad(ops.ones_like(images[:1, :, :1] if axis == 1 else images[:1, :1]), padding)
    weight = ops.conv(inside, kernel, strides, "valid")
    return ops.conv(padded, kernel, strides, "valid") / weight
