"""A process that enhances the pictures that it is sent, one after the other.

It ends when its input ends, and so with the front, however that ended.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import sys
import time
import traceback
from typing import Any, BinaryIO

from neid_tf.service import wire
from neid_tf.support import signals

READY = "ready"
COMMAND = (
    "import sys; sys.path[:] = sys.argv[1:]; from neid_tf.service import worker; worker.main()"
)
"""What Python runs, with the folders of modules as arguments."""


def main() -> None:
    """Do what comes in, until nothing comes any more."""
    # A terminal sends these to all of its processes; the front decides when to end.
    for name in signals.NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    commands, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints must not come between the answers.
    given, _ = wire.receive(commands)
    try:
        networks = _Networks(**given)
        networks.load()
    except Exception as error:
        _send(answers, {"failed": str(error) or type(error).__name__})
        return
    _send(answers, {READY: True})
    while (message := wire.receive(commands)) is not None:
        _send(answers, *networks.answer(*message))


def _send(stream: BinaryIO, facts: dict[str, Any], content: bytes = b"") -> None:
    try:
        stream.writelines(wire.packed(facts, content))
        stream.flush()
    except BrokenPipeError:  # The front has ended.
        os._exit(0)


@dataclasses.dataclass
class Memory:
    """The files of one job, in memory; see :class:`neid_tf.jobs.pipeline.Files`.

    Attributes:
        source: the content of what is read.
        target: of what was written.
    """

    source: bytes
    target: bytes = b""

    def check(self, job: Any) -> None:
        """Nothing is there that could be in the way."""

    def read(self, job: Any) -> bytes:
        """Return the content of the source."""
        return self.source

    def write(self, job: Any, data: bytes) -> None:
        """Keep the target."""
        self.target = data


class _Networks:
    """The networks of a worker, each loaded when it is first asked for.

    Args:
        weights: names that clients use, and the names or paths of weights; the default first.
        threads: of the computing.
        max_pixels: the largest picture read.
    """

    def __init__(self, weights: dict[str, str], threads: int, max_pixels: int) -> None:
        for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            os.environ[variable] = str(threads)
        self.weights, self.threads, self.max_pixels = weights, threads, max_pixels
        self.network = functools.cache(self._network)

    def load(self) -> None:
        """Load the default network."""
        self.network(next(iter(self.weights)))

    def _network(self, name):
        from neid_tf.inference import methods, tiles
        from neid_tf.inference.network import NetworkError

        try:
            network = methods.load_network(self.weights[name], "auto", self.threads)
        except Exception as error:  # No fault of the picture, whatever kind it is.
            raise NetworkError(str(error) or type(error).__name__) from error
        for note in network.notes:
            print(f"neid: {note}", file=sys.stderr)
        return tiles.in_tiles(network)

    def answer(self, facts: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Enhance a picture; whatever goes wrong is a part of the answer.

        Args:
            facts: the fields of :class:`neid_tf.service.settings.Settings`.
            content: the picture's file.
        """
        from neid_tf import pictures

        begun, files = time.monotonic(), Memory(content)
        try:
            notes = self._enhance(facts, files)
        except Exception as error:
            return _failure(error, facts["scale"]), b""
        fields = {"status": 200, "notes": notes, "seconds": time.monotonic() - begun}
        return fields | {"pixels": pictures.count_pixels(content)}, files.target

    def _enhance(self, facts, files):
        from neid_tf.inference.enhance import Enhancement
        from neid_tf.jobs import pipeline
        from neid_tf.jobs.plan import Job

        steps = Enhancement(self.network(facts["weights"]), facts["scale"], facts["strength"])
        job = Job("the picture", f"result{facts['suffix']}")
        coding = pipeline.Coding(unpack=facts["unpack"])
        # Of the result too. One thread, so that the network is the one that has the threads.
        most = self.max_pixels // facts["scale"] ** 2
        [outcome] = pipeline.enhance_files([job], steps, files, most, 1, coding)
        if outcome.error:
            raise outcome.error
        return outcome.notes


def _failure(error: Exception, scale: int) -> dict[str, Any]:
    """Return the answer that tells of an error: whose fault it is, and what it was.

    Args:
        error: what was raised.
        scale: how many times larger the result was to be.
    """
    from neid_tf.inference.network import NetworkError
    from neid_tf.pictures.budget import TooLargeError
    from neid_tf.support.errors import NeidError, reason_of

    causes, cause = [], error
    while cause is not None and cause not in causes:  # Some are raised from themselves.
        causes.append(cause)
        cause = cause.__cause__
    reason = reason_of(error)

    def has(*kinds):
        return any(isinstance(cause, kinds) for cause in causes)

    if has(TooLargeError):
        quarter = ", which is a quarter of the service's, since the result counts"
        return {"status": 413, "error": reason + quarter * (scale == 2)}
    if has(MemoryError):
        return {"status": 503, "error": "not enough memory for this picture now"}
    if has(NetworkError) or not has(NeidError):
        trace = "".join(traceback.format_exception(error))
        return {"status": 500, "error": "the picture could not be enhanced", "traceback": trace}
    return {"status": 422, "error": reason}
