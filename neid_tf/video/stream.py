"""A stream of frames from a camera or a network: the newest one counts, whatever came before."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import re
import stat
import threading
import time
import typing
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from neid_tf.support.errors import reason_of
from neid_tf.support.signals import waiter
from neid_tf.video.coding import Color, Turn, lost_properties, upright
from neid_tf.video.reader import Limit, VideoError, picture_stream, pyav, undamaged

if typing.TYPE_CHECKING:
    import av

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "rtp", "tcp", "srt", "rtmp")
"""The addresses that are streams."""
_ALLOWED = "rtsp,rtsps,http,https,httpproxy,tcp,tls,udp,rtp,srtp,srt,rtmp,crypto,data"
"""The protocols that FFmpeg may use for one: a playlist must not read files of this machine."""
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a stream that broke off is connected anew; each time twice as many."""
_JUMP = 1.0  # Seconds that a stream's clock may be off before it is set anew.
_MILLISECOND = 1e-3


def scheme_of(address: str) -> str:
    """Return the scheme of an address, lower case; empty for a path."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def check_source(source: str) -> None:
    """Refuse what is no stream.

    Args:
        source: an address, or the path of a camera.

    Raises:
        VideoError: where it is neither.
    """
    scheme = scheme_of(source)
    if scheme:
        if scheme not in SCHEMES:
            raise VideoError(source, f"no stream: addresses begin with {'://, '.join(SCHEMES)}://")
        return
    try:
        mode = Path(source).stat().st_mode
    except OSError as error:
        if not source.startswith("/dev/"):  # There, it may be plugged in later.
            raise VideoError(source, f"no camera: {reason_of(error)}") from error
    else:
        if not stat.S_ISCHR(mode):
            raise VideoError(source, "no camera: neid enhance does files")


@dataclasses.dataclass(eq=False)
class Caught:
    """A frame that has arrived.

    Attributes:
        frame: as PyAV gives it.
        number: counts what arrived, from 1.
        received: when it was decoded, by :func:`time.monotonic`.
        time: when it is shown, in seconds since the first one.
        color: how it codes colour.
        turn: how it is turned when it is shown.
        shape: width of a pixel by its height, as it is shown.
    """

    frame: av.VideoFrame
    number: int
    received: float
    time: float
    color: Color
    turn: Turn
    shape: Fraction = Fraction(1)


class Clock:
    """Times of frames, in seconds since the first: the stream's own, as far as they can be so."""

    def __init__(self) -> None:
        self._start, self._offset, self._last = None, None, -_MILLISECOND
        self._stamp = -math.inf

    def __call__(self, stamp: float | None, now: float) -> float:
        """Return the time of a frame; they grow.

        Args:
            stamp: the frame's time in the stream, in seconds from anywhere; or None.
            now: when it came, in seconds.
        """
        self._start = now if self._start is None else self._start
        arrived = now - self._start
        if stamp is None:
            found = arrived
        else:
            off = math.inf if self._offset is None else abs(stamp + self._offset - arrived)
            if off > _JUMP or stamp < self._stamp:
                self._offset = arrived - stamp
            found, self._stamp = stamp + self._offset, stamp
        self._last = max(found, self._last + _MILLISECOND)
        return self._last


class Stream:
    """Receives a stream in a thread of its own, and connects anew where it breaks off.

    Args:
        source: an address of :data:`SCHEMES`, or the path of a camera.
        report: is called with a line on what is unusual.
        max_pixels: the most pixels of a frame; None for no limit.
        timeout: seconds without a frame after which it has broken off.
        retries: times in a row that it may break off before it is given up; None for any number.

    Attributes:
        dropped: frames that gave way to newer ones.
        connections: how often it has been connected.
        error: why it was given up, or None.
    """

    def __init__(
        self,
        source: str,
        report: Callable[[str], None],
        max_pixels: int | None = None,
        timeout: float = 10.0,
        retries: int | None = None,
    ) -> None:
        self.source, self.report, self.timeout, self.retries = source, report, timeout, retries
        self.dropped = self.connections = self._number = 0
        self.error: VideoError | None = None
        self.changed, self._stop = threading.Condition(), threading.Event()
        self._limit, self._newest, self._ended = Limit(source, max_pixels), None, False
        self._clock, self._noted = Clock(), set()
        self._thread = waiter(self._run)

    def start(self) -> None:
        """Begin to receive."""
        pyav(self.source)
        self._thread.start()

    def stop(self) -> None:
        """Receive nothing more."""
        self._stop.set()
        with self.changed:
            self.changed.notify_all()
        self._thread.join(timeout=1.0)  # It may wait for what does not come.

    @property
    def has_frame(self) -> bool:
        """Whether there is one that was not taken yet."""
        return self._newest is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes."""
        return self._ended and not self.has_frame

    def take(self) -> Caught:
        """Return the newest frame; who calls holds ``changed``, and has seen that it is there."""
        caught, self._newest = self._newest, None
        return caught

    def _run(self):
        pause, broken = FIRST_PAUSE, 0
        while not self._stop.is_set():
            before, reason = self._number, "it ended"
            try:
                self._receive()
            except VideoError as error:
                self._give_up(error)
                return
            except Exception as error:
                reason = _reason(error, self.timeout)
                if _is_final(error):
                    self._give_up(VideoError(self.source, reason))
                    return
            if self._stop.is_set():
                return
            if self._number > before:
                pause, broken = FIRST_PAUSE, 0
            broken += 1
            if self.retries is not None and broken > self.retries:
                self._give_up(VideoError(self.source, reason))
                return
            self.report(f"{self.source}: {reason}; again in {pause:g} s")
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _give_up(self, error):
        self.error, self._ended = error, True
        with self.changed:
            self.changed.notify_all()

    def _receive(self):
        """Receive until it breaks off."""
        with contextlib.closing(self._open()) as container:
            stream = picture_stream(container, self.source, self._limit)
            # Frames that are decoded beside each other come later.
            stream.thread_type = "SLICE"
            self.connections += 1
            if container.streams.audio:
                self._tell("its sound is left out")
            turn = size = None
            shape = Fraction(1)
            for packet in container.demux(stream):
                if self._stop.is_set():
                    return
                for frame in self._decoded(packet):
                    if turn is None:
                        turn = upright(frame)
                        shape = stream.sample_aspect_ratio or shape
                        shape = 1 / shape if turn.swapped else shape
                        for note in lost_properties(frame):
                            self._tell(note)
                    before, size = size, (frame.width, frame.height)
                    if before not in (None, size):
                        sizes = "×".join(map(str, before)), "×".join(map(str, size))
                        self._tell(f"its frames change from {sizes[0]} to {sizes[1]}")
                    self._put(frame, Color.of(frame), turn, shape)

    def _decoded(self, packet):
        frames = undamaged(functools.partial(self._limit.decoded, packet))
        if frames is None:  # As where packets were lost on the way.
            self._tell("some of it is damaged, and left out")
            return []
        if any(frame.is_corrupt for frame in frames):
            self._tell("some frames are damaged")
        return frames

    def _put(self, frame, color, turn, shape):
        now = time.monotonic()
        stamp = None if frame.pts is None else float(frame.pts * frame.time_base)
        self._number += 1
        caught = Caught(frame, self._number, now, self._clock(stamp, now), color, turn, shape)
        with self.changed:
            self.dropped += self._newest is not None
            self._newest = caught
            self.changed.notify_all()

    def _tell(self, note):
        """Report something once."""
        if note not in self._noted:
            self._noted.add(note)
            self.report(f"{self.source}: {note}")

    def _open(self):
        import av

        # Or it looks for seconds at how many frames come in one.
        options = {"flags": "low_delay", "fpsprobesize": "0", "analyzeduration": "1000000"}
        options |= self._limit.options
        if not scheme_of(self.source):
            return av.open(self.source, format="v4l2", timeout=self.timeout, options=options)
        if scheme_of(self.source).startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        return av.open(
            self.source,
            timeout=self.timeout,
            options=options,
            container_options={"protocol_whitelist": _ALLOWED},
            metadata_errors="replace",  # Its tags go nowhere.
        )


def _reason(error, timeout):
    """Return why a stream broke off."""
    import av

    return (
        f"nothing came for {timeout:g} s" if isinstance(error, av.ExitError) else reason_of(error)
    )


def _is_final(error):
    """Tell whether another try can't do."""
    import av

    return isinstance(error, (av.ProtocolNotFoundError, ImportError, TypeError))
