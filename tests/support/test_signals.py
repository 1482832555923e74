"""How a process ends while a thread waits inside of native code."""

import subprocess
import sys

import pytest

LEAVES = """
import atexit, sys, time
from neid_tf.commands import terminal
from neid_tf.support import signals
atexit.register(print, "in order")
thread = signals.waiter(lambda: time.sleep(float(sys.argv[1])))
thread.start()
thread.join(0.3)
print("said", end="")
terminal.leave(3)
"""


@pytest.mark.parametrize(("wait", "said"), [("0", "saidin order"), ("600", "said")])
def test_a_thread_that_waits_ends_with_the_process(wait, said):
    """Python's own end would let it go on in a half of a program."""
    command = [sys.executable, "-c", LEAVES, wait]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (3, said, "")
