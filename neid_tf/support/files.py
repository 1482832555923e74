"""Writing files whole or not at all."""

import contextlib
import functools
import json
import math
import os
import platform
import re
import shutil
import stat
import time
import zlib
from collections.abc import Hashable, Iterator
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from neid_tf.support.errors import FileError, NeidError

_DAY = 24 * 3600  # seconds after which a temporary file of unknown origin is a leftover
_NOT_ON_WINDOWS = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)', re.IGNORECASE
)
_OURS = re.compile(r"\.neid-(?:[0-9a-f]+-)?([0-9a-f]{8})-(\d+)-[0-9a-f]+\.tmp")


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a file to read it; what may give nothing for ever, such as a pipe, is refused.

    Args:
        path: the file.

    Raises:
        NeidError: for a pipe or a device.
        OSError: if it can't be opened.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        raise NeidError("not a regular file")
    return open(path, "rb")


class NameTaken(FileError):
    """What is not to be replaced has come to be there; it is left as it is."""

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path, "is there already")


def identity(path: str | os.PathLike) -> Hashable:
    """Return what two names of one file have in common, links included."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        if status.st_ino:  # Some file systems of Windows have no numbers.
            return status.st_dev, status.st_ino
    return os.path.realpath(path)


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes under a temporary name beside a path, then rename: it is never half there.

    Args:
        path: the file; its folder is made if need be. One that exists is replaced and keeps its
            permissions; a link is followed.
        content: what to write.

    Raises:
        OSError: if it can't be written; what was there before is then untouched.
    """
    Path(os.path.realpath(path)).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, open(temporary, "xb") as file:
        file.write(content)


def json_bytes(value: object, indent: int | None = None) -> bytes:
    """Return a value as JSON in UTF-8, with a line end.

    The bytes of a file name that are no UTF-8 become escapes, which ``json.loads`` and
    ``os.fsencode`` turn into these bytes again.

    Args:
        value: what JSON can hold; infinite numbers are refused.
        indent: spaces of each level; None for one line.

    Raises:
        ValueError: for an infinite number or NaN.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "backslashreplace")


def finite(value: Any) -> Any:
    """Return a report with None for infinity (the PSNR of equal pictures), which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | os.PathLike, value: object, indent: int | None = 1) -> None:
    """Write a value as JSON, whole or not at all; see :func:`json_bytes` and :func:`write_whole`.

    Args:
        path: of the file, which may be there.
        value: what JSON can hold; infinite numbers are refused.
        indent: spaces of each level; None for one line.
    """
    write_whole(path, json_bytes(value, indent))


def temporary_name(label: str = "", unique: str | None = None) -> str:
    """Return the name of a file that is being written.

    Args:
        label: tells whose it is: hexadecimal digits and a dash, or empty.
        unique: what is found in no other name; by default the machine, the process and chance.
    """
    if unique is None:
        unique = f"{_machine():08x}-{os.getpid()}-{os.urandom(6).hex()}"
    return f".neid-{label}{unique}.tmp"


@functools.cache
def _machine() -> int:
    """Return a number that tells apart the machines, and containers, whose processes we can see."""
    described = platform.node()
    with contextlib.suppress(OSError):
        described += os.readlink("/proc/self/ns/pid")
        described += Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    return zlib.crc32(described.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, label: str = "", overwrite: bool = True) -> Iterator[Path]:
    """Give a name beside a path to write to, which gets the path's name once all went well.

    Args:
        path: the file; its folder exists. A link is followed.
        label: see :func:`temporary_name`.
        overwrite: whether what is there at the end is replaced.

    Yields:
        The temporary path, where nothing is yet.

    Raises:
        NameTaken: where something is there at the end, and is not replaced.
        OSError: if it can't be written; it names the path.
    """
    place = Path(os.path.realpath(path))
    _sweep_once(str(place.parent))
    temporary = place.with_name(temporary_name(label))
    try:
        with named(path, temporary, str(temporary)):
            yield temporary
            place_file(temporary, place, overwrite)
    except BaseException:
        with contextlib.suppress(OSError):
            os.chmod(temporary, 0o600)  # Windows removes nothing that is read-only.
            temporary.unlink()
        raise


@contextlib.contextmanager
def named(path: str | os.PathLike, *others: object) -> Iterator[None]:
    """Let errors of the system name a file: a write, such as to a full disk, names none.

    Args:
        path: of the file.
        others: names that errors may have in its place.

    Raises:
        OSError: that names the path.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, *others):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def windows_takes(path: PurePath) -> bool:
    """Tell whether Windows can have files and folders of these names, each for itself.

    What comes after a colon would go, unseen, into a stream behind another file.

    Args:
        path: relative.
    """
    return not any(_NOT_ON_WINDOWS.search(part) for part in path.parts)


def place_file(temporary: Path, place: Path, overwrite: bool = True) -> None:
    """Give a finished file its name.

    Args:
        temporary: the finished file.
        place: its name.
        overwrite: whether what is there is replaced; its permissions are kept.

    Raises:
        NameTaken: where something is there, and is not replaced.
    """
    with open(temporary, "rb+") as file:
        # A full disk may show itself only here.
        os.fsync(file.fileno())
    if not overwrite:
        _name(temporary, place)
        return
    if place.exists():
        shutil.copymode(place, temporary)
    os.replace(temporary, place)


def _name(temporary, place):
    """Give a file its name where nothing is, in one step where the file system can."""
    try:
        os.link(temporary, place)
    except FileExistsError as error:
        raise NameTaken(place) from error
    except OSError:
        # Such as FAT, which has no links.
        if os.path.lexists(place):
            raise NameTaken(place) from None
        os.rename(temporary, place)
    else:
        temporary.unlink()


@functools.cache
def _sweep_once(folder: str) -> None:
    sweep(folder)


def sweep(folder: str | os.PathLike) -> None:
    """Remove the temporary files that processes which were killed left in a folder.

    Those of a process of this machine that is no more; of other machines, those that nobody has
    written to for a day.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".neid-") and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    if _is_left_over(entry):
                        os.unlink(entry.path)


def _is_left_over(entry: os.DirEntry) -> bool:
    ours = _OURS.fullmatch(entry.name)
    if ours and int(ours[1], 16) == _machine() and not _is_alive(int(ours[2])):
        return True
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAY


def _is_alive(pid: int) -> bool:
    if os.name != "posix":  # Elsewhere the signal 0 ends the process.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
