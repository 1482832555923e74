"""The errors that tell a user in one line what can't be done, and why."""

import contextlib
import os
from collections.abc import Iterator


class NeidError(ValueError):
    """What was asked for can't be done; the message is the one line that the user sees."""


class UsageError(NeidError):
    """What was asked for does not go together, whatever the files hold."""


class FileError(NeidError):
    """A file that can't be read, written or enhanced.

    Attributes:
        path: the file, as it was given.
        reason: why, in one line; ``str`` of the error is ``PATH: reason``.
    """

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        name = os.fspath(self.path).replace("\n", r"\n").replace("\r", r"\r")
        return " ".join(f"{name}: {self.reason}".splitlines())


def reason_of(error: BaseException) -> str:
    """Return why an operation failed: one line, without the number and file of an OSError.

    Args:
        error: what was raised.

    Returns:
        The system's text where there is one, lower case at its start; else the first 300
        characters of the message; else the name of the error's class.
    """
    if isinstance(error, FileError):
        return error.reason
    if isinstance(error, MemoryError):
        return "not enough memory"
    system = getattr(error, "strerror", None)
    text = " ".join(str(system or error).split())[:300]
    if not text:
        return type(error).__name__
    return text[0].lower() + text[1:] if system else text


@contextlib.contextmanager
def errors_named(path: str | os.PathLike, kind: type[FileError] = FileError) -> Iterator[None]:
    """Turn whatever goes wrong inside into an error that names a file.

    Args:
        path: the file.
        kind: the class of the error. One of this class passes as it is.

    Raises:
        FileError: of this kind.
    """
    try:
        yield
    except kind:
        raise
    except Exception as error:
        raise kind(path, reason_of(error)) from error
