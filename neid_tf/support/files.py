"""Writing files whole or not at all."""

import contextlib
import os
import secrets
import shutil
from pathlib import Path


def write_whole(path, content):
    """Write bytes under a temporary name beside a path, then rename: it is never half there.

    Args:
        path: the file; its folder is made if need be. One that exists is replaced and keeps its
            permissions; a link is followed.
        content: bytes.

    Raises:
        OSError: if it can't be written; what was there before is then untouched.
    """
    place = Path(os.path.realpath(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(place) as temporary, open(temporary, "xb") as file:
        file.write(content)


def temporary_name(label, unique):
    """Return the name of a file that is being written; the label tells whose it is."""
    return f".neid-{label}{unique}.tmp"


@contextlib.contextmanager
def whole_file(place, label=""):
    """Give a name beside a path to write to, which gets the path's name once all went well."""
    temporary = place.with_name(temporary_name(label, secrets.token_hex(8)))
    try:
        yield temporary
        replace_file(temporary, place)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def replace_file(temporary, place):
    """Give a finished file its name."""
    with open(temporary, "rb+") as file:
        # A full disk may show itself only here.
        os.fsync(file.fileno())
    if place.exists():
        shutil.copymode(place, temporary)
    os.replace(temporary, place)
