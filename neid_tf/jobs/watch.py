"""Files as they arrive in a folder, each once it is complete."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from neid_tf.jobs import found
from neid_tf.support.libraries import optional_import

RESCAN = 60.0
"""Seconds after which the folder is looked through anew: not all file systems tell of changes."""
_TICK = 0.1


class State(NamedTuple):
    """What tells a file from what it was before.

    Attributes:
        size: in bytes.
        modified: when its content was last changed, in nanoseconds.
        number: of the file in its file system.
    """

    size: int
    modified: int
    number: int


def state_of(path: str) -> State | None:
    """Return the state of a file, or of a link that leads nowhere; None for a folder or nothing."""
    found_there = None
    for look in (os.lstat, os.stat):
        with contextlib.suppress(OSError):
            found_there = look(path)
    if found_there is None or stat.S_ISDIR(found_there.st_mode):
        return None
    return State(found_there.st_size, found_there.st_mtime_ns, found_there.st_ino)


class Arrivals:
    """Which of the files that were noticed are complete.

    One is so when its size and time have not changed for a while, or its time is older than that:
    it was moved here, or copied with its time, which is set last. Each is given once, and again
    only when it has changed.

    Args:
        settle: that while, in seconds.
    """

    def __init__(self, settle: float) -> None:
        self.settle = settle
        self._waiting: dict[str, tuple[State | None, float]] = {}
        self._given: dict[str, State] = {}

    def note(self, paths: Iterable[str]) -> None:
        """Take files that are there, or have changed."""
        for path in paths:
            self._waiting.setdefault(path, (None, 0.0))

    def complete(self) -> list[str]:
        """Return those that have become complete."""
        now, ready = time.monotonic(), []
        for path, (before, since) in list(self._waiting.items()):
            state = state_of(path)
            if state is None:
                del self._waiting[path]
                self._given.pop(path, None)  # So that it holds only what is there.
            elif state == self._given.get(path):
                del self._waiting[path]
            elif self._is_old(state) or (state == before and now - since >= self.settle):
                del self._waiting[path]
                self._given[path] = state
                ready.append(path)
            elif state != before:
                self._waiting[path] = state, now
        return sorted(ready)

    def _is_old(self, state):
        return state.size > 0 and time.time() - state.modified / 1e9 >= self.settle


def complete_files(
    folder: str,
    but: str,
    settle: float,
    stop: threading.Event,
    report: Callable[[str, str], None],
) -> Iterator[list[str]]:
    """Return lists, as they come, of files that have become complete: those there are, first.

    Args:
        folder: that is watched, with all below it.
        but: a folder whose files are left out, wherever it is.
        settle: see :class:`Arrivals`.
        stop: ends it.
        report: is told name and reason of each folder that can't be looked into, once.

    Raises:
        MissingLibraryError: where watchfiles is not installed.
    """
    with optional_import("watching a folder"):
        import watchfiles
    return _complete_files(watchfiles, folder, but, settle, stop, report)


def _complete_files(watchfiles, folder, but, settle, stop, report):
    # Of the folder's own path, so that each file has one name.
    folder, arrivals, reported = os.path.abspath(folder), Arrivals(settle), set()
    while not stop.is_set():
        yield from _arriving(watchfiles, folder, but, stop, report, arrivals, reported)


def _arriving(watchfiles, folder, but, stop, report, arrivals, reported):
    """Return the lists until the folder has given way to another, which is not watched yet."""
    scanned, watched = -RESCAN, _identity(folder)
    changes = watchfiles.watch(
        folder,
        watch_filter=None,
        stop_event=stop,
        step=50,
        debounce=500,
        rust_timeout=int(1e3 * _TICK),
        yield_on_timeout=True,
        ignore_permission_denied=True,
        raise_interrupt=True,
    )
    for changed in _until_unreadable(changes):
        now = _identity(folder)
        if now not in (None, watched):
            return
        if time.monotonic() - scanned >= RESCAN:  # At first: it is being watched already.
            changed = {(None, folder), *changed}
            scanned, gone = time.monotonic(), (folder, "no such folder any more")
            if now is None and gone not in reported:
                report(*gone)
                reported.add(gone)
            elif now:
                reported.discard(gone)
        for _, path in changed:
            problems: list[tuple[str, str]] = []
            below = _below(path, folder, problems)
            arrivals.note(path for path in below if not _is_inside(path, but))
            for problem in set(problems) - reported:
                report(*problem)
            reported.update(problems)
        if ready := arrivals.complete():
            yield ready


def _identity(folder):
    """Return what tells a folder from another of its name; None where there is none."""
    try:
        found_there = os.stat(folder)
    except OSError:
        return None
    return found_there.st_dev, found_there.st_ino


def _until_unreadable(changes):
    """Yield the changes up to one in a file whose name is no text, which can't be told."""
    try:
        yield from changes
    except RuntimeError as error:
        if "decode path" not in str(error):
            raise


def _below(path, folder, problems):
    """Return a file, or the files of a folder that was moved in as a whole."""
    if not os.path.isdir(path):
        return [path]
    return [below for below, _ in found.walk(path, problems, folder)]


def _is_inside(path, folder):
    return found.is_below(os.path.realpath(path), os.path.realpath(folder))
