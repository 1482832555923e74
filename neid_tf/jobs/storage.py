"""Files of this machine, and of the file systems that pyarrow knows: s3://, gs://, hdfs://, ….

An address is ``scheme://bucket/path``; options of the file system may follow it, such as
``?region=eu-west-1`` or ``?endpoint_override=localhost:9000&scheme=http``, as pyarrow has it.
(fsspec's wrapper of these file systems lists them folder by folder, and leaves out what it can't
list without a word; so pyarrow is used as it is.)
"""

import contextlib
import glob
import os
import posixpath
import re
from collections.abc import Hashable
from pathlib import Path, PurePosixPath
from typing import Protocol

from neid_tf import pictures
from neid_tf.jobs import found
from neid_tf.jobs.found import Found
from neid_tf.pictures import PictureError
from neid_tf.support import files
from neid_tf.support.errors import NeidError, errors_named, reason_of

_ADDRESS = re.compile(r"([A-Za-z][\w+.-]+)://([^/?]*)/?(.*?)(\?[a-z_]+=.*)?$")


class Storage(Protocol):
    """A file system: what finds, reads and writes its files by path or address.

    Its errors are :class:`neid_tf.pictures.PictureError` and name the file.
    """

    def find(self, item: str) -> Found:
        """Return what an input stands for; nothing is raised for a file that is missing."""

    def read(self, path: str) -> bytes:
        """Return a picture file's content."""

    def exists(self, path: str) -> bool:
        """Tell whether there is anything under this name."""

    def identity(self, path: str) -> Hashable:
        """Return what two names of one file have in common."""

    def write(self, path: str, data: bytes, label: str = "", overwrite: bool = True) -> None:
        """Write a file whole or not at all; its folder is made.

        Args:
            path: the file.
            data: its content.
            label: in its temporary name, see :func:`neid_tf.support.files.temporary_name`.
            overwrite: whether a file that exists is replaced; else it is an error, whose cause is
                :class:`neid_tf.support.files.NameTaken`.
        """

    def below(self, folder: str) -> list[str]:
        """Return the files below a folder, as :func:`inside` calls them; none if there is none."""

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""

    def remove_leftovers(self, folder: str, label: str) -> None:
        """Remove the temporary files that killed processes left below a folder.

        Args:
            folder: path or address.
            label: of the files' writers, see :meth:`write`.
        """


def is_address(path: object) -> bool:
    """Tell whether a path is an address of another file system."""
    return _ADDRESS.match(str(path)) is not None


def without_options(address: str) -> str:
    """Return an address, without slashes at its end, and without the options after it."""
    scheme, host, path, _ = _ADDRESS.match(address).groups()
    path = path.rstrip("/")
    return f"{scheme}://{host}/{path}" if path else f"{scheme}://{host}"


def inside(folder: str, name: str) -> str:
    """Return the path or address of a file in a folder.

    Args:
        folder: path or address; options behind an address are left out.
        name: of the file, with slashes where it is deeper.
    """
    if is_address(folder):
        return posixpath.join(without_options(folder), name)
    return os.path.join(folder, *name.split("/"))


def place_of(path: str) -> str:
    """Return what the places of all that lies below a folder begin with, links followed.

    Args:
        path: path or address; ``file://`` is this machine.
    """
    if not is_address(path):
        return os.path.realpath(path)
    scheme, _, below, _ = _ADDRESS.match(path).groups()
    return os.path.realpath(f"/{below}") if scheme.lower() == "file" else without_options(path)


def key_of(path: str) -> Hashable:
    """Return what tells file systems apart: an address without its path; None for this machine."""
    if not is_address(path):
        return None
    scheme, host, _, options = _ADDRESS.match(path).groups()
    return scheme, host, options


def storage_of(path: str | os.PathLike) -> Storage:
    """Return the file system that a path or an address belongs to.

    Raises:
        NeidError: naming an address whose file system cannot be used.
    """
    return ArrowStorage(str(path)) if is_address(path) else LocalStorage()


class LocalStorage:
    """This machine's file system, and what is mounted into it; see :class:`Storage`."""

    def find(self, item: str) -> Found:
        """As :func:`neid_tf.jobs.found.find`."""
        return found.find(item)

    def read(self, path: str) -> bytes:
        """Return a picture file's content."""
        return pictures.content(path)

    def exists(self, path: str) -> bool:
        """Tell whether there is anything under this name.

        Raises:
            PictureError: where that can't be told: a name too long, a closed folder.
        """
        with errors_named(path, PictureError):
            try:
                os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True

    def identity(self, path: str) -> Hashable:
        """As :func:`neid_tf.support.files.identity`."""
        return files.identity(path)

    def write(self, path: str, data: bytes, label: str = "", overwrite: bool = True) -> None:
        """As :meth:`Storage.write`."""
        self.make_folder(path)
        pictures.write_content(path, data, label, overwrite)

    def make_folder(self, path: str) -> None:
        """Make the folder of a file, where there is none."""
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        except OSError as error:
            raise PictureError(path, f"no folder for it: {reason_of(error)}") from error

    def below(self, folder: str) -> list[str]:
        """As :meth:`Storage.below`."""
        places = os.walk(folder)
        return [os.path.join(place, name) for place, _, names in places for name in names]

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with errors_named(path, PictureError), contextlib.suppress(FileNotFoundError):
            Path(path).unlink()

    def remove_leftovers(self, folder: str, label: str) -> None:
        """As :meth:`Storage.remove_leftovers`."""
        for path in map(Path, self.below(folder)):
            if path.match(files.temporary_name(label, "*")):
                with contextlib.suppress(OSError):
                    path.unlink()


class ArrowStorage:
    """A file system of pyarrow's; see :class:`Storage`. It can be sent to other processes.

    Args:
        address: any address in it, with the options that all of them need.
    """

    def __init__(self, address: str) -> None:
        from pyarrow import fs

        scheme, host, _, options = _ADDRESS.match(address).groups()
        self.prefix = f"{scheme}://{host}/"
        try:
            self.system, self.root = fs.FileSystem.from_uri(self.prefix + (options or ""))
        except (OSError, ValueError) as error:
            raise NeidError(f"{address}: {reason_of(error)}") from error

    def _path(self, address: str) -> str:
        below = f"{without_options(address)}/".removeprefix(self.prefix)
        return posixpath.join(self.root, below).rstrip("/") or "/"

    def _address(self, path: str) -> str:
        return self.prefix + posixpath.relpath(path, self.root or "/")

    def find(self, item: str) -> Found:
        """Find what an address stands for, as :func:`neid_tf.jobs.found.find` does for paths."""
        name = without_options(item).removesuffix("/**")
        try:
            return self._found(item, name)
        except PictureError as error:
            return Found(problems=[(item, error.reason)])

    def _found(self, item: str, name: str) -> Found:
        if glob.has_magic(name):
            return self._matching(item, name)
        if self._info(name).is_file:
            return Found([(name, PurePosixPath(PurePosixPath(name).name))])
        result = Found(root=name, is_folder=True)
        for address in self.below(name):
            below = PurePosixPath(address.removeprefix(name + "/"))
            result.take(address, below, found.is_known(below, lambda a=address: self._start(a)))
        if not result.files:
            kinds = f" (only {found.listing(result.left_out)})" if result.left_out else ""
            reason = f"no such file, or no pictures in this folder{kinds}"
            result.problems.append((item, reason))
        return result

    def _matching(self, item: str, name: str) -> Found:
        import fsspec.utils

        fixed = name[: re.search(r"[*?[]", name).start()].rpartition("/")[0]
        pattern = re.compile(fsspec.utils.glob_translate(name))
        matching = [address for address in self.below(fixed) if pattern.match(address)]
        if "/." not in name.removeprefix(fixed):  # As on this machine, hidden ones are asked for.
            matching = [a for a in matching if "/." not in a.removeprefix(fixed)]
        result = Found([(a, PurePosixPath(PurePosixPath(a).name)) for a in matching], root=fixed)
        if not matching:
            result.problems.append((item, "nothing matches this pattern"))
        return result

    def below(self, folder: str) -> list[str]:
        """As :meth:`Storage.below`, sorted."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        with errors_named(folder, PictureError):
            infos = self.system.get_file_info(selector)
        return sorted(self._address(info.path) for info in infos if info.is_file)

    def _info(self, address: str):
        with errors_named(address, PictureError):
            [info] = self.system.get_file_info([self._path(address)])
        return info

    def _start(self, address: str) -> bytes | None:
        """Return a file's first bytes; None where it can't be read, which reading it then tells."""
        with (
            contextlib.suppress(OSError),
            self.system.open_input_stream(self._path(address), compression=None) as file,
        ):
            return file.read(found.START)
        return None

    def read(self, address: str) -> bytes:
        """Return a file's content."""
        with (
            errors_named(address, PictureError),
            self.system.open_input_stream(self._path(address), compression=None) as file,
        ):
            return file.read()

    def exists(self, address: str) -> bool:
        """Tell whether there is anything under this address."""
        from pyarrow import fs

        return self._info(address).type != fs.FileType.NotFound

    def identity(self, address: str) -> Hashable:
        """Return the address without its options; of a file of this machine, what its path has."""
        if _ADDRESS.match(address)[1].lower() == "file":
            return LocalStorage().identity(self._path(address))
        return without_options(address)

    def write(self, address: str, data: bytes, label: str = "", overwrite: bool = True) -> None:
        """As :meth:`Storage.write`; these file systems can't look and write in one step."""
        path = self._path(address)
        name = files.temporary_name(label, os.urandom(8).hex())
        temporary = posixpath.join(posixpath.dirname(path), name)
        with errors_named(address, PictureError):
            try:
                self._put(temporary, data)
                if not overwrite and self.exists(address):
                    raise files.NameTaken(address)
                self.system.move(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.system.delete_file(temporary)
                raise

    def _put(self, path: str, data: bytes) -> None:
        try:
            file = self.system.open_output_stream(path, compression=None)
        except FileNotFoundError:
            # Where folders are more than a part of the name.
            self.system.create_dir(posixpath.dirname(path), recursive=True)
            file = self.system.open_output_stream(path, compression=None)
        with file:
            file.write(data)

    def remove(self, address: str) -> None:
        """Remove a file, if it is there."""
        if self.exists(address):
            with errors_named(address, PictureError):
                self.system.delete_file(self._path(address))

    def remove_leftovers(self, folder: str, label: str) -> None:
        """As :meth:`Storage.remove_leftovers`."""
        for address in self.below(folder):
            if PurePosixPath(address).match(files.temporary_name(label, "*")):
                self.remove(address)
