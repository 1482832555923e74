"""What the program says, and how it ends: streams of any encoding, names of any bytes, signals."""

import codecs
import collections
import contextlib
import errno
import faulthandler
import functools
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from neid_tf.commands import start
from neid_tf.support.errors import NeidError, reason_of
from neid_tf.support.machine import WINDOWS
from neid_tf.support.signals import any_waits

_ASCII = {"×": "x", "÷": "/", "…": "...", "–": "-", "—": "-", "→": "->", "²": "2", "’": "'"}
_LEFT_TO_RIGHT = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_ENDINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
if hasattr(signal, "SIGHUP"):
    _ENDINGS[signal.SIGHUP] = "terminated, since its terminal was closed"
_UNTIDY = (signal.SIG_DFL, signal.default_int_handler, start.leave)


def printable(text: str) -> str:
    """Return a text that changes nothing on a terminal but what is read there.

    Control characters and the bytes of a file name that is no text are written as escapes; line
    ends stay.
    """
    return "".join(c if c == "\n" or not _is_control(c) else _escaped(c) for c in text)


def _is_control(character: str) -> bool:
    if character.isascii():
        return not character.isprintable()
    controls = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return controls or character in _LEFT_TO_RIGHT


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # A byte that Python could not decode.
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Encode what a stream's encoding lacks: in ASCII letters, or as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(c) or _escaped(c) for c in lacking), error.end


codecs.register_error("neid", _replaced)


def prepare_streams() -> None:
    """Let stdout and stderr take any text: in any encoding, and where they are closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        with contextlib.suppress(AttributeError, ValueError, OSError):
            getattr(sys, name).reconfigure(errors="neid")


def drop_native_output() -> None:
    """Drop what native code writes to stderr past Python; what Python writes there still comes.

    Decoders and runtimes tell there of files they find strange, and of how they compute. What
    matters comes as an error; should native code end the process, the traceback is shown.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        ours = os.dup(2)
        stream = os.fdopen(ours, "w", encoding=sys.stderr.encoding, errors="neid", buffering=1)
        sys.stderr = stream
        faulthandler.enable(sys.stderr)
        _point_to_nowhere(2)


def nobody_reads(error: BaseException) -> bool:
    """Tell whether an error says that what reads our output has ended; Windows has another."""
    if not isinstance(error, OSError) or error.filename is not None:
        return False
    return isinstance(error, BrokenPipeError) or (WINDOWS and error.errno == errno.EINVAL)


def show(text: str) -> None:
    """Print on stdout; that nobody reads on (``… | head``) is no error.

    Raises:
        NeidError: where it can't be written, such as to a full disk.
    """
    with _printing():
        print(printable(text), flush=True)


def report(message: str) -> None:
    """Name on stderr what went wrong, or what was left out; above a progress bar if one is shown.

    Where it can't be written, what is to be done is done all the same.

    Args:
        message: what goes behind the program's name.
    """
    line = f"neid: {printable(message)}"
    try:
        if bars := getattr(sys.modules.get("tqdm"), "tqdm", None):
            bars.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)
    except OSError:
        _point_to_nowhere(sys.stderr.fileno())  # As in _printing.


def with_notes_shown(function: Any) -> Any:
    """Return a network, or what enhances with one, when the notes on how it runs are reported."""
    for note in getattr(getattr(function, "model", function), "notes", ()):
        report_once(note)
    return function


report_once = functools.cache(report)
"""As :func:`report`, but each message only once."""


def progress(
    results: Iterable[Any], total: int, shown: bool = True
) -> contextlib.AbstractContextManager[Iterable[Any]]:
    """Return the results of pictures under a progress bar; without one where nobody sees it.

    Args:
        results: one for each picture.
        total: how many.
        shown: whether a terminal shows it.
    """
    if not (shown and sys.stderr.isatty()):
        return contextlib.nullcontext(results)
    from tqdm import tqdm  # It takes a while to load.

    return tqdm(results, total=total, unit="picture")


def report_passed_over(root: str, files: Collection[Path]) -> None:
    """Say in one line which kinds of files of a folder are left out; nothing where there are none.

    Args:
        root: the folder.
        files: those that are left out.
    """
    if files:
        from neid_tf.data.pairs import folders
        from neid_tf.jobs.found import kind_of, listing

        looked_into = folders(root)
        elsewhere = {Path(root): "beside low and high"}
        kinds = (
            kind_of(file) if file.parent in looked_into
            else elsewhere.get(file.parent, "in further folders")
            for file in files
        )  # fmt: skip
        counted = listing(collections.Counter(kinds))
        report(f"{root}: {len(files)} file{'s' * (len(files) > 1)} left out: {counted}")


def leave(code: int) -> NoReturn:
    """End the process with an exit code, when all is done.

    Args:
        code: of the command.
    """
    if any_waits():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def flush() -> None:
    """Write what is still to be written; as :func:`show`."""
    with _printing():
        sys.stdout.flush()


@contextlib.contextmanager
def _printing():
    try:
        yield
    except OSError as error:
        # Python writes what is left once more when it ends.
        _point_to_nowhere(sys.stdout.fileno())
        if not nobody_reads(error):
            raise NeidError(f"standard output: {reason_of(error)}") from error


def _point_to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class Received:
    """The signal that ended a command, if any; true if there was one."""

    def __init__(self) -> None:
        self.number = signal.SIGINT
        self._any = False

    def note(self, number: int, _: object) -> None:
        """Take a signal, so that all is tidied up.

        Args:
            number: the signal.
            _: the frame that it came in.

        Raises:
            KeyboardInterrupt: always; the main thread takes signals.
        """
        self.number, self._any = signal.Signals(number), True
        if number != signal.SIGINT:
            # Whoever tells it twice does not keep it from tidying up.
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    def __bool__(self) -> bool:
        return self._any


def ending(received: Received) -> str:
    """Return the word for how a signal ended the command."""
    return _ENDINGS[received.number]


@contextlib.contextmanager
def ended_by_signals() -> Iterator[Received]:
    """Let an interruption and a termination end what is inside by a KeyboardInterrupt.

    A signal that is ignored, as in a shell's background, stays ignored.

    Yields:
        :class:`Received`.
    """
    received, before = Received(), {}
    if threading.current_thread() is threading.main_thread():
        for number in _ENDINGS:
            if signal.getsignal(number) in _UNTIDY:
                before[number] = signal.signal(number, received.note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
