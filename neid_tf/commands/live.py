"""neid live SOURCE [--output=FILE|ADDRESS] [--show] [--weights=NAME|PATH]

Brightens the frames of a camera or a stream as they come, until it is ended (Ctrl-C, SIGTERM).

SOURCE is a camera (/dev/video0) or an address: rtsp://, http://, udp://, rtp://, tcp://, rtmp://.
The newest frame is done first: those that come meanwhile are dropped, and counted. Where the stream
ends or breaks off, it is connected anew, after 1, 2, 4, … and at most 30 seconds; --retries says
how often. FILE is a video (.mp4, .mkv, .mov, .webm), which is there when all is done, with the
frames until then where an error ends it; ADDRESS is what frames are sent to.

  neid live rtsp://camera/stream --show --weights=neid_s
  neid live udp://127.0.0.1:5000 --output=udp://127.0.0.1:5001
  neid live /dev/video0 --output=night.mkv --seconds=60

In the end it says how many frames were enhanced and dropped, and how long they took from their
arrival to their being written or shown; --latencies=FILE gets that of each frame. Sound is left
out.

Needs: {install video}

Exit codes: 0 ended by a signal, --seconds or its window; 1 failed, or no frame came; 2 wrong usage.
"""

import contextlib
import os
import sys
import time

from absl import flags
from tqdm import tqdm

from neid_tf import pictures
from neid_tf.commands import common, enhance, terminal
from neid_tf.support import files
from neid_tf.support.signals import on_signal

_SHOW = flags.DEFINE_bool("show", False, "Show the frames in a window.")
_SECONDS = flags.DEFINE_float(
    "seconds", None, "End after so many seconds. (default: when it is ended)", lower_bound=0.1
)
_RETRIES = flags.DEFINE_integer(
    "retries",
    None,
    "Times in a row that a stream may break off, or can't be reached, before it is given up. "
    "(default: any number)",
    lower_bound=0,
)
_STALL = flags.DEFINE_float(
    "stall", 10.0, "Seconds without a frame after which a stream has broken off.", lower_bound=0.1
)
_LATENCIES = common.define_path(
    "latencies",
    None,
    "File that gets a line of JSON for each enhanced frame: its number among those that arrived, "
    "its time in seconds, and the milliseconds that it waited, was enhanced, written, and in all.",
)
common.declare(__name__, common.MAX_PIXELS, common.OUTPUT, common.OVERWRITE, common.WEIGHTS)
common.declare(__name__, *enhance.FRAMES)


def main(arguments: list[str]) -> int:
    """Enhance a stream until it ends; return the exit code."""
    from neid_tf.video import broadcast, live, stream

    source = _source(arguments)
    stream.check_source(source)
    _check_outputs(source)
    model, options = enhance.for_frames()
    if not (options["scale"] == 1 or model.scale == 2):
        raise flags.ValidationError(
            "this model keeps the size of its input: --scale=2 needs another"
        )
    max_pixels = common.MAX_PIXELS.value or pictures.DEFAULT_MAX_PIXELS
    received = stream.Stream(source, terminal.report, max_pixels, _STALL.value, _RETRIES.value)
    with contextlib.ExitStack() as stack:
        outputs = _outputs(broadcast, source, stack)
        log = stack.enter_context(_Log(received, outputs))
        received.start()
        stack.callback(received.stop)
        stack.enter_context(on_signal(log.end))
        for done in live.Live(model, **options).frames(received, log.stop, log.idle):
            for output in outputs:
                output.write(done.pixels, done.caught.time, done.caught.shape)
            log.note(done)
    return log.close()


def _source(arguments):
    if len(arguments) != 1:
        raise flags.ValidationError("name one camera or address")
    if not (common.OUTPUT.value or _SHOW.value):
        raise flags.ValidationError("say where the frames go: --output=FILE, an address, or --show")
    return common.expanded(arguments[0])


def _check_outputs(source):
    """Refuse outputs that can't be, or must not be, written to."""
    from neid_tf.video import broadcast, stream

    output, written = common.OUTPUT.value, []
    if output:
        broadcast.check_output(output)
        written += [] if stream.scheme_of(output) else [output]
    written += [_LATENCIES.value] if _LATENCIES.value else []
    common.check_outputs(written, [source])


def _outputs(broadcast, source, stack):
    """Return what frames are written to."""
    from neid_tf.video import stream, window

    outputs, output = [], common.OUTPUT.value
    if output:
        if stream.scheme_of(output):
            outputs.append(broadcast.AddressOutput(output, terminal.report))
        else:
            outputs.append(broadcast.FileOutput(output, common.OVERWRITE.value, terminal.report))
    if _SHOW.value:
        outputs.append(window.Window(f"neid live {source}"))
    for made in outputs:
        stack.callback(made.close)
    return outputs


class _Log:
    """What is told of the frames, and what ends them.

    Args:
        stream: that is received.
        outputs: what its frames are written to.
    """

    def __init__(self, stream, outputs) -> None:
        import threading

        from neid_tf.video import live

        self.stream, self.outputs, self.stop = stream, outputs, threading.Event()
        self.latencies, self.frames, self._lines = live.Latencies(), 0, None
        self._begun = self._first = self._last = time.monotonic()
        self._bar = tqdm(unit="frame", disable=not sys.stderr.isatty())

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._bar.close()
        if self._lines:
            self._lines.close()
        if kind and self.frames:
            self._tell_sums()

    def end(self) -> None:
        """Let the frames end. It may be called by a signal, which must not wait for anything."""
        self.stop.set()

    def idle(self) -> None:
        """Look whether it is to end."""
        over = _SECONDS.value and time.monotonic() - self._begun >= _SECONDS.value
        for output in self.outputs:
            getattr(output, "refresh", lambda: None)()
            over = over or getattr(output, "closed", False)
        if over:
            self.end()

    def note(self, done) -> None:
        """Take note of a frame that was written."""
        now, caught = time.monotonic(), done.caught
        self._first = now if not self.frames else self._first
        self.frames, self._last = self.frames + 1, now
        self.latencies.add(now - caught.received)
        self._bar.update()
        self._bar.set_postfix(dropped=self.stream.dropped, ms=self.latencies.share(0.5))
        if _LATENCIES.value:
            row = {"frame": caught.number, "time": round(caught.time, 4)}
            spans = {
                "waited_ms": done.begun - caught.received,
                "enhanced_ms": done.finished - done.begun,
                "written_ms": now - done.finished,
                "latency_ms": now - caught.received,
            }
            row |= {name: round(1e3 * span, 1) for name, span in spans.items()}
            self._write(row)

    def _write(self, row):
        """Write a line; the file is made with the first."""
        if not self._lines:
            os.makedirs(os.path.dirname(os.path.abspath(_LATENCIES.value)), exist_ok=True)
            self._lines = open(_LATENCIES.value, "wb")  # noqa: SIM115
        self._lines.write(files.json_bytes(row))
        self._lines.flush()

    def close(self) -> int:
        """Tell the sums; return the exit code."""
        self._tell_sums()
        if self.stream.error:
            terminal.report(f"live: {self.stream.error}")
        elif not self.frames:
            terminal.report(f"live: {self.stream.source}: no frame came, so nothing was written")
        return 1 if self.stream.error or not self.frames else 0

    def _tell_sums(self):
        stream, span = self.stream, self._last - self._first
        parts = [f"{self.frames} frames enhanced, {stream.dropped} dropped"]
        if span > 0:
            parts.append(f"{(self.frames - 1) / span:.1f} a second")
        unsent = sum(getattr(output, "unsent", 0) for output in self.outputs)
        parts += [f"{unsent} not sent"] * bool(unsent)
        parts += [f"connected {stream.connections} times"] * (stream.connections > 1)
        terminal.show(", ".join(parts))
        if self.frames:
            half, most, all_of_them = (self.latencies.share(part) for part in (0.5, 0.95, 1.0))
            terminal.show(
                f"latency: {half} ms for half of them, {most} ms for 95 %, {all_of_them} ms at most"
            )
