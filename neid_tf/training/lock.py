"""One training at a time in a workdir."""

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from neid_tf.support.errors import NeidError


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Hold a folder, which is made if need be, against other trainings.

    The file ``lock`` in it names host and process. The operating system holds the lock itself and
    lets go of it when the process ends, however that comes about.

    Raises:
        NeidError: naming the other process, where one holds the folder.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / "lock", "a+", encoding="utf-8") as file:
        try:
            _lock(file)
        except OSError:
            raise NeidError(f"{workdir}: another training runs there, {_holder(file)}") from None
        _write(file, json.dumps({"host": platform.node(), "pid": os.getpid()}))
        try:
            yield
        finally:
            # The file stays: whoever waits to open it would hold one that is nowhere.
            _write(file, "")


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        file.seek(4096)  # beyond the text, which others read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "and has not said which"
