"""All pictures of a training in the device's memory, and the crops that are cut from them there.

A batch from the host is a few numbers a sample; pixels never travel twice. Written with
``keras.ops`` alone.
"""

import concurrent.futures
from typing import Any

import keras
import numpy as np
from keras import ops

from experiments.real_pictures import synthesis
from neid_tf.data import augment
from neid_tf.data.batches import miniature
from neid_tf.pixels.resample import halve

SENT_KINDS = ("lol", "dark", "lit", "dimmed", "night", "city", "backlit", "unlit")
"""The kinds that are compressed at times, as over a narrow link."""
STORED_KINDS = ("photo", "same", "dull", "key")
"""Those that are so for the tone alone, which is to know a JPEG by night from a dark room."""
SENT, AT_FULL_SIZE = 2, 1
"""Compressed versions of each of those: halved before, and at full size."""
CHUNK = 100
"""Miniatures that are brought to the device at once."""


class Store(keras.layers.Layer):
    """The pictures of some samples, each once, in arrays on the device.

    Args:
        samples: what :func:`experiments.real_pictures.pool.collect` returned. It is emptied: they
            are gigabytes, and each goes when it has its place here.
        whole: whether the pictures themselves are held, or their miniatures alone.
        seed: of the compressed versions.
        sent: whether there are any.

    Attributes:
        table: for every kind the numbers of each sample: its picture's, and its references'.
        sizes: height and width of each picture.
        compressed: for the number of a picture those of its compressed versions, in the halved
            ones and in the pictures.
        first_halved: the number of the first halved version's miniature.
    """

    def __init__(self, samples: dict, whole: bool = True, seed: int = 0, sent: bool = True) -> None:
        super().__init__(dtype="float32", trainable=False)
        found, numbers = [], {}

        def number(picture):
            if id(picture) not in numbers:
                numbers[id(picture)] = len(found)
                found.append(picture)
            return numbers[id(picture)]

        self.table = {
            kind: [(number(s.low), tuple(map(number, s.high))) for s in rows]
            for kind, rows in samples.items()
        }
        samples.clear()
        self.sizes = np.array([picture.shape[:2] for picture in found])
        self.compressed, minis = {}, _in_pool(miniature, found)
        kinds = SENT_KINDS if whole else (*SENT_KINDS, *STORED_KINDS)
        large, halves, seen = self._compress(found, kinds if sent else (), seed, whole)
        self.first_halved = len(found) + len(seen[0])
        rows = [*minis, *seen[0], *seen[1]]
        del minis, seen  # As above.
        self.minis = self._held("minis", _stacked(rows))
        if whole:
            self.halves = self._held("halves", _joined(halves or found[:1]))
            found += large
            del large
            self.pictures = self._held("pictures", _joined(found))

    def _held(self, name, array):
        dtype = keras.backend.standardize_dtype(array.dtype)
        return keras.Variable(array, dtype=dtype, trainable=False, name=name)

    def _compress(self, found, kinds, seed, whole):
        """Return compressed versions at full size and halved, if whole, and the miniatures of both.

        None of them is held for longer than it takes where miniatures are all that is wanted.
        """
        lows = [low for kind in kinds for low, _ in self.table.get(kind, ())]
        lows = sorted(set(lows))

        def made(low):
            versions = _versions(found[low], [seed, low])
            halves, large = versions
            minis = [miniature(half, halved=True) for half in halves], list(map(miniature, large))
            return (*(versions if whole else ((), ())), *minis)

        rows = _in_pool(made, lows)
        for index, low in enumerate(lows):
            first = len(found) + AT_FULL_SIZE * index
            large = range(first, first + AT_FULL_SIZE)
            self.compressed[low] = (range(SENT * index, SENT * (index + 1)), large)
        halves, large, small_minis, minis = (
            [picture for row in rows for picture in row[part]] for part in range(4)
        )
        return large, halves, (minis, small_minis)

    def thumbnails(self, numbers: Any) -> Any:
        """Return miniatures, N×256×256×3 in [0, 1].

        Args:
            numbers: of the pictures, N whole numbers.
        """
        return augment.to_float(ops.take(self.minis, numbers, axis=0))

    def crops(self, numbers: Any, corners: Any, side: int, halved: bool = False) -> Any:
        """Cut crops, N×side×side×3 in [0, 1].

        Args:
            numbers: of the pictures, N whole numbers.
            corners: top and left, N×2 pixels.
            side: in pixels.
            halved: of the halved compressed versions, whose numbers are their own.
        """
        held = self.halves if halved else self.pictures
        _, height, width, _ = held.shape
        lines = ops.reshape(held, (-1, width, 3))
        rows = (numbers * height + corners[:, 0])[:, None] + ops.arange(side)[None]
        columns = corners[:, 1, None] + ops.arange(side)[None]
        found = ops.take(lines, rows, axis=0)
        cut = ops.take_along_axis(found, columns[:, None, :, None], axis=2)
        return ops.cast(cut, "float32") / 255.0


def _stacked(rows):
    """Return arrays in one tensor, and leave the list of them empty: no third copy is made."""
    chunks = []
    while rows:
        chunks.append(ops.convert_to_tensor(np.stack(rows[-CHUNK:])))
        del rows[-CHUNK:]
    return ops.concatenate(chunks[::-1])


def _in_pool(function, items):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def _joined(found):
    """Return pictures in one array, uint8, filled up with zeros, and leave the list empty."""
    height, width = np.max([picture.shape[:2] for picture in found], axis=0)
    joined = np.zeros((len(found), height, width, 3), np.uint8)
    while found:
        picture = found.pop()
        joined[len(found), : picture.shape[0], : picture.shape[1]] = picture
    return joined


def _versions(picture, seed):
    """Return a picture halved and compressed, and compressed as it is; a few of each."""
    random = np.random.default_rng(seed)

    def compressed(pixels, least):
        codec = "JPEG" if random.random() < 0.7 else "WEBP"
        return synthesis.compress(pixels, codec, random.integers(least, 98))

    even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
    small = np.rint(halve(even, 255) * 255).astype(np.uint8)
    halves = [compressed(small, 18) for _ in range(SENT)]
    return halves, [compressed(picture, 60) for _ in range(AT_FULL_SIZE)]
