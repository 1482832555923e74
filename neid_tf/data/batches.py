"""The pipelines that feed training: crops cut from decoded pairs.

``tf.data`` cuts them, or :class:`ArrayBatches` on backends other than TensorFlow. The n-th
sample of a run depends on the seed and n alone, so a run that goes on from a checkpoint sees
what it would have seen without the interruption.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import keras
import numpy as np

from neid_tf.data.pairs import Pairs
from neid_tf.data.sampling import Sampling
from neid_tf.pixels.resample import halve
from neid_tf.pixels.samples import from_float, to_float, to_one_type, white
from neid_tf.support.beside import in_order

if TYPE_CHECKING:
    import tensorflow as tf

MINIATURE = 256
"""Cells along each side of the stored miniatures that thumbnails are cut from. Two of them make a
cell of the thumbnail of a whole picture, which is then what the network makes of it."""

_THREADS, _AHEAD = 2, 8
"""Threads that make batches of arrays, and the batches that they are ahead."""


def miniature(picture: np.ndarray, halved: bool = False) -> np.ndarray:
    """Average what a network is given of a picture, half of it, over a square grid of cells.

    Args:
        picture: H×W×3, uint8 or uint16.
        halved: whether the picture is halved already.

    Returns:
        256×256×3 (:data:`MINIATURE`), uint16.
    """
    small = to_float(picture) if halved else halve(picture, white(picture.dtype))
    for axis in (0, 1):  # OpenCV blends neighbours where a side has fewer pixels than cells.
        small = np.repeat(small, -(-MINIATURE // small.shape[axis]), axis)
    cells = cv2.resize(small, (MINIATURE, MINIATURE), interpolation=cv2.INTER_AREA)
    return from_float(cells, np.uint16)


def _miniatures(pairs: Pairs) -> list[np.ndarray]:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return [np.stack(list(pool.map(miniature, side))) for side in (pairs.low, pairs.high)]


def training_batches(
    pairs: Pairs, sampling: Sampling, first_step: int, steps: int, thumbnail: bool = False
) -> tf.data.Dataset | Iterator[tuple[dict[str, np.ndarray]]]:
    """Make the batches of a training run for the Keras backend in use.

    Args:
        pairs: as for :func:`training_dataset`, like the rest.
        sampling: how samples are drawn.
        first_step: the step of the run that the first batch is for.
        steps: the number of batches.
        thumbnail: whether miniatures come with the crops.

    Returns:
        The batches that :func:`training_dataset` describes.
    """
    if keras.backend.backend() == "tensorflow":
        return training_dataset(pairs, sampling, first_step, steps, thumbnail)
    return ahead(ArrayBatches(pairs, sampling, first_step, steps, thumbnail))


def training_dataset(
    pairs: Pairs, sampling: Sampling, first_step: int, steps: int, thumbnail: bool = False
) -> tf.data.Dataset:
    """Make the ``tf.data`` pipeline of a training run.

    Args:
        pairs: what to sample from, no picture smaller than the crop.
        sampling: how.
        first_step: the step of the run that the first batch is for.
        steps: the number of batches.
        thumbnail: whether miniatures of the whole pictures come with the crops.

    Returns:
        A data set of dictionaries: ``low`` and ``high`` (B×crop×crop×3, as stored, cut at the
        same place), the draws ``flip`` and ``mirror`` (B booleans), ``turns`` (B, 0 to 3) and
        ``exposure`` (B in [0, 1)); with thumbnails also ``low_mini`` and ``high_mini``
        (B×256×256×3 uint16), ``view``, what a thumbnail is to show of them, and ``place``, where
        the crop is (B×4 each: top, left, height, width as shares of the whole picture).
    """
    import tensorflow as tf

    sample = _tf_sampler(pairs, sampling, thumbnail)
    first, last = (step * sampling.batch_size for step in (first_step, first_step + steps))
    dataset = tf.data.Dataset.range(first, last)
    dataset = dataset.map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    options.deterministic = True
    # What tunes itself looks in after 10 ms, and twice as late each time, up to a minute; the end
    # of the pipeline can wait for its next look. There is nothing here that it would change.
    options.autotune.enabled = False
    dataset = dataset.batch(sampling.batch_size, drop_remainder=True).prefetch(4)
    return dataset.with_options(options)


def _tf_sampler(pairs: Pairs, sampling: Sampling, thumbnail: bool) -> Callable[[Any], Any]:
    """Return the function from a sample's number to the sample."""
    import tensorflow as tf

    sides = {"low": _Joined(pairs.low), "high": _Joined(pairs.high)}
    minis = [tf.constant(side) for side in _miniatures(pairs)] if thumbnail else None
    count, seed, crop = len(pairs), sampling.seed, sampling.crop

    def sample(number: Any) -> dict[str, Any]:
        epoch = tf.cast(number // count, tf.int32)
        index = tf.random.experimental.index_shuffle(
            tf.cast(number % count, tf.int32), [seed, epoch], count - 1
        )
        draws = tf.random.stateless_uniform([10], [seed, tf.cast(number, tf.int32)])
        corner, size = sides["low"].corner(index, draws, crop)
        record = {side: joined.crop(index, corner, crop) for side, joined in sides.items()}
        record |= {"turns": tf.cast(draws[3] * 4.0, tf.int32), "exposure": draws[9]}
        record |= {"flip": draws[2] < 0.5, "mirror": draws[8] < 0.5}
        if minis:
            record |= {"low_mini": minis[0][index], "high_mini": minis[1][index]}
            extent = sampling.smallest_view + (1.0 - sampling.smallest_view) * draws[4:6]
            record["view"] = tf.concat([draws[6:8] * (1.0 - extent), extent], axis=0)
            record["place"] = tf.concat([tf.cast(corner, tf.float32) / size, crop / size], axis=0)
        return record

    return sample


class _Joined:
    """Pictures of any sizes end to end in one tensor, so that TensorFlow can pick one."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        import tensorflow as tf

        arrays = to_one_type(arrays)
        sizes = np.array([array.size for array in arrays], np.int64)
        self.pixels = tf.constant(np.concatenate([array.reshape(-1) for array in arrays]))
        self.starts = tf.constant(np.concatenate([[0], np.cumsum(sizes)[:-1]]))
        self.shapes = tf.constant([array.shape for array in arrays], tf.int32)

    def corner(self, index: Any, draws: Any, crop: int) -> tuple[Any, Any]:
        """Return the place of a crop that the first two draws name, and the size of its picture.

        Args:
            index: the picture's number.
            draws: of which the first two are the place, in [0, 1).
            crop: side in pixels.

        Returns:
            Top and left, two whole numbers; height and width of the picture, two floats.
        """
        import tensorflow as tf

        size = self.shapes[index, :2]
        corner = tf.cast(draws[:2] * tf.cast(size - crop + 1, tf.float32), tf.int32)
        return corner, tf.cast(size, tf.float32)

    def crop(self, index: Any, corner: Any, crop: int) -> Any:
        """Cut a crop.

        Args:
            index: the picture's number.
            corner: its first row and column.
            crop: side in pixels.
        """
        import tensorflow as tf

        height, width = self.shapes[index, 0], self.shapes[index, 1]
        size = tf.cast(height, tf.int64) * tf.cast(width, tf.int64) * 3
        # One slice with both ends: a slice to the end would copy all pictures behind it.
        flat = tf.slice(self.pixels, [self.starts[index]], [size])
        picture = tf.reshape(flat, (height, width, 3))
        top, left = corner[0], corner[1]
        return tf.ensure_shape(picture[top : top + crop, left : left + crop], (crop, crop, 3))


class ArrayBatches:
    """The same batches from arrays in memory, without TensorFlow, for Keras's other backends.

    Args:
        pairs, sampling, first_step, steps, thumbnail: as for :func:`training_dataset`. The draws
            come from NumPy, so a run's crops differ from those of the ``tf.data`` pipeline.
    """

    def __init__(
        self,
        pairs: Pairs,
        sampling: Sampling,
        first_step: int,
        steps: int,
        thumbnail: bool = False,
    ) -> None:
        low, high = to_one_type(pairs.low), to_one_type(pairs.high)
        self.pairs, self.sampling = dataclasses.replace(pairs, low=low, high=high), sampling
        self.first_step, self.steps = first_step, steps
        self.minis = _miniatures(pairs) if thumbnail else None

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[dict[str, np.ndarray]]:
        size = self.sampling.batch_size
        first = (self.first_step + step) * size
        records = [self._sample(number) for number in range(first, first + size)]
        batch = {key: np.stack([record[key] for record in records]) for key in records[0]}
        return (batch,)

    def _sample(self, number: int) -> dict[str, np.ndarray]:
        sampling, count = self.sampling, len(self.pairs)
        epoch, position = divmod(number, count)
        index = _order(sampling.seed, epoch, count)[position]
        draws = np.random.default_rng([sampling.seed, number, 1]).random(10, np.float32)
        low, high = self.pairs.low[index], self.pairs.high[index]
        top, left = (
            int(d * (s - sampling.crop + 1)) for d, s in zip(draws, low.shape[:2], strict=False)
        )
        window = np.s_[top : top + sampling.crop, left : left + sampling.crop]
        record = {"low": low[window], "high": high[window]}
        record |= {"turns": np.int32(draws[3] * 4.0), "exposure": draws[9]}
        record |= {"flip": draws[2] < 0.5, "mirror": draws[8] < 0.5}
        if self.minis:
            record |= {"low_mini": self.minis[0][index], "high_mini": self.minis[1][index]}
            extent = sampling.smallest_view + (1.0 - sampling.smallest_view) * draws[4:6]
            record["view"] = np.concatenate([draws[6:8] * (1.0 - extent), extent])
            height, width = low.shape[:2]
            place = top / height, left / width, sampling.crop / height, sampling.crop / width
            record["place"] = np.float32(place)
        return record


def ahead(batches: Sequence[Any], first: int = 0) -> Iterator[Any]:
    """Return batches in their order, which threads make ahead.

    Keras is given this and not a ``PyDataset``: of one that lasts for several epochs, it begins at
    the first batch again with each epoch (Keras 3.15).

    Args:
        batches: what has a length, and makes the batch of a number when it is asked for.
        first: the number of the first one.
    """
    steps = ((step,) for step in range(first, len(batches)))
    return in_order(batches.__getitem__, steps, _THREADS, _AHEAD)


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of an epoch's pictures."""
    return np.random.default_rng([seed, epoch, 0]).permutation(count)
