"""Pairs of low-light pictures and references: finding, checking, decoding, holding out.

A data set is ``DIR/low/NAME.*`` and ``DIR/high/NAME.*``, matched by stem.
"""

import concurrent.futures
import dataclasses
import importlib.resources
from pathlib import Path

import numpy as np

from neid_tf import pictures
from neid_tf.support.errors import NeidError


class DataError(NeidError):
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

    def __iter__(self):
        """Yield name, low-light picture and reference of each pair."""
        return zip(self.names, self.low, self.high, strict=True)

    def select(self, keep):
        """Return the pairs whose name ``keep`` is true of."""
        kept = [row for row in self if keep(row[0])]
        return (
            Pairs(*(tuple(column) for column in zip(*kept, strict=True)))
            if kept
            else Pairs((), (), ())
        )


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
    return [
        (stem, sides["low"][stem], sides["high"][stem])
        for stem in sorted(sides["low"], key=_natural)
    ]


def find_pictures(folder):
    """Return the pictures of a folder by stem, numbers in the order of their values.

    Raises:
        DataError: for a missing or empty folder, or a stem used twice.
    """
    problems = []
    found = _stems(Path(folder), problems)
    if problems or not found:
        raise DataError(folder, problems or [f"no pictures in {folder}"])
    return {stem: found[stem] for stem in sorted(found, key=_natural)}


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
    text = (
        importlib.resources.files("neid_tf.data").joinpath("lol_validation.txt").read_text("utf-8")
    )
    lines = (line.partition("#")[0] for line in text.splitlines())
    return frozenset(name for line in lines for name in line.split())


def listed(choice):
    """Return the names that a choice stands for: ``lol`` for those held out, or a text file's."""
    if choice == "lol":
        return validation_names()
    return frozenset(Path(choice).read_text("utf-8").split())


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
        raise NeidError(f"{choice!r}: not 'lol', 'none', a folder of pairs or a file of names")
    held = listed(choice)
    training = pairs.select(lambda name: name not in held)
    if not len(training):
        raise NeidError(f"{choice}: all {len(pairs)} pairs are held out, none is left to train on")
    return training, pairs.select(lambda name: name in held)
