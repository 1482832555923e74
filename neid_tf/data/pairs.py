"""Pairs of low-light pictures and references: finding, checking, decoding.

A data set is ``DIR/low/NAME.*`` and ``DIR/high/NAME.*``, matched by stem.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from neid_tf import pictures
from neid_tf.pixels.samples import to_type
from neid_tf.support.errors import NeidError

Report = Callable[[str], object]
"""What is told of something, in a line."""
PairPaths = tuple[str, Path, Path]
"""A pair's name, and the paths of its low-light picture and of its reference."""


class DataError(NeidError):
    """Everything that is wrong with a data set, one problem a line.

    Args:
        root: the folder, or what else names the data.
        problems: a sentence each.
        most: so many of them are named, and the rest counted; None for all.
    """

    def __init__(self, root: Path | str, problems: Sequence[str], most: int | None = None) -> None:
        named = list(problems[:most])
        if more := len(problems) - len(named):
            named.append(f"and {more} more")
        lines = "\n".join(f"  {line}" for line in named)
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

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Yield name, low-light picture and reference of each pair."""
        return zip(self.names, self.low, self.high, strict=True)

    def select(self, keep: Callable[[str], bool]) -> "Pairs":
        """Return the pairs whose name ``keep`` is true of."""
        kept = [row for row in self if keep(row[0])]
        columns = zip(*kept, strict=True) if kept else ((), (), ())
        return Pairs(*(tuple(column) for column in columns))


def find_pairs(root: Path | str) -> list[PairPaths]:
    """Match ``root/low`` and ``root/high`` by stem.

    Returns:
        The pairs, numbers in the order of their values.

    Raises:
        DataError: for a missing or empty folder, a missing partner, or a stem used twice.
    """
    found, problems = _matched(Path(root))
    if problems:
        raise DataError(root, problems)
    return found


def _matched(root: Path) -> tuple[list[PairPaths], list[str]]:
    """Return the pairs that there are, and what is wrong with the rest."""
    problems: list[str] = []
    sides = {side: _stems(root / side, problems) for side in ("low", "high")}
    if not problems and not sides["low"] and not sides["high"]:
        problems.append(f"no pictures in {root / 'low'} and {root / 'high'}")
    for side, other in (("low", "high"), ("high", "low")):
        if (root / other).is_dir():
            missing = sorted(set(sides[side]) - set(sides[other]), key=_natural)
            problems += [f"{sides[side][stem]}: no partner in {root / other}" for stem in missing]
    both = sorted(set(sides["low"]) & set(sides["high"]), key=_natural)
    return [(stem, sides["low"][stem], sides["high"][stem]) for stem in both], problems


def find_pictures(folder: Path | str) -> dict[str, Path]:
    """Return the pictures of a folder by stem, numbers in the order of their values.

    Raises:
        DataError: for a missing or empty folder, or a stem used twice.
    """
    problems: list[str] = []
    found = _stems(Path(folder), problems)
    if problems or not found:
        raise DataError(folder, problems or [f"no pictures in {folder}"])
    return {stem: found[stem] for stem in sorted(found, key=_natural)}


def _stems(folder: Path, problems: list[str]) -> dict[str, Path]:
    if not folder.is_dir():
        problems.append(f"{folder}: no such folder")
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not is_picture(path):
            continue
        if path.stem in found:
            problems.append(f"{path}: {found[path.stem].name} has the same stem")
        found[path.stem] = path
    return found


def folders(root: Path | str) -> list[Path]:
    """Return the folders that the pictures of a data set, or of a folder of pictures, are in."""
    sides = [side for side in (Path(root) / "low", Path(root) / "high") if side.is_dir()]
    return sides or [Path(root)]


def passed_over(root: Path | str) -> list[Path]:
    """Return the files of a data set, or of a folder, that are no pictures or lie deeper.

    Beside ``low`` and ``high`` these are pictures, and data sets of their own.
    """
    looked_into = folders(root)
    files = [(path, folder) for folder in looked_into for path in folder.rglob("*")]
    left = [f for f, folder in files if f.is_file() and not (f.parent == folder and is_picture(f))]
    if Path(root) in looked_into:
        return left
    for path in Path(root).iterdir():
        if path.is_file() and is_picture(path):
            left.append(path)
        elif path not in looked_into and all((path / side).is_dir() for side in ("low", "high")):
            left += [file for file in path.rglob("*") if file.is_file()]
    return left


def is_picture(path: Path) -> bool:
    """Tell whether a file of a folder is a picture, by its name; hidden files are none."""
    return path.suffix.lower() in pictures.SUFFIXES and not path.name.startswith(".")


def _natural(stem: str) -> tuple[int, int, str]:
    return (0, int(stem), stem) if stem.isdecimal() else (1, 0, stem)


def load_pairs(root: Path | str, smallest: int = 1, report: Report | None = None) -> Pairs:
    """Decode a data set into memory, pictures beside each other.

    Args:
        root: the folder with ``low`` and ``high``.
        smallest: the least height and width a picture may have, such as the crop's.
        report: is told of each file that has further pages or frames, which are left out.

    Raises:
        DataError: naming, all at once, every file that has no partner or can't be read, every
            pair of two sizes and every picture that is too small.
    """
    found, problems = _matched(Path(root))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        loaded = list(pool.map(lambda row: _attempt(row, smallest, report), found))
    problems += [problem for _, trouble in loaded for problem in trouble]
    if problems:
        raise DataError(root, problems)
    low, high = zip(*(sides for sides, _ in loaded), strict=True)
    return Pairs(tuple(name for name, *_ in found), low, high)


def check_pairs(root: Path | str, smallest: int = 1) -> list[PairPaths]:
    """Decode each pair of a data set once, and keep none.

    Args:
        root: the folder with ``low`` and ``high``.
        smallest: the least height and width a picture may have.

    Returns:
        The pairs, numbers in the order of their values; :func:`load_pair` decodes one.

    Raises:
        DataError: as :func:`load_pairs`.
    """
    found, problems = _matched(Path(root))
    _check(root, found, problems, smallest, None)
    return found


def check_files(
    root: Path | str,
    found: Mapping[str, Sequence[Path]],
    smallest: int = 1,
    report: Report | None = None,
) -> None:
    """Decode pictures, or pairs, once, and keep none.

    Args:
        root: the folder, for the message.
        found: by its name, the file of a picture, or those of a pair.
        smallest: the least height and width a picture may have.
        report: as for :func:`load_pairs`.

    Raises:
        DataError: as :func:`load_pairs`.
    """
    _check(root, [(name, *paths) for name, paths in found.items()], [], smallest, report)


def _check(root, rows, problems, smallest, report):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for trouble in pool.map(lambda row: _attempt(row, smallest, report)[1], rows):
            problems += trouble
    if problems:
        raise DataError(root, problems)


def load_pair(low_path: Path, high_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decode a pair.

    Args:
        low_path: the low-light picture's file.
        high_path: its reference's.

    Returns:
        Both, uint8 or uint16 H×W×3 RGB.

    Raises:
        PictureError: where a file can't be read.
    """
    return _pixels(low_path), _pixels(high_path)


def _pixels(path: Path, report: Report | None = None) -> np.ndarray:
    """Return the samples of a picture; those of floats as 16 bits, which training counts in."""
    pixels = pictures.read_pixels(path, report)
    return to_type(pixels, np.uint16) if pixels.dtype.kind == "f" else pixels


def _attempt(
    row: Sequence, smallest: int, report: Report | None
) -> tuple[tuple[np.ndarray, ...] | None, list[str]]:
    """Return a decoded pair, or picture, or what is wrong with it."""
    sides, problems = [], []
    for path in row[1:]:
        try:
            sides.append(_pixels(path, report))
        except pictures.PictureError as error:
            problems.append(str(error))
    if problems:
        return None, problems
    low, *references = sides
    for path, high in zip(row[2:], references, strict=True):
        if low.shape != high.shape:
            problems.append(f"{row[1]}: {_size(low)}, but {path} is {_size(high)}")
    if not problems and min(low.shape[:2]) < smallest:
        what = "the 11 pixels that SSIM needs" if smallest == 11 else f"the crop of {smallest}"
        problems.append(f"{row[1]}: {_size(low)} is smaller than {what}")
    return tuple(sides), problems


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}×{picture.shape[0]}"
