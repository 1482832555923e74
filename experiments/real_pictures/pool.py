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
city     their lights alone by :func:`synthesis.city`, twice as many the lights
backlit  references and photographs by :func:`synthesis.backlit`     themselves
photo    photographs under free licences, in the key that somebody   themselves
         chose for them
dull     references and photographs by :func:`synthesis.dull`        themselves, in another key
key      the same, darker on purpose                                 themselves
flat     :func:`synthesis.flat`                                      themselves
unlit    references and photographs by :func:`synthesis.unlit`       none: itself in its place
======== =========================================================== ==============================

Photographs are the folder ``photographs``; half of what is synthetic is made of them. Without it
the kinds are made of the references alone.
"""

import concurrent.futures
import dataclasses
import itertools
from pathlib import Path

import cv2
import numpy as np

from experiments import brackets
from experiments.real_pictures import synthesis
from neid_tf import pictures
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files

LARGEST = (512, 600)
"""Height and width that no picture exceeds."""
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


def collect(
    data: Path, held: str = "lol", synthetic: int = 360, seed: int = 7, unlit: bool = False
) -> dict:
    """Return the samples of all kinds, lists by kind.

    Args:
        data: the folder with ``our485``, ``sice`` and, where it is there, ``photographs``.
        held: LoL's pictures that are held out, as ``neid train --validation`` has it: ``lol``,
            ``none`` or the file of a list; the held-out scenes of SICE always are.
        synthetic: how many pictures of each synthetic kind are made.
        seed: of what is synthetic.
        unlit: whether twice as many of that kind are made as well.
    """
    samples = [*_lol(Path(data) / "our485", held), *_sice(Path(data) / "sice")]
    references = [sample.low for sample in samples if sample.kind == "same"]
    photographs = _photographs(Path(data) / "photographs")
    samples += [Sample("photo", photo, (photo,)) for photo in photographs]

    def made(index):
        random = np.random.default_rng([seed, index])
        lit, chosen = (
            photographs if photographs and index // 2 % 2 == turn else references for turn in (1, 0)
        )
        dark = _unlit(lit, random) if unlit else ()
        of_choice = _of_choice(index, references, chosen, random)
        return [*_synthetic(index, lit, random), *of_choice, *dark]

    with concurrent.futures.ThreadPoolExecutor() as pool:
        samples += itertools.chain.from_iterable(pool.map(made, range(synthetic)))
    return {
        kind: [s for s in samples if s.kind == kind] for kind in sorted({s.kind for s in samples})
    }


def _synthetic(index, among, random):
    """Return pictures without light, lit in part or from behind, at times in coloured light."""
    picture = _drawn(among, random)
    picture = synthesis.coloured_light(picture, random) if index % 2 else picture
    yield Sample("dimmed", _bytes(synthesis.darken(picture, random)), (_bytes(picture),))
    low, high = synthesis.night(picture, random)
    yield Sample("night", _bytes(low), (_bytes(high),))
    for turn in range(2):
        picture = _drawn(among, random)
        picture = synthesis.coloured_light(picture, random) if turn else picture
        low, high = synthesis.city(picture, random)
        yield Sample("city", _bytes(low), (_bytes(high),))
    picture = _drawn(among, random)
    if index % 2:
        yield Sample("same", _bytes(picture), (_bytes(picture),))
    picture = _drawn(among, random)
    yield Sample("backlit", _bytes(synthesis.backlit(picture, random)), (_bytes(picture),))


def _of_choice(index, references, among, random):
    """Return a dull picture, one dark on purpose, and at times a flat one."""
    low, high = synthesis.dull(_drawn(among, random), random)
    yield Sample("dull", _bytes(low), (_bytes(high),))
    dark = _bytes(synthesis.keyed(_drawn(among, random), random.uniform(1.2, 2.4)))
    yield Sample("key", dark, (dark,))
    if index % 6 == 0:
        wall = _bytes(synthesis.flat(references[0].shape[:2], random))
        yield Sample("flat", wall, (wall,))


def _unlit(among, random):
    """Return two dark pictures that nobody has a reference of."""
    for _ in range(2):
        dark = _bytes(synthesis.unlit(_drawn(among, random), random))
        yield Sample("unlit", dark, (dark,))


def _drawn(among, random):
    return among[random.integers(len(among))].astype(np.float32) / 255


def _photographs(folder):
    """Return the photographs of a folder, none where it is not there."""
    if not folder.is_dir():
        return []
    found = pair_files.find_pictures(folder).values()
    return [_within(pictures.read(path).pixels) for path in found]


def _within(picture):
    """Return a photograph that is not much larger than the pictures of the sets."""
    factor = min(1.0, LARGEST[0] / picture.shape[0], LARGEST[1] / picture.shape[1])
    if factor == 1.0:
        return picture
    width, height = (2 * round(side * factor / 2) for side in picture.shape[1::-1])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _bytes(picture):
    return np.rint(picture * 255).astype(np.uint8)


def _lol(folder, held):
    pairs = pair_files.load_pairs(folder)
    if held != "none":
        known = held_out.validation_names() if held == "lol" else None
        names = held_out.names_in(held, pairs.names) if known is None else known
        pairs = pairs.select(lambda name: name not in names)
    for index, (low, high) in enumerate(zip(pairs.low, pairs.high, strict=True)):
        yield Sample("lol", low, (high,))
        if index % 2 == 0:
            yield Sample("same", high, (high,))


def _sice(folder):
    found = brackets.scenes(folder, held_out=False).values()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        loaded = list(pool.map(brackets.frames, found))
        fused = list(pool.map(brackets.fused, loaded))
    for bracket, made in zip(loaded, fused, strict=True):
        references = (made, brackets.normal(bracket))
        dark = {id(frame) for frame in brackets.dark(bracket)}
        yield from (Sample("same", picture, (picture,)) for picture in references)
        for frame in bracket:
            if id(frame) in dark:
                yield Sample("dark", frame, references)
            elif not NORMAL[0] < frame.mean() < NORMAL[1]:
                yield Sample("lit", frame, references)
