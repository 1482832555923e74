"""Files of this machine, and of the file systems that pyarrow knows: s3://, gs://, hdfs://, ….

An address is ``scheme://bucket/path``; options of the file system may follow it, such as
``?region=eu-west-1`` or ``?endpoint_override=localhost:9000&scheme=http``, as pyarrow has it.
"""

import contextlib
import dataclasses
import glob
import os
import posixpath
import re
import secrets
from pathlib import Path, PurePosixPath

from neid_tf import pictures, video
from neid_tf.jobs import plan as folders
from neid_tf.pictures import PictureError
from neid_tf.support import files
from neid_tf.support.errors import NeidError, UsageError

_ADDRESS = re.compile(r"([A-Za-z][\w+.-]+)://([^/?]*)/?(.*?)(\?[a-z_]+=.*)?$")


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture: the names to read and write, and which of the places to read it from."""

    source: str
    target: str
    place: int = 0


class AlreadyThere(PictureError):
    """What was to be written exists."""


def is_address(path):
    """Tell whether a path is an address of another file system."""
    return _ADDRESS.match(str(path)) is not None


def without_options(address):
    """Return an address, without slashes at its end, and without the options after it."""
    scheme, host, path, _ = _ADDRESS.match(address).groups()
    return f"{scheme}://{host}/{path}".rstrip("/")


def inside(folder, name):
    """Return the path or address of a file in a folder."""
    return posixpath.join(without_options(folder) if is_address(folder) else folder, name)


def place_of(path):
    """Return the :class:`Here` or :class:`There` that a path or an address belongs to.

    Raises:
        ValueError: naming an address whose file system cannot be used.
    """
    return There(str(path)) if is_address(path) else Here()


class Here:
    """This machine's file system, and what is mounted into it."""

    def read(self, path):
        """Return a picture file's content."""
        return pictures.content(path)

    def exists(self, path):
        """Tell whether there is anything under this name."""
        return os.path.exists(path)

    def write(self, path, data, label=""):
        """Write a file whole or not at all; the label is in the temporary name."""
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        except OSError as error:
            raise PictureError(path, f"no folder for it: {error.strerror}") from error
        pictures.write_content(path, data, label)

    def remove(self, path):
        """Remove a file, if it is there."""
        Path(path).unlink(missing_ok=True)

    def remove_leftovers(self, folder, label):
        """Remove the temporary files that a killed process left below a folder."""
        for path in Path(folder).rglob(files.temporary_name(label, "*")):
            path.unlink(missing_ok=True)


class There:
    """A file system of pyarrow's. It can be sent to other processes.

    Args:
        address: any address in it, with the options that all of them need.
    """

    def __init__(self, address):
        from pyarrow import fs

        scheme, host, _, options = _ADDRESS.match(address).groups()
        self.prefix = f"{scheme}://{host}/"
        try:
            self.system, self.root = fs.FileSystem.from_uri(self.prefix + (options or ""))
        except (OSError, ValueError) as error:
            raise NeidError(f"{address}: {_reason(error)}") from error

    def _path(self, address):
        return posixpath.join(self.root, without_options(address).removeprefix(self.prefix))

    def _address(self, path):
        return self.prefix + posixpath.relpath(path, self.root or "/")

    @staticmethod
    def key(address):
        """Return what tells file systems apart: an address without its path."""
        scheme, host, _, options = _ADDRESS.match(address).groups()
        return scheme, host, options

    def expand(self, item, failures):
        """As :func:`neid_tf.jobs.plan.expand`."""
        import fsspec.utils

        name = without_options(item).removesuffix("/**")
        if glob.has_magic(name):
            fixed = name[: re.search(r"[*?[]", name).start()].rpartition("/")[0]
            pattern = re.compile(fsspec.utils.glob_translate(name))
            found = [address for address in self.find(fixed) if pattern.match(address)]
            if not found:
                failures.append((item, "nothing matches this pattern"))
            return [(address, PurePosixPath(PurePosixPath(address).name)) for address in found]
        if self.is_file(name):
            return [(name, PurePosixPath(PurePosixPath(name).name))]
        below = [(a, PurePosixPath(a.removeprefix(name + "/"))) for a in self.find(name)]
        known = [(address, path) for address, path in below if folders.is_known(path)]
        if not known:
            failures.append((item, "no such file, or no pictures in this folder"))
        return known

    def find(self, folder):
        """Return the addresses of the files below a folder, sorted; none if there is no such."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        with _errors_of(folder):
            found = self.system.get_file_info(selector)
        return sorted(self._address(info.path) for info in found if info.is_file)

    def is_file(self, address):
        """Tell whether this is the address of a file."""
        return self._info(address).is_file

    def _info(self, address):
        with _errors_of(address):
            [info] = self.system.get_file_info([self._path(address)])
        return info

    def read(self, address):
        """Return a file's content."""
        with (
            _errors_of(address),
            self.system.open_input_stream(self._path(address), compression=None) as file,
        ):
            return file.read()

    def exists(self, address):
        """Tell whether there is anything under this address."""
        from pyarrow import fs

        return self._info(address).type != fs.FileType.NotFound

    def write(self, address, data, label=""):
        """Write a file whole or not at all; the label is in the temporary name."""
        path = self._path(address)
        temporary = posixpath.join(
            posixpath.dirname(path), files.temporary_name(label, secrets.token_hex(8))
        )
        with _errors_of(address):
            try:
                self._put(temporary, data)
                self.system.move(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.system.delete_file(temporary)
                raise

    def _put(self, path, data):
        try:
            file = self.system.open_output_stream(path, compression=None)
        except FileNotFoundError:
            # Where folders are more than a part of the name.
            self.system.create_dir(posixpath.dirname(path), recursive=True)
            file = self.system.open_output_stream(path, compression=None)
        with file:
            file.write(data)

    def remove(self, address):
        """Remove a file, if it is there."""
        if self.exists(address):
            with _errors_of(address):
                self.system.delete_file(self._path(address))

    def remove_leftovers(self, folder, label):
        """Remove the temporary files that a killed process left below a folder."""
        for address in self.find(folder):
            if PurePosixPath(address).match(files.temporary_name(label, "*")):
                self.remove(address)


@contextlib.contextmanager
def _errors_of(address):
    try:
        yield
    except OSError as error:
        raise PictureError(address, _reason(error)) from error


def _reason(error):
    return " ".join((getattr(error, "strerror", None) or str(error)).split())[:200]


@dataclasses.dataclass(frozen=True)
class Transfer:
    """From some places to another, for :func:`neid_tf.jobs.pipeline.enhance_files`.

    Attributes:
        sources: the places that a job's ``place`` counts.
        target: the place of what is written.
        overwrite: whether files that exist are replaced.
        label: in the names of temporary files, so that leftovers can be found.
    """

    sources: tuple
    target: object
    overwrite: bool = False
    label: str = ""

    def check(self, job):
        """Raise a PictureError where the output must not be written."""
        if os.path.realpath(job.source) == os.path.realpath(job.target):
            raise PictureError(job.target, "the output is the input itself")
        if not self.overwrite and self.target.exists(job.target):
            raise AlreadyThere(job.target, "is there already; --overwrite replaces it")

    def read(self, job):
        """Return the content of the source."""
        return self.sources[job.place].read(job.source)

    def write(self, job, data):
        """Write the target, whole or not at all."""
        self.target.write(job.target, data, self.label)


def plan(inputs, output, suffix=""):
    """Decide what is read and written, as :func:`neid_tf.jobs.plan.plan` does, anywhere.

    Args:
        inputs: files, folders (``FOLDER/**`` means the same) and globs: paths and addresses.
        output: a folder.
        suffix: text put behind each name, before its extension.

    Returns:
        The list of jobs, the tuple of places that they count, and a list of (input, reason) for
        those that can't be done.

    Raises:
        UsageError: where the output is no folder.
        ValueError: naming an address whose file system cannot be used.
    """
    if PurePosixPath(inside(output, "")).suffix.lower() in folders.SUFFIXES and not os.path.isdir(
        output
    ):
        raise UsageError(f"{output} is one file: with Ray, name a folder")
    found, failures, places = [], [], {}
    for item in map(str, inputs):
        key = There.key(item) if is_address(item) else None
        place = places.get(key) or places.setdefault(key, place_of(item))
        number = list(places).index(key)
        expanded = folders.expand(item, failures) if key is None else place.expand(item, failures)
        found += [(str(source), name, number) for source, name in expanded]
    jobs = []
    for source, name, number in found:
        if name.suffix.lower() in video.SUFFIXES:
            failures.append((source, "is a video: those are done without Ray"))
        else:
            target = inside(output, folders.target_name(name, suffix).as_posix())
            jobs.append(Job(source, target, number))
    return folders.without_collisions(jobs, failures), tuple(places.values()), failures
