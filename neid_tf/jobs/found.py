"""What an input names: files, all files below a folder, or those that match a pattern."""

import collections
import contextlib
import dataclasses
import fnmatch
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from neid_tf import pictures, video
from neid_tf.support import files
from neid_tf.support.errors import NeidError, reason_of

SUFFIXES = pictures.SUFFIXES | video.SUFFIXES
"""The suffixes, lower case, of the files that are looked for in folders."""
TRANSPORT_STREAMS = frozenset({".ts", ".mts", ".m2ts"})
"""Suffixes of videos that other kinds of files have too, such as TypeScript's sources."""
_TEMPORARY = ".neid-*.tmp"
_NAMED_KINDS = 8
_SYNC, _PACKETS = b"\x47", ((0, 188), (4, 196))  # Where packets of transport streams begin.
START = 200
"""How many of a file's first bytes tell what it is."""


@dataclasses.dataclass
class Found:
    """What an input stands for.

    Attributes:
        files: (file, path below the output) of each file to enhance.
        problems: (name, reason) of what can't be looked into.
        left_out: how many files of each kind were passed over.
        root: the folder that was looked through; empty where a file was named.
        is_folder: whether a folder was named, and not a file or a pattern.
    """

    files: list[tuple[str, PurePath]] = dataclasses.field(default_factory=list)
    problems: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    left_out: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    root: str = ""
    is_folder: bool = False

    def take(self, path: str, below: PurePath, known: bool) -> None:
        """Note a file of a folder: it is enhanced, or counted by its kind.

        Args:
            path: the file.
            below: its path below the folder.
            known: whether it is enhanced.
        """
        if known:
            self.files.append((path, below))
        elif not fnmatch.fnmatch(below.name, _TEMPORARY):
            self.left_out[kind_of(below)] += 1


def has_known_suffix(name: PurePath) -> bool:
    """Tell whether a path below a folder is one that is looked for."""
    return name.suffix.lower() in SUFFIXES and not is_hidden(name)


def is_hidden(name: PurePath) -> bool:
    """Tell whether a path below a folder is hidden, or in a folder that is."""
    return any(part.startswith(".") for part in name.parts)


def kind_of(name: PurePath) -> str:
    """Return the kind that a file is counted under where it is left out."""
    if is_hidden(name):
        return "hidden"
    return name.suffix.lower() or "without a suffix"


def find(item: str) -> Found:
    """Find what an input on this machine stands for; nothing is raised.

    Args:
        item: a file, a folder (with all below it; ``FOLDER/**`` means the same) or a pattern.
            Links to folders are followed, but each folder is looked into once.
    """
    path = item
    if os.path.basename(path) == "**" and os.path.isdir(os.path.dirname(path) or os.curdir):
        path = os.path.dirname(path) or os.curdir
    if os.path.isdir(path):
        found = _below(path)
    elif not os.path.lexists(path) and glob.has_magic(path):
        found = _matching(path)
    else:
        found = _named(path)
    found.problems = list(dict.fromkeys(found.problems))
    return found


def _named(path: str) -> Found:
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        return Found(problems=[(path, reason_of(error))])
    return Found([(path, PurePath(PurePath(path).name))])


def _below(folder: str) -> Found:
    found = Found(root=folder, is_folder=True)
    for path, below in sorted(walk(folder, found.problems), key=lambda pair: pair[1].parts):
        found.take(path, below, is_known_file(path, below))
    if not found.files and not found.problems:
        found.problems.append((folder, _nothing_in(found.left_out)))
    return found


def _nothing_in(left_out: collections.Counter) -> str:
    kinds = f" (only {listing(left_out)})" if left_out else ""
    return f"no pictures or videos in this folder{kinds}"


def listing(kinds: collections.Counter) -> str:
    """Return counted kinds as a text, the most frequent first: ``6 .psd, 4 .xcf``.

    Args:
        kinds: how often each kind is there; all but eight are counted together.
    """
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[_NAMED_KINDS:])
    texts = [f"{count} {kind}" for kind, count in ordered[:_NAMED_KINDS]]
    return ", ".join(texts + ([f"{rest} others"] if rest else []))


def is_known(name: PurePath, start: Callable[[], bytes | None]) -> bool:
    """Tell whether a file of a folder is one that is enhanced.

    Args:
        name: its path below the folder.
        start: function that gives its first :data:`START` bytes, asked where the name does not
            tell; None where they can't be read.
    """
    if not has_known_suffix(name):
        return False
    if name.suffix.lower() not in TRANSPORT_STREAMS:
        return True
    first = start()
    # Of what can't be read, reading it in earnest tells what is wrong.
    return first is None or any(all(first[n : n + 1] == _SYNC for n in at) for at in _PACKETS)


def is_known_file(path: str, below: PurePath) -> bool:
    """Tell of a file of this machine what :func:`is_known` does.

    Args:
        path: the file.
        below: its path below the folder.
    """
    return is_known(below, lambda: _start(path))


def _start(path: str) -> bytes | None:
    with contextlib.suppress(OSError, NeidError), files.open_regular(path) as file:
        return file.read(START)
    return None


def walk(
    root: str, problems: list[tuple[str, str]], whole: str | None = None
) -> Iterator[tuple[str, PurePath]]:
    """Yield each file below a folder, and its path from there.

    Args:
        root: the folder, or a link to one.
        problems: gets (name, reason) of what can't be looked into.
        whole: the folder of which the root is a part, and to whose parts links are not followed;
            the root itself if left out.
    """
    for _, below, entries in _folders(root, problems, whole):
        yield from ((entry.path, below / entry.name) for entry in entries if not _is_folder(entry))


def _folders(
    root: str, problems: list[tuple[str, str]], whole: str | None = None
) -> Iterator[tuple[str, PurePath, list[os.DirEntry]]]:
    """Yield a folder and all below it, each once, with what is in it; linked ones come last."""
    seen, whole_place = set(), os.path.realpath(whole or root)
    real, linked = collections.deque(), collections.deque()
    is_link = whole is not None and os.path.islink(root)
    (linked if is_link else real).append((root, PurePath()))
    while real or linked:
        is_link = not real
        folder, below = (real or linked).popleft()
        place = os.path.realpath(folder)
        # What is linked to in here is looked into where it is; a link to a folder above would
        # bring in what nobody asked for.
        if is_link and (is_below(place, whole_place) or is_below(whole_place, place)):
            continue
        if place in seen:
            continue
        seen.add(place)
        entries = _entries(folder, problems)
        yield folder, below, entries
        for entry in filter(_is_folder, entries):
            (linked if entry.is_symlink() else real).append((entry.path, below / entry.name))


def is_below(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or below it.

    Args:
        path: as :func:`os.path.realpath` gives it.
        folder: likewise.
    """
    path, folder = os.path.normcase(path), os.path.normcase(folder)
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _entries(folder: str, problems: list[tuple[str, str]]) -> list[os.DirEntry]:
    """Return what is in a folder, by name; nothing, and a problem, where it can't be read."""
    try:
        with os.scandir(folder or os.curdir) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        problems.append((folder or os.curdir, f"can't look into this folder: {reason_of(error)}"))
        return []


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # Reading it in earnest tells what is wrong.


def _matching(pattern: str) -> Found:
    parts = PurePath(pattern).parts
    start = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    base = os.path.join(*parts[:start]) if start else ""
    found = Found(root=base or os.curdir)
    for path in dict.fromkeys(_matches(base, parts[start:], found.problems)):
        if not os.path.isdir(path):
            found.files.append((path, PurePath(PurePath(path).name)))
        elif parts[-1] != "**":
            found.left_out["matching folder"] += 1
    if not found.files and not found.problems:
        found.problems.append((pattern, "nothing matches this pattern"))
    return found


def _matches(base: str, parts: Sequence[str], problems: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the paths below ``base`` that match, part by part; ``**`` is any folders."""
    part, rest = parts[0], parts[1:]
    if part == "**":
        for folder in _visible_folders(base, problems):
            yield from _matches(folder, rest or ("*",), problems)
        return
    if glob.has_magic(part):
        names = [entry.name for entry in _entries(base, problems)]
        names = [name for name in names if part.startswith(".") or not name.startswith(".")]
        paths = [os.path.join(base, name) for name in fnmatch.filter(names, part)]
    else:
        paths = list(filter(os.path.lexists, [os.path.join(base, part)]))
    for path in paths:
        if not rest:
            yield path
        elif os.path.isdir(path):
            yield from _matches(path, rest, problems)


def _visible_folders(base: str, problems: list[tuple[str, str]]) -> Iterator[str]:
    for folder, below, _ in _folders(base or os.curdir, problems):
        if not any(name.startswith(".") for name in below.parts):
            yield folder if base else "" if below == PurePath() else str(below)
