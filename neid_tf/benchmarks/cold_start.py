"""From a cold start: ``neid enhance`` of one picture in a new process, in each runtime."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neid_tf import pictures
from neid_tf.benchmarks.timing import ratios, scene, spread

_PAUSE = 0.004  # seconds between two looks for the picture, which take time themselves
_PROGRAM = "from neid_tf.commands.start import script; script()"  # As the command's own file.
HELP = "--help"
"""The name of ``neid --help`` beside the runtimes."""


def measured(found: Mapping[str, str], height: int, width: int, runs: int) -> dict[str, Any]:
    """Time ``neid enhance`` of one JPEG, from the start of the process on.

    Args:
        found: what :func:`neid_tf.benchmarks.runtimes.exports` gave.
        height: of the picture, in pixels.
        width: likewise.
        runs: counted turns.

    Returns:
        Dictionary with the wall ``seconds`` of each runtime to the end of the process, and of
        ``neid --help`` as ``--help``; those ``to_the_picture``, until it has its name; the
        ``cpu_seconds`` of the whole process, where the system tells them; and the ratios
        ``to_tensorflow``, or to the first runtime, the ``reference``, where that is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "dark.jpg", Path(folder) / "bright.jpg"
        pictures.write(source, pictures.Picture(scene(height, width)))
        options = ["enhance", str(source), f"--output={target}"]
        calls = {
            name: [*options, f"--runtime={name}", f"--weights={weights}"]
            for name, weights in found.items()
        }
        calls[HELP] = [HELP]
        # Once before, so that files are read from the disk's cache.
        turns = [
            {name: run_once(arguments, target) for name, arguments in calls.items()}
            for _ in range(runs + min(runs - 1, 1))
        ][-runs:]
    report, first = _spreads(turns), next(iter(calls))
    seconds = {name: [turn[name]["seconds"] for turn in turns] for name in calls}
    return report | {
        "picture": [height, width, 3],
        "reference": first,
        "to_tensorflow": {name: ratios(values, seconds[first]) for name, values in seconds.items()},
    }


def _spreads(turns):
    """Return minimum, median and maximum of each measure of each program."""
    report = {}
    for name, measures in turns[0].items():
        for measure, value in measures.items():
            if value is not None:
                values = [turn[name][measure] for turn in turns]
                report.setdefault(measure, {})[name] = spread(values)
    return report


def run_once(arguments: Sequence[str], target: Path) -> dict[str, float | None]:
    """Run ``neid`` in a new process.

    Args:
        arguments: of the command.
        target: the file that it writes, which is removed before.

    Returns:
        Its ``seconds``; those ``to_the_picture``, until the target is there, or None; and its
        ``cpu_seconds``, or None where the system does not tell them.

    Raises:
        subprocess.CalledProcessError: where it fails.
    """
    target.unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if k != "TF_NUM_INTRAOP_THREADS"}
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    before, started, written = _cpu_seconds(), time.perf_counter(), None
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        while process.poll() is None:
            if written is None and target.exists():
                written = time.perf_counter() - started
            time.sleep(_PAUSE)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    if written is None and target.exists():
        written = seconds
    cpu = None if before is None else _cpu_seconds() - before
    return {"seconds": seconds, "to_the_picture": written, "cpu_seconds": cpu}


def _cpu_seconds():
    """Return the processor time of the processes that have ended; None where nothing tells it."""
    with contextlib.suppress(ImportError):
        import resource

        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
    return None
