"""Pairs of low-light pictures and references: finding, checking, decoding, and the pipelines.

A data set is ``DIR/low/NAME.*`` and ``DIR/high/NAME.*``, matched by stem. Pictures are decoded
once and kept in memory; crops are cut by ``tf.data``, or by :class:`ArrayBatches` on backends
other than TensorFlow. The n-th sample of a run depends on the seed and n alone, so a run
that goes on from a checkpoint sees what it would have seen without the interruption.
"""

import concurrent.futures
import dataclasses
import importlib.resources
from pathlib import Path

import keras
import numpy as np

from neid_tf import pictures

MINIATURE = 160
"""Cells along each side of the stored miniatures that thumbnails are cut from."""


class DataError(ValueError):
    """Everything that is wrong with a data set, one problem a line."""

    def __init__(self, root, problems):
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{root}: {len(problems)} problem(s) with the pairs\n{lines}")
        self.problems = tuple(problems)


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Decoded pairs.

    Attributes:
        names: the stems.
        low: low-light pictures, uint8 or uint16 H×W×3 RGB, of any sizes.
        high: their references, each of the size of its low-light picture.
    """

    names: tuple[str, ...]
    low: tuple[np.ndarray, ...]
    high: tuple[np.ndarray, ...]

    def __len__(self):
        return len(self.names)

    def select(self, keep):
        """Return the pairs whose name ``keep`` is true of."""
        kept = [row for row in zip(self.names, self.low, self.high, strict=True) if keep(row[0])]
        return Pairs(*(tuple(column) for column in zip(*kept, strict=True))) if kept else Pairs((), (), ())


def find_pairs(root):
    """Match ``root/low`` and ``root/high`` by stem.

    Returns:
        List of (name, low path, high path), numbers in the order of their values.

    Raises:
        DataError: for a missing or empty folder, a missing partner, or a stem used twice.
    """
    root, problems, sides = Path(root), [], {}
    for side in ("low", "high"):
        sides[side] = _stems(root / side, problems)
    if not problems and not sides["low"] and not sides["high"]:
        problems.append(f"no pictures in {root / 'low'} and {root / 'high'}")
    for side, other in (("low", "high"), ("high", "low")):
        missing = sorted(set(sides[side]) - set(sides[other]), key=_natural)
        problems += [f"{sides[side][stem]}: no partner in {root / other}" for stem in missing]
    if problems:
        raise DataError(root, problems)
    return [(stem, sides["low"][stem], sides["high"][stem]) for stem in sorted(sides["low"], key=_natural)]


def _stems(folder, problems):
    if not folder.is_dir():
        problems.append(f"{folder}: no such folder")
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in pictures.SUFFIXES:
            continue
        if path.stem in found:
            problems.append(f"{path}: {found[path.stem].name} has the same stem")
        found[path.stem] = path
    return found


def _natural(stem):
    return (0, int(stem), stem) if stem.isdecimal() else (1, 0, stem)


def load_pairs(root, smallest=1):
    """Decode a data set into memory, two pictures at a time for each core.

    Args:
        root: the folder with ``low`` and ``high``.
        smallest: the least height and width a picture may have, such as the crop's.

    Returns:
        The :class:`Pairs`.

    Raises:
        DataError: naming every file that can't be read, every pair of two sizes and every
            picture that is too small.
    """
    found = find_pairs(root)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        loaded = list(pool.map(lambda row: _load_pair(*row, smallest), found))
    problems = [problem for *_, trouble in loaded for problem in trouble]
    if problems:
        raise DataError(root, problems)
    names, low, high, _ = zip(*loaded, strict=True)
    return Pairs(names, low, high)


def _load_pair(name, low_path, high_path, smallest):
    sides, problems = [], []
    for path in (low_path, high_path):
        try:
            sides.append(pictures.read(path).pixels)
        except pictures.PictureError as error:
            problems.append(str(error))
    if len(sides) == 2:
        low, high = sides
        if low.shape != high.shape:
            problems.append(f"{low_path}: {_size(low)}, but {high_path} is {_size(high)}")
        elif min(low.shape[:2]) < smallest:
            problems.append(f"{low_path}: {_size(low)} is smaller than the crop of {smallest}")
    low, high = sides if not problems else (None, None)
    return name, low, high, problems


def _size(picture):
    return f"{picture.shape[1]}×{picture.shape[0]}"


def validation_names():
    """Return the names of our485's pictures that every training run of the project holds out.

    Whole scenes: neighbouring numbers show the same place, so both sides of the split would
    otherwise share it.
    """
    text = importlib.resources.files("neid_tf").joinpath("lol_validation.txt").read_text("utf-8")
    lines = (line.partition("#")[0] for line in text.splitlines())
    return frozenset(name for line in lines for name in line.split())


def hold_out(pairs, choice):
    """Split pairs into those to train on and those to validate on.

    Args:
        pairs: :class:`Pairs`.
        choice: ``lol`` for :func:`validation_names`, ``none``, a folder of other pairs, or a
            text file of names.

    Returns:
        The two :class:`Pairs`.

    Raises:
        ValueError: where ``choice`` is none of these, or nothing is left to train on.
    """
    if choice == "none":
        return pairs, Pairs((), (), ())
    if choice != "lol" and Path(choice).is_dir():
        return pairs, load_pairs(choice, smallest=11)
    if choice != "lol" and not Path(choice).is_file():
        raise ValueError(f"{choice!r}: not 'lol', 'none', a folder of pairs or a file of names")
    held = validation_names() if choice == "lol" else set(Path(choice).read_text("utf-8").split())
    training = pairs.select(lambda name: name not in held)
    if not len(training):
        raise ValueError(f"{choice}: all {len(pairs)} pairs are held out, none is left to train on")
    return training, pairs.select(lambda name: name in held)


def miniature(picture):
    """Average a picture over a square grid of :data:`MINIATURE` cells, float16 in [0, 1].

    By whole-pixel boxes of the enlarged picture (OpenCV's area resampling), on the CPU.
    """
    import cv2

    white = np.float32(np.iinfo(picture.dtype).max)
    size = (MINIATURE, MINIATURE)
    return cv2.resize(picture.astype(np.float32) / white, size, interpolation=cv2.INTER_AREA).astype(
        np.float16
    )


def _miniatures(pairs):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return [np.stack(list(pool.map(miniature, side))) for side in (pairs.low, pairs.high)]


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How samples are drawn from pairs.

    Attributes:
        crop: side of the square crops, in pixels of the full-size pictures.
        batch_size: samples in a batch.
        seed: of every draw.
        thumbnail: whether miniatures of the whole pictures come with the crops.
        smallest_view: the least share of each side of the picture that a thumbnail shows.
    """

    crop: int = 256
    batch_size: int = 8
    seed: int = 0
    thumbnail: bool = False
    smallest_view: float = 0.7

    def steps_per_epoch(self, pairs):
        """Return the batches that show every picture about once."""
        return -(-len(pairs) // self.batch_size)


def batches(pairs, sampling, first_step, steps):
    """Make the batches of a training run for the Keras backend in use."""
    if keras.backend.backend() == "tensorflow":
        return training_dataset(pairs, sampling, first_step, steps)
    return ArrayBatches(pairs, sampling, first_step, steps)


def training_dataset(pairs, sampling, first_step, steps):
    """Make the ``tf.data`` pipeline of a training run.

    Args:
        pairs: :class:`Pairs`.
        sampling: :class:`Sampling`.
        first_step: the step of the run that the first batch is for.
        steps: the number of batches.

    Returns:
        A data set of dictionaries: ``low`` and ``high`` (B×crop×crop×3, as stored, cut at the
        same place), the draws ``flip`` and ``mirror`` (B booleans), ``turns`` (B, 0 to 3) and
        ``exposure`` (B in [0, 1)); with thumbnails also
        ``low_mini`` and ``high_mini`` (B×160×160×3 float16) and ``view`` (B×4 shares).
    """
    import tensorflow as tf

    sample = _tf_sampler(pairs, sampling)
    first, last = (step * sampling.batch_size for step in (first_step, first_step + steps))
    dataset = tf.data.Dataset.range(first, last)
    dataset = dataset.map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    options.deterministic = True
    dataset = dataset.batch(sampling.batch_size, drop_remainder=True).prefetch(4)
    return dataset.with_options(options)


def _tf_sampler(pairs, sampling):
    """Return the function from a sample's number to the sample."""
    import tensorflow as tf

    sides = {"low": _Joined(pairs.low), "high": _Joined(pairs.high)}
    minis = [tf.constant(side) for side in _miniatures(pairs)] if sampling.thumbnail else None
    count, seed, crop = len(pairs), sampling.seed, sampling.crop

    def sample(number):
        epoch = tf.cast(number // count, tf.int32)
        index = tf.random.experimental.index_shuffle(
            tf.cast(number % count, tf.int32), [seed, epoch], count - 1
        )
        draws = tf.random.stateless_uniform([10], [seed, tf.cast(number, tf.int32)])
        record = {side: joined.crop(index, draws, crop) for side, joined in sides.items()}
        record |= {"turns": tf.cast(draws[3] * 4.0, tf.int32), "exposure": draws[9]}
        record |= {"flip": draws[2] < 0.5, "mirror": draws[8] < 0.5}
        if minis:
            record |= {"low_mini": minis[0][index], "high_mini": minis[1][index]}
            extent = sampling.smallest_view + (1.0 - sampling.smallest_view) * draws[4:6]
            record["view"] = tf.concat([draws[6:8] * (1.0 - extent), extent], axis=0)
        return record

    return sample


class _Joined:
    """Pictures of any sizes end to end in one tensor, so that TensorFlow can pick one."""

    def __init__(self, arrays):
        import tensorflow as tf

        if len({array.dtype for array in arrays}) > 1:
            arrays = [_to_16_bit(array) for array in arrays]
        sizes = np.array([array.size for array in arrays], np.int64)
        self.pixels = tf.constant(np.concatenate([array.reshape(-1) for array in arrays]))
        self.starts = tf.constant(np.concatenate([[0], np.cumsum(sizes)[:-1]]))
        self.shapes = tf.constant([array.shape for array in arrays], tf.int32)

    def crop(self, index, draws, crop):
        """Cut a crop at the place that the first two draws name."""
        import tensorflow as tf

        height, width = self.shapes[index, 0], self.shapes[index, 1]
        size = tf.cast(height, tf.int64) * tf.cast(width, tf.int64) * 3
        # One slice with both ends: a slice to the end would copy all pictures behind it.
        flat = tf.slice(self.pixels, [self.starts[index]], [size])
        picture = tf.reshape(flat, (height, width, 3))
        top = tf.cast(draws[0] * tf.cast(height - crop + 1, tf.float32), tf.int32)
        left = tf.cast(draws[1] * tf.cast(width - crop + 1, tf.float32), tf.int32)
        return tf.ensure_shape(picture[top : top + crop, left : left + crop], (crop, crop, 3))


def _to_16_bit(array):
    return array if array.dtype == np.uint16 else array.astype(np.uint16) * np.uint16(257)


class ArrayBatches(keras.utils.PyDataset):
    """The same batches from arrays in memory, without TensorFlow, for Keras's other backends.

    Args:
        pairs, sampling, first_step, steps: as for :func:`training_dataset`. The draws come
            from NumPy, so a run's crops differ from those of the ``tf.data`` pipeline.
    """

    def __init__(self, pairs, sampling, first_step, steps):
        super().__init__(workers=4)
        self.pairs, self.sampling = pairs, sampling
        self.first_step, self.steps = first_step, steps
        self.minis = _miniatures(pairs) if sampling.thumbnail else None

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        size = self.sampling.batch_size
        first = (self.first_step + step) * size
        records = [self._sample(number) for number in range(first, first + size)]
        batch = {key: np.stack([record[key] for record in records]) for key in records[0]}
        return (batch,)

    def _sample(self, number):
        sampling, count = self.sampling, len(self.pairs)
        epoch, position = divmod(number, count)
        index = np.random.default_rng([sampling.seed, epoch, 0]).permutation(count)[position]
        draws = np.random.default_rng([sampling.seed, number, 1]).random(10, np.float32)
        low, high = self.pairs.low[index], self.pairs.high[index]
        top, left = (int(d * (s - sampling.crop + 1)) for d, s in zip(draws, low.shape[:2], strict=False))
        window = np.s_[top : top + sampling.crop, left : left + sampling.crop]
        record = {"low": low[window], "high": high[window]}
        record |= {"turns": np.int32(draws[3] * 4.0), "exposure": draws[9]}
        record |= {"flip": draws[2] < 0.5, "mirror": draws[8] < 0.5}
        if self.minis:
            record |= {"low_mini": self.minis[0][index], "high_mini": self.minis[1][index]}
            extent = sampling.smallest_view + (1.0 - sampling.smallest_view) * draws[4:6]
            record["view"] = np.concatenate([draws[6:8] * (1.0 - extent), extent])
        return record
