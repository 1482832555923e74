"""The pictures that the weights for real pictures learn from, by kind.

======== =========================================================== ==============================
kind     input                                                       reference
======== =========================================================== ==============================
lol      LoL's dark pictures                                         LoL's references
dark     SICE's dark frames                                          the fused bracket, or the frame
                                                                     of medium brightness
lit      SICE's brighter frames that are off the medium              the same
same     references of both sets                                     themselves
dimmed   references made dark by :func:`synthesis.darken`            themselves
night    references lit in part by :func:`synthesis.night`           the lit part
photo    photographs under free licences, in the key that somebody   themselves
         chose for them
dull     references and photographs by :func:`synthesis.dull`        themselves, in another key
key      the same, darker on purpose                                 themselves
flat     :func:`synthesis.flat`                                      themselves
======== =========================================================== ==============================

Photographs are the folder ``photographs``; without it the kinds are made of the references alone.
"""

import dataclasses
from pathlib import Path

import numpy as np

from experiments import brackets
from experiments.real_pictures import synthesis
from neid_tf import pictures
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files

NORMAL = (95.0, 150.0)
"""Between these means, of 255, a frame of a bracket comes back as it is."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """A picture and its references, any of which may be asked for; uint8 H×W×3.

    Attributes:
        kind: see above.
        low: the picture.
        high: its references.
    """

    kind: str
    low: np.ndarray
    high: tuple[np.ndarray, ...]


def collect(data: Path, everything: bool = False, synthetic: int = 360, seed: int = 7) -> dict:
    """Return the samples of all kinds, lists by kind.

    Args:
        data: the folder with ``our485``, ``sice`` and, where it is there, ``photographs``.
        everything: LoL's held-out pictures too; the held-out scenes of SICE never.
        synthetic: how many pictures of each synthetic kind are made.
        seed: of what is synthetic.
    """
    samples = [*_lol(Path(data) / "our485", everything), *_sice(Path(data) / "sice")]
    references = [sample.low for sample in samples if sample.kind == "same"]
    photographs = _photographs(Path(data) / "photographs")
    samples += [Sample("photo", photo, (photo,)) for photo in photographs]
    random = np.random.default_rng(seed)
    for index in range(synthetic):
        samples += _synthetic(index, references, random)
        samples += _of_choice(index, references, photographs, random)
    return {
        kind: [s for s in samples if s.kind == kind] for kind in sorted({s.kind for s in samples})
    }


def _synthetic(index, references, random):
    """Return a picture without light, one lit in part, and at times one in coloured light."""
    picture = _drawn(references, random)
    picture = synthesis.coloured_light(picture, random) if index % 2 else picture
    yield Sample("dimmed", _bytes(synthesis.darken(picture, random)), (_bytes(picture),))
    low, high = synthesis.night(picture, random)
    yield Sample("night", _bytes(low), (_bytes(high),))
    if index % 2:
        yield Sample("same", _bytes(picture), (_bytes(picture),))


def _of_choice(index, references, photographs, random):
    """Return a dull picture, one dark on purpose, and at times a flat one."""
    among = photographs if photographs and index % 3 == 0 else references
    low, high = synthesis.dull(_drawn(among, random), random)
    yield Sample("dull", _bytes(low), (_bytes(high),))
    dark = _bytes(synthesis.keyed(_drawn(among, random), random.uniform(1.2, 2.4)))
    yield Sample("key", dark, (dark,))
    if index % 6 == 0:
        wall = _bytes(synthesis.flat(references[0].shape[:2], random))
        yield Sample("flat", wall, (wall,))


def _drawn(among, random):
    return among[random.integers(len(among))].astype(np.float32) / 255


def _photographs(folder):
    """Return the photographs of a folder, none where it is not there."""
    if not folder.is_dir():
        return []
    return [pictures.read(path).pixels for path in pair_files.find_pictures(folder).values()]


def _bytes(picture):
    return np.rint(picture * 255).astype(np.uint8)


def _lol(folder, everything):
    pairs = pair_files.load_pairs(folder)
    if not everything:
        held = held_out.validation_names()
        pairs = pairs.select(lambda name: name not in held)
    for index, (low, high) in enumerate(zip(pairs.low, pairs.high, strict=True)):
        yield Sample("lol", low, (high,))
        if index % 2 == 0:
            yield Sample("same", high, (high,))


def _sice(folder):
    for scene in brackets.scenes(folder, held_out=False).values():
        bracket = brackets.frames(scene)
        references = (brackets.fused(bracket), brackets.normal(bracket))
        dark = {id(frame) for frame in brackets.dark(bracket)}
        yield from (Sample("same", picture, (picture,)) for picture in references)
        for frame in bracket:
            if id(frame) in dark:
                yield Sample("dark", frame, references)
            elif not NORMAL[0] < frame.mean() < NORMAL[1]:
                yield Sample("lit", frame, references)


class Draws:
    """Draws samples, each kind as often as its share says.

    Args:
        samples: what :func:`collect` returned.
        shares: the share of each kind.
        random: NumPy generator.
    """

    def __init__(self, samples: dict, shares: dict, random: np.random.Generator) -> None:
        self.kinds = [kind for kind in shares if samples.get(kind)]
        total = sum(shares[kind] for kind in self.kinds)
        self.shares = [shares[kind] / total for kind in self.kinds]
        self.samples, self.random = samples, random

    def __call__(self) -> tuple[Sample, int, int]:
        """Return a sample, its place among those of its kind, and the place of a reference."""
        kind = self.kinds[self.random.choice(len(self.kinds), p=self.shares)]
        place = int(self.random.integers(len(self.samples[kind])))
        sample = self.samples[kind][place]
        return sample, place, int(self.random.integers(len(sample.high)))
