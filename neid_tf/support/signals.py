"""Programs that run until they are told to end, and threads that end with them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""The signals that tell a program to end, where the system has them."""
_WAITER = "neid-waits"


@contextlib.contextmanager
def on_signal(call: Callable[[], None]) -> Iterator[None]:
    """Let a signal to end call a function; a second interruption ends what is inside at once.

    A signal that is ignored, as in a shell's background, stays ignored. Outside of the main
    thread, which takes signals, nothing is changed.

    Args:
        call: a function that returns at once; it may be called again.

    Raises:
        KeyboardInterrupt: at the second interruption.
    """
    received, before = False, {}

    def note(number, frame):
        nonlocal received
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received = True
        call()

    for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
        with contextlib.suppress(ValueError):  # Not the main thread.
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def waiter(function: Callable[[], None]) -> threading.Thread:
    """Return a thread for what may wait inside of native code when the program ends.

    It would not survive the end of Python: see :func:`any_waits`.

    Args:
        function: that it is to call.
    """
    return threading.Thread(target=function, name=_WAITER, daemon=True)


def any_waits() -> bool:
    """Tell whether there is a thread that the process has to be ended with at once."""
    return any(thread.name == _WAITER for thread in threading.enumerate())
