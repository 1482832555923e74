"""Measure `neid live` on a stream that is sent on the loopback.

    python -m experiments.live --output=experiments/performance/live.json

A dark scene that moves, 600×400 at 30 frames a second in H.264, is sent over TCP by a process of
its own, which takes some of the same cores, and enhanced into a file. Told are the frames a second,
those that were dropped, the latency of each from its arrival to its being written, and the CPU time
of a frame, which a busy machine hardly changes.
"""

import io
import itertools
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.record import command_line, publish
from neid_tf.benchmarks.timing import scene
from neid_tf.commands import common
from neid_tf.support.environment import environment
from neid_tf.support.machine import usable_cores

_SIZE = flags.DEFINE_list("live_size", ["600", "400"], "Width and height, in pixels.")
_RATE = flags.DEFINE_integer("live_rate", 30, "Frames a second that are sent.", lower_bound=1)
_SECONDS = flags.DEFINE_float("live_seconds", 20.0, "Seconds that it runs.", lower_bound=0.1)
flags.declare_key_flag("weights")
_SENDER = "import sys; from experiments import live; live.send(*map(int, sys.argv[1:]))"


def encoded(width: int, height: int, rate: int, count: int) -> list[bytes]:
    """Return a stream, a part for each frame.

    Args:
        width, height: in pixels.
        rate: frames a second.
        count: of frames.
    """
    import av

    pixels, file, ends = scene(height, width), io.BytesIO(), [0]
    with av.open(file, "w", format="mpegts") as output:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(rate)}
        size = {"width": width, "height": height, "pix_fmt": "yuv420p"}
        stream = output.add_stream("libx264", rate=rate, options=options, **size)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.roll(pixels, 4 * number, 1))
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            output.mux(stream.encode(frame))
            ends.append(file.tell())
    data = file.getvalue()
    return [data[a:b] for a, b in itertools.pairwise(ends)]


def send(port: int, width: int, height: int, rate: int, count: int) -> None:
    """Send a stream to who connects.

    Args:
        port: that is listened on.
        width, height, rate, count: as for :func:`encoded`.
    """
    parts = encoded(width, height, rate, count)
    with socket.create_server(("127.0.0.1", port)) as listening:
        print("ready", flush=True)
        connection, begun = listening.accept()[0], time.monotonic()
        for number, part in enumerate(parts):
            try:
                connection.sendall(part)
            except OSError:  # Who received it has ended.
                return
            time.sleep(max(begun + (number + 1) / rate - time.monotonic(), 0.0))


def measure(folder: Path, port: int) -> dict:
    """Return the report, and leave the video in a folder."""
    count = round(_RATE.value * (_SECONDS.value + 10))  # It has to load the network first.
    numbers = [str(number) for number in (port, *_SIZE.value, _RATE.value, count)]
    sender = subprocess.Popen([sys.executable, "-c", _SENDER, *numbers], stdout=subprocess.PIPE)
    sender.stdout.readline()
    command = [sys.executable, "-m", "neid_tf.commands.main", "live", f"tcp://127.0.0.1:{port}"]
    command += [f"--output={folder / 'a.mkv'}", f"--latencies={folder / 'rows'}"]
    command += [f"--seconds={_SECONDS.value}", f"--weights={common.WEIGHTS.value}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    sender.wait()
    rows = [json.loads(line) for line in (folder / "rows").read_text().splitlines()]
    rows = rows[len(rows) // 5 :]  # It has to get going.
    latencies = np.array([row["latency_ms"] for row in rows])
    span = rows[-1]["time"] - rows[0]["time"]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "frames_per_second": (len(rows) - 1) / span,
        "latency_ms": {
            f"p{share}": np.percentile(latencies, share).item() for share in (50, 95, 99)
        },
        "cpu_ms_of_a_frame": 1e3 * cpu / (1.25 * len(rows)),
        "told": printed.splitlines(),
    }


def main(_: list[str]) -> None:
    """Measure, print, write."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), port)
    fields = {"environment": environment() | {"cores_used": usable_cores()}}
    fields |= {"load_average": os.getloadavg(), "weights": common.WEIGHTS.value}
    fields |= {"size": _SIZE.value, "sent_per_second": _RATE.value} | report
    publish(fields | {"command": command_line(__name__, "experiments.live")})


if __name__ == "__main__":
    app.run(main)
