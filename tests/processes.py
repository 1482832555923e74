"""Processes for tests that train: forked from one in which TensorFlow is loaded already.

Each is what a fresh one would be, without the seconds that loading takes each time.
"""

import contextlib
import multiprocessing
import os
import sys
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tensorflow", "neid_tf.commands.train", "neid_tf.training.train"])


class Forked:
    """A process that calls a function, with its output in a file."""

    def __init__(self, output, function, *arguments, **environment):
        """Start it.

        Args:
            output: the file for all that is printed.
            function: of a module, called with ``arguments``; what it returns is the exit status.
            environment: what is set beside what is set here.
        """
        self._output = Path(output)
        self._process = _FORKS.Process(
            target=_call, args=(self._output, function, arguments, environment), daemon=True
        )
        self._process.start()

    def output(self):
        return self._output.read_text("utf-8", "replace") if self._output.exists() else ""

    def wait(self, timeout=400):
        """Return its exit status, negative where a signal ended it."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running:\n{self.output()}"
        return self._process.exitcode

    def finish(self):
        """Wait for its end, which is to be a good one, and return its output."""
        assert self.wait() == 0, self.output()
        return self.output()

    def is_running(self):
        return self._process.is_alive()

    def kill(self):
        """End it at once, as ``kill -9`` does."""
        self._process.kill()


def _call(output, function, arguments, environment):
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    with contextlib.redirect_stdout(sys.__stdout__), contextlib.redirect_stderr(sys.__stderr__):
        status = function(*arguments)
    sys.exit(status)


def neid(*arguments):
    """Run the command as its script does."""
    from neid_tf.commands import main

    return main.main(["neid", *arguments])


def neid_on_two_devices(*arguments):
    """Run the command on a machine with two devices."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return neid(*arguments)
