"""Which pairs training does not see: the project's list, lists of users, shares, other folders."""

import importlib.resources
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from neid_tf import pictures
from neid_tf.data.pairs import DataError, Pairs, Report, load_pairs
from neid_tf.support.errors import NeidError, reason_of

LOL_PAIRS = 485
"""Pairs in LoL's ``our485``."""
_BLOCK = 5  # neighbours that a share holds out together: they often show one scene
_MOST_NAMED = 10
_WORDS = "auto", "none", "lol"


def validation_names() -> frozenset[str]:
    """Return the names of our485's pictures that every training run of the project holds out.

    Whole scenes: neighbouring numbers show the same place, so both sides of the split would
    otherwise share it.
    """
    text = importlib.resources.files("neid_tf.data") / "lol_validation.txt"
    lines = (line.partition("#")[0] for line in text.read_text("utf-8").splitlines())
    return frozenset(name for line in lines for name in line.split())


def names_in(choice: str, known: Collection[str]) -> frozenset[str]:
    """Return the names of pictures that a list names.

    Args:
        choice: ``lol`` for :func:`validation_names`, or a text file in UTF-8: names with or
            without a picture's extension, one a line, or several with spaces between them where
            no name has spaces itself. What follows a ``#`` is a comment.
        known: the names that there are.

    Raises:
        DataError: naming every entry that is the name of no picture, or where there is no entry.
        NeidError: where the file can't be read.
    """
    listed, unmatched = set(), []
    by_form = {unicodedata.normalize("NFC", name): name for name in known}
    for line in sorted(validation_names()) if choice == "lol" else _lines(choice):
        found = _matching(line, by_form)
        listed |= {name for name in found.values() if name is not None}
        unmatched += [entry for entry, name in found.items() if name is None]
    if unmatched:
        unknown = [f"no picture is called {entry!r}" for entry in unmatched]
        raise DataError(choice, unknown, _MOST_NAMED)
    if not listed:
        raise NeidError(f"{choice}: names no picture, it is empty")
    return frozenset(listed)


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise NeidError(f"{path}: not a readable list of names: {reason_of(error)}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _matching(line: str, known: dict[str, str]) -> dict[str, str | None]:
    """Return what the entries of a line name: the picture, or None."""
    before = line.partition("#")[0].strip()
    for whole in (line, before):
        if _name(whole, known) is not None:
            return {whole: _name(whole, known)}
    parts = {part: _name(part, known) for part in before.split()}
    # A line of which no part is a name is told as a whole: it may be one name with spaces.
    if len(parts) > 1 and not any(name is not None for name in parts.values()):
        return {before: None}
    return parts


def _name(entry: str, known: dict[str, str]) -> str | None:
    entry = unicodedata.normalize("NFC", entry)
    if entry not in known and Path(entry).suffix.lower() in pictures.SUFFIXES:
        entry = Path(entry).stem
    return known.get(entry)


def hold_out(pairs: Pairs, choice: str, report: Report | None = None) -> tuple[Pairs, Pairs]:
    """Split pairs into those to train on and those to validate on.

    Args:
        pairs: the decoded pairs.
        choice: ``auto`` for ``lol`` where the pairs are LoL's own, and else ``none``; ``lol`` for
            :func:`validation_names`; ``none``; a share between 0 and 1, in blocks of neighbours;
            a folder of other pairs; or a text file of names, see :func:`names_in`.
        report: is told of each file of such a folder whose pages are left out in part.

    Returns:
        The pairs to train on, and those to validate on.

    Raises:
        NeidError: where ``choice`` is none of these, names what is not there, leaves nothing to
            train on, or holds pairs that are trained on.
    """
    check(choice)
    if choice == "auto":
        choice = "lol" if is_lol(pairs.names) else "none"
    if choice == "none":
        return pairs, Pairs((), (), ())
    share = _share(choice)
    if is_folder(choice):
        return pairs, _others(pairs, choice, report)
    held = names_in(choice, pairs.names) if share is None else spread_out(pairs.names, share)
    training = pairs.select(lambda name: name not in held)
    if not len(training):
        raise NeidError(f"{choice}: all {len(pairs)} pairs are held out, none is left to train on")
    return training, pairs.select(lambda name: name in held)


def check(choice: str) -> None:
    """Check, before pairs are read, that a choice of :func:`hold_out` is one.

    Raises:
        NeidError: for a share that is none, or neither a word nor a folder or file that is there.
    """
    is_there = Path(choice).is_file() or Path(choice).is_dir()
    if choice not in _WORDS and _share(choice) is None and not is_there:
        raise NeidError(
            f"{choice!r}: not 'lol', 'none', a share, a folder of pairs or a file of names"
        )


def is_folder(choice: str) -> bool:
    """Tell whether a choice of :func:`hold_out` is a folder of other pairs."""
    return choice not in _WORDS and _share(choice) is None and Path(choice).is_dir()


def _others(pairs, folder, report):
    """Return the pairs of a folder, none of which is trained on."""
    held = load_pairs(folder, 11, report)
    seen = {hash(low.tobytes()) for low in pairs.low}  # Not the bytes, which are all of the data.
    both = [name for name, low, _ in held if hash(low.tobytes()) in seen]
    if both:
        raise NeidError(
            f"{folder}: {len(both)} of its pictures are trained on, such as {both[0]!r}"
        )
    return held


def is_lol(names: Collection[str]) -> bool:
    """Tell whether pairs are LoL's ``our485``, by their number and the names of the list."""
    return len(names) == LOL_PAIRS and validation_names() <= set(names)


def _share(choice: str) -> float | None:
    if Path(choice).exists():
        return None
    try:
        share = float(choice)
    except ValueError:
        return None
    if not 0.0 < share < 1.0:
        raise NeidError(f"a share of the pairs is between 0 and 1, not {choice}")
    return share


def spread_out(names: Sequence[str], share: float) -> frozenset[str]:
    """Choose a share of names: blocks of up to five neighbours, spread evenly.

    Neighbours in the order of names often show one scene, which both sides would share if single
    names were chosen.

    Args:
        names: all names, in their order.
        share: between 0 and 1; at least one name is chosen.
    """
    count, total = max(round(share * len(names)), 1), len(names)
    blocks = -(-count // _BLOCK)
    chosen: list[str] = []
    for block in range(blocks):
        size = (block + 1) * count // blocks - block * count // blocks
        middle = (2 * block + 1) * total // (2 * blocks)
        start = min(max(middle - size // 2, 0), total - size)
        chosen += names[start : start + size]
    return frozenset(chosen)
