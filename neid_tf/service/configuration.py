"""What a service is given when it starts."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from neid_tf.models import presets, pretrained
from neid_tf.pictures import SERVED_MAX_PIXELS
from neid_tf.support.errors import UsageError

MEBIBYTE = 2**20
KEYS_VARIABLE = "NEID_API_KEYS"
"""The environment variable that may hold the keys, separated by commas or spaces."""
SHORTEST_KEY = 16
"""The least characters of a key."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What a service is given when it starts; it can be sent to other processes.

    Attributes:
        weights: what clients may name, and the name or path of the weights; the default first.
        workers: processes that compute, each with a copy of the network.
        threads: of each of them.
        max_queue: pictures that may wait for one of them.
        max_bytes: the largest body taken.
        max_pixels: the largest picture read.
        timeout: seconds that a request may take, from its first byte to its result.
        keys: of the clients, as :func:`digest` gives them; without any, all are served.
        names: that the service may be asked for, where it has no keys, beside this machine's.
    """

    weights: Mapping[str, str] = dataclasses.field(default_factory=lambda: offered("neid"))
    workers: int = 1
    threads: int = 1
    max_queue: int = 64
    max_bytes: int = 64 * MEBIBYTE
    max_pixels: int = SERVED_MAX_PIXELS
    timeout: float = 60.0
    keys: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()

    @property
    def default(self) -> str:
        """The name of the weights that are taken where a client names none."""
        return next(iter(self.weights))

    def knows(self, key: str) -> bool:
        """Tell whether a client's key is one of ours, in a time that tells nothing of them."""
        given = digest(key)
        return any([hmac.compare_digest(given, known) for known in self.keys])


def offered(weights: str) -> dict[str, str]:
    """Return the weights that clients may name: the given ones, then the package's.

    Args:
        weights: name or path; of a path, clients see the file's name without its suffix.
    """
    own, name = {name: name for name in pretrained.names()}, presets.current(weights)
    name = name if name in own else PurePath(name).stem
    return {name: weights} | {other: where for other, where in own.items() if other != name}


def digest(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: str | os.PathLike) -> frozenset[str]:
    """Return the digests of the keys in a file, one a line; lines that begin with # are comments.

    Raises:
        OSError: where it can't be read.
        UsageError: where it holds no key, or one that is too short or no plain text.
    """
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.strip() for line in file]
    return _checked((line for line in lines if line and not line.startswith("#")), str(path))


def keys_of_environment() -> frozenset[str]:
    """Return the digests of the keys in :data:`KEYS_VARIABLE`; none where it is not set.

    Raises:
        UsageError: as :func:`read_keys`.
    """
    text = os.environ.get(KEYS_VARIABLE)
    return frozenset() if text is None else _checked(text.replace(",", " ").split(), KEYS_VARIABLE)


def _checked(keys: Iterable[str], where: str) -> frozenset[str]:
    keys = list(keys)
    if not keys:
        raise UsageError(f"{where}: there is no key in it")
    for key in keys:
        if len(key) < SHORTEST_KEY or not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError(
                f"{where}: a key has {SHORTEST_KEY} ASCII characters at least, and no spaces"
            )
    return frozenset(map(digest, keys))
