"""Weights files: a ``.npz`` of named arrays, with the description of the model as its header.

The file is one of strangers: what it says of itself is checked against its size before anything
of that size is allocated, and nothing in it is ever run.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import struct
import tokenize
import typing
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from neid_tf.models.config import config_of
from neid_tf.support import files
from neid_tf.support.errors import FileError, reason_of

if typing.TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FORMAT = 2
"""Arrays are stored by ``layer/variable``; in format 1, by their place, as ``w0``, ``w1``, ...."""
MOST_NUMBERS = 2**28
"""The most parameters that a file is read of; the paper's network has 53 million."""

_HEADER = "header"
_LARGEST_HEADER = 2**22  # Bytes.
_LARGEST_GROWTH, _SMALL = 64, 2**24  # Weights hardly shrink when packed; zeros do so, and bombs.
_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, RuntimeError),
    *(OverflowError, SyntaxError, struct.error, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error),
)


class WeightsError(FileError):
    """A weights file that is missing, damaged or not one of ours; the message names it."""


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], header: Mapping) -> None:
    """Write a weights file, whole or not at all.

    Args:
        path: the file; what is there is replaced.
        arrays: by ``layer/variable`` name.
        header: what JSON can hold; see :class:`WeightsFile`.

    Raises:
        WeightsError: where an array holds what is not finite; nothing is written then.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(path, f"not written: {name} is not finite as {array.dtype}")
    buffer = io.BytesIO()
    text = json.dumps({"format": FORMAT} | dict(header))
    np.savez_compressed(buffer, **{_HEADER: np.array(text)}, **arrays)
    files.write_whole(path, buffer.getvalue())


def _opened(file: typing.BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        # Else it may be an export, which runs and does not train.
        raise ValueError(f"it is no .npz file, as training writes them ({error})") from error


class WeightsFile:
    """An open weights file whose header is sound.

    Args:
        path: the file, a ``Path`` or what else can be opened as one.

    Attributes:
        header: ``format``, ``name``, ``part``, ``config`` (the fields of ``config``) and ``card``.
        config: the :class:`neid_tf.models.ModelConfig`, or a rival's ``RivalConfig``.
    """

    def __init__(self, path: Traversable) -> None:
        self.path = path
        with damage_named(path), contextlib.ExitStack() as stack:
            self._file = stack.enter_context(path.open("rb"))
            self._zip = stack.enter_context(_opened(self._file))
            self._members = {info.filename: info for info in self._zip.infolist()}
            self.header = self._read_header()
            self.config = config_of(self.header["config"])
            self._stack = stack.pop_all()

    def __enter__(self) -> WeightsFile:
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def check_size(self) -> None:
        """Refuse a file that cannot hold the model that it describes, before one is made.

        Raises:
            WeightsError: where it holds too few numbers, or more than is sensible.
        """
        with damage_named(self.path):
            sizes = [self._described(name)[2] for name in self._members if name != _npy(_HEADER)]
            total, packed = sum(sizes), sum(info.compress_size for info in self._members.values())
            if total > MOST_NUMBERS:
                raise ValueError(f"{total} parameters, over the limit of {MOST_NUMBERS}")
            if total > _SMALL and total > _LARGEST_GROWTH * packed:
                raise ValueError("its arrays are far larger than any weights of its size")
            needed = self.config.least_parameters
            if total < needed:
                raise ValueError(f"its model has at least {needed} parameters, the file {total}")

    def arrays(self, shapes: Mapping[str, tuple]) -> dict[str, np.ndarray]:
        """Return arrays by name, as float32.

        Args:
            shapes: the names and shapes of all arrays that the model has. In a file of format 1,
                the order counts.

        Raises:
            WeightsError: where one is missing, of another shape or type, or not finite; or where
                there is one more.
        """
        with damage_named(self.path):
            stored = list(shapes)
            if self.header["format"] == 1:
                stored = [f"w{index}" for index in range(len(shapes))]
            self._check_names(stored)
            return {
                name: self._array(_npy(inside), shapes[name])
                for name, inside in zip(shapes, stored, strict=True)
            }

    def names(self) -> set[str]:
        """Return the names of the arrays in the file."""
        return {name.removesuffix(".npy") for name in self._members} - {_HEADER}

    def _check_names(self, wanted):
        missing, further = set(wanted) - self.names(), self.names() - set(wanted)
        for what, found in (("misses", missing), ("has, beside the model's,", further)):
            if found:
                raise ValueError(f"it {what} {len(found)} arrays, such as {min(found)!r}")

    def _read_header(self):
        info = self._member(_npy(_HEADER))
        if info.file_size > _LARGEST_HEADER:
            raise ValueError(f"a header of {info.file_size} bytes")
        with self._zip.open(info) as file:
            # All that the header's array may claim is there already.
            content = file.read(_LARGEST_HEADER)
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        if array.shape or array.dtype.kind != "U":
            raise ValueError("its header is no text")
        return _checked(json.loads(str(array)))

    def _member(self, name):
        info = self._members.get(name)
        if info is None:
            raise ValueError(f"it holds no {name.removesuffix('.npy')!r}")
        if info.flag_bits & 1:
            raise ValueError("it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is packed in a way that NumPy does not use")
        return info

    def _described(self, name):
        """Return shape, type and count of an array, and where it begins in its member."""
        info = self._member(name)
        with self._zip.open(info) as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
            begin = file.tell()
        count = math.prod(shape)
        if min(shape, default=0) < 0 or dtype.kind != "f" or dtype.itemsize > 8:
            raise ValueError(f"{name}: an array of {dtype}, {shape}")
        if info.file_size != begin + count * dtype.itemsize:
            raise ValueError(f"{name}: {info.file_size} bytes for {count} numbers of {dtype}")
        return shape, dtype, count

    def _array(self, name, shape):
        found, _, _ = self._described(name)
        if tuple(found) != tuple(shape):
            raise ValueError(f"{name}: shape {tuple(found)}, the model has {tuple(shape)}")
        with self._zip.open(self._member(name)) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: not finite")
        return array.astype(np.float32)


def _npy(name):
    return f"{name}.npy"


def _checked(header):
    """Return a header whose fields are there, and of their types."""
    if not isinstance(header, dict):
        raise ValueError(f"its header is a {type(header).__name__}")
    if header.get("format") not in (1, FORMAT):
        raise ValueError(f"weights format {header.get('format')!r}, expected 1 or {FORMAT}")
    for name, kind in {"name": str, "part": str, "config": dict, "card": dict}.items():
        if not isinstance(header.get(name), kind):
            raise ValueError(f"its header has no sound {name!r}")
    return header


@contextlib.contextmanager
def damage_named(path: str | os.PathLike) -> Iterator[None]:
    """Turn what a damaged file leads to into a :class:`WeightsError` that names it."""
    try:
        yield
    except WeightsError:
        raise
    except _DAMAGE as error:
        raise WeightsError(path, f"not a readable weights file: {reason_of(error)}") from error
