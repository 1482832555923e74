"""The first step of ``neid``: an interruption ends it in one line, from here to its last moment.

Nothing is imported before that is settled: what the program imports takes a while.
"""

import gc
import os
import signal
import sys

INTERRUPTED = 130


def leave(*_: object) -> None:
    """End the process in one line, where there is nothing to tidy up, or no time for it."""
    try:
        print("neid: interrupted", file=sys.stderr, flush=True)
    finally:
        os._exit(INTERRUPTED)


def script() -> None:
    """Run ``neid`` and leave with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    gc.disable()  # Nothing that is loaded now is garbage; main sets it going again.
    try:
        from neid_tf.commands import main

        main.script()
    except KeyboardInterrupt:  # A second one, while the command told of the first.
        leave()
