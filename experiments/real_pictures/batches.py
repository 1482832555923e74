"""What a training for real pictures draws: which pictures, which part of them, how exposed."""

import numpy as np

from experiments.real_pictures.store import Store

ALIGN = 32
"""Crops begin at multiples of so many pixels."""
_COMMON = {"lol": 0.4, "dark": 0.26}
SHARES = {
    "tone": _COMMON
    | {"lit": 0.06, "same": 0.07, "dimmed": 0.03, "night": 0.05, "city": 0.0}
    | {"photo": 0.05, "dull": 0.06, "key": 0.02, "flat": 0.01, "backlit": 0.03},
    "streams": _COMMON
    | {"lit": 0.07, "same": 0.09, "dimmed": 0.09, "night": 0.07, "city": 0.0}
    | {"photo": 0.04, "dull": 0.04, "key": 0.02, "flat": 0.01, "backlit": 0.02},
    "gray": {"lol": 0.2, "dark": 0.3, "dimmed": 0.06, "night": 0.04, "unlit": 0.1, "backlit": 0.03}
    | {"photo": 0.08, "same": 0.06, "dull": 0.08, "key": 0.05},
    "taught": {"lol": 0.27, "dark": 0.3, "lit": 0.06, "same": 0.06, "dimmed": 0.03}
    | {"night": 0.08, "city": 0.0, "photo": 0.05, "backlit": 0.02, "unlit": 0.13},
}
"""How often each kind is drawn, for each part that is trained, and for a tone that is taught."""
GRAY = {"gray": 0.9}
"""How often a picture has no colour, or little, for the parts where that is ever so."""
SENT = (0.25, 0.15)
"""How often what can be compressed is: halved before, and at full size. The tone reads that too."""
EXPOSED = {"tone": 1.0, "streams": 0.4}
"""How often LoL's and SICE's dark pictures are of another exposure."""


class Batches:
    """Draws of batches, each dependent on the seed and its number alone.

    Args:
        store: the pictures.
        count: of pictures in a batch.
        steps: number of batches.
        seed: of the draws.
        shares: of the kinds.
        side: of the crops, in pixels; 0 for whole pictures.
        sent: how often what can be compressed is: halved before, and at full size.
        gray: how often a picture is without colour, or has less than a third of it.
        turned: how often a whole picture is turned by a multiple of 90°, or flipped.
    """

    def __init__(
        self,
        store: Store,
        count: int,
        steps: int,
        seed: int,
        shares: dict,
        side: int = 0,
        sent: tuple[float, float] = SENT,
        gray: float = 0.0,
        turned: float = 0.0,
    ) -> None:
        self.sent, self.gray, self.turned = sent, gray, turned
        self.store, self.count, self.steps, self.side = store, count, steps, side
        self.seed, self.kinds = seed, [kind for kind in shares if store.table.get(kind)]
        self.shares = np.array([shares[kind] for kind in self.kinds])
        self.shares /= self.shares.sum()

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[dict]:
        random = np.random.default_rng([self.seed, index])
        drawn = [self._sample(random) for _ in range(self.count)]
        return ({key: np.stack([sample[key] for sample in drawn]) for key in drawn[0]},)

    def _sample(self, random):
        kind = self.kinds[random.choice(len(self.kinds), p=self.shares)]
        rows = self.store.table[kind]
        low, references = rows[random.integers(len(rows))]
        high = references[random.integers(len(references))]
        record = self._sent(low, random) | {"high": np.int32(high)} | self._exposure(kind, random)
        record["mirrored"] = random.random() < 0.5
        if not self.side:
            record |= {"colour": self._colour(random)} | _view(random)
            return record | {"turns": self._turns(random)}
        return record | self._crop(low, random)

    def _colour(self, random):
        """Return how much of its colour a picture has: none for half of those that lack some."""
        if not self.gray or random.random() >= self.gray:
            return np.float32(1.0)
        return np.float32(max(random.uniform(-0.3, 0.3), 0.0))

    def _turns(self, random):
        if not self.turned or random.random() >= self.turned:
            return np.zeros(3, bool)
        return random.integers(0, 2, 3).astype(bool)

    def _sent(self, low, random):
        """Return whether a picture is compressed, and the numbers of what then is seen of it."""
        small, large = self.store.compressed.get(low, ((), ()))
        sent, source, draw = 0, low, random.random()
        is_sent = bool(small) and draw < self.sent[0]
        if is_sent:
            sent = small[random.integers(len(small))]
        elif large and draw < sum(self.sent):
            source = large[random.integers(len(large))]
        seen = self.store.first_halved + sent if is_sent else source
        record = {"low": np.int32(seen), "source": np.int32(source), "sent": np.int32(sent)}
        record["whole"] = np.int32(low)
        return record | {"is_sent": is_sent}

    def _exposure(self, kind, random):
        """Return another exposure, at times another contrast and white balance."""
        gain, power = np.ones(3), 1.0
        often = EXPOSED["streams" if self.side else "tone"]
        if kind in ("lol", "dark") and random.random() < often:
            gain = gain * np.exp(random.uniform(-0.4, 0.4))
            power = np.exp(random.uniform(-0.2, 0.2)) if random.random() < 0.3 else 1.0
            if random.random() < 0.3:
                gain = gain * np.exp(random.normal(0.0, 0.05, 3))
        return {"gain": gain.astype(np.float32), "power": np.float32(power)}

    def _crop(self, low, random):
        """Return a crop, how it is turned, and where it is in its picture, as shares of it."""
        size = self.store.sizes[low]
        corner = random.integers(0, (size - self.side) // ALIGN + 1) * ALIGN
        seen = _view(random, corner / size, self.side / size)
        turns = random.integers(0, 2, 3).astype(bool)
        place = np.float32([*corner / size, *self.side / size])
        return {"corner": corner.astype(np.int32), "turns": turns, "place": place} | seen


def _view(random, corner=(0.5, 0.5), extent=(0.0, 0.0)):
    """Return a part of a picture that holds a box: top, left, height, width as shares of it."""
    corner, extent = np.asarray(corner), np.asarray(extent)
    size = random.uniform(np.maximum(0.7, extent), 1.0)
    least, most = np.maximum(corner + extent - size, 0.0), np.minimum(corner, 1.0 - size)
    start = random.uniform(np.minimum(least, most), most)
    return {"view": np.concatenate([start, size]).astype(np.float32)}
