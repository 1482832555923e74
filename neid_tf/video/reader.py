"""Reading a video file: its frames, and the packets of sound and text beside them."""

import contextlib
import dataclasses
import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from neid_tf.support.errors import FileError, errors_named
from neid_tf.support.libraries import install_extra
from neid_tf.video.frames import Frame

ACCURATE = 0x4 | 0x2000 | 0x4000 | 0x40000
"""Bicubic, full chroma, accurate rounding: what swscale does by default darkens by a level."""
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""The colour matrices of ISO/IEC 23091-2 that swscale knows, in its own numbers."""

_BT709, _BT601, _UNSPECIFIED = 1, 6, 2
_LIMITED_RANGE, _FULL_RANGE, _HDR_CURVES = 1, 2, (16, 18)
_COVER, _NO_ZERO = 0x400, 0x200  # AV_DISPOSITION_ATTACHED_PIC, AVFMT_TS_DISCONT


class VideoError(FileError):
    """A video that cannot be read or written; names it, and says why in one line."""


def errors_of(path):
    """Turn what goes wrong in PyAV or the file system into a VideoError that names the path."""
    return errors_named(path, VideoError)


@dataclasses.dataclass(frozen=True)
class Color:
    """How a video codes colour, in the numbers of ISO/IEC 23091-2.

    ``matrix`` is the one to compute with; ``tag`` the one to write, which may be "unspecified".
    """

    matrix: int
    tag: int
    range: int
    primaries: int
    curve: int

    @classmethod
    def of(cls, frame):
        """Read it off a PyAV frame. The matrix that is not told is guessed as players do."""
        guess = _BT709 if frame.height >= 720 or frame.width >= 1280 else _BT601
        matrix = frame.colorspace if frame.colorspace in MATRICES else guess
        full = frame.color_range == _FULL_RANGE or frame.format.name.startswith(("yuvj", "gray"))
        return cls(
            matrix=matrix,
            tag=_UNSPECIFIED if frame.colorspace == _UNSPECIFIED else matrix,
            range=_FULL_RANGE if full and not frame.format.is_rgb else _LIMITED_RANGE,
            primaries=frame.color_primaries,
            curve=frame.color_trc,
        )


class Reader:
    """A video file: what its first frame tells, and all that is in it, in the file's order.

    Attributes:
        first: the first frame, as PyAV gives it.
        stream: the video stream; others: those of sound and text.
        rate: frames a second, on average.
        notes: what is unusual or damaged; complete once :meth:`items` has ended.

    Raises:
        VideoError: where the file is missing, no video or without a frame that can be decoded,
            or PyAV is missing.
    """

    def __init__(self, path):
        self.path, self.notes, self._damaged, self._last = path, [], 0, None
        self.first = _first_frame(path)
        self.width, self.height = self.first.width, self.first.height
        self.color, self._reformatter = Color.of(self.first), reformatter()
        deep = max(component.bits for component in self.first.format.components) > 8
        self._layout = "rgb48le" if deep else "rgb24"
        self.container = _open(path)
        self.stream = _picture_stream(self.container, path)
        self.others = [s for s in self.container.streams if s.type in ("audio", "subtitle")]
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        if self.first.interlaced_frame:
            self.notes.append("interlaced, but enhanced and written as whole frames")
        if self.first.color_trc in _HDR_CURVES:
            self.notes.append("HDR levels are enhanced like ordinary ones and written in 8 bits")

    @property
    def seconds(self):
        """The length that the file announces, or None."""
        if self.stream.duration:
            return self.stream.duration * self.stream.time_base
        return self.container.duration and Fraction(self.container.duration, 10**6)

    @property
    def total(self):
        """The number of frames as far as the file tells it, or None."""
        return self.stream.frames or (self.seconds and round(self.seconds * self.rate)) or None

    def items(self):
        """Yield each frame as a :class:`Frame`, and the packets of the other streams."""
        held = None
        with errors_of(self.path):
            for packet in self.container.demux(self.stream, *self.others):
                if packet.stream.index != self.stream.index:
                    yield self._from_zero(packet)
                    continue
                for frame in self._decoded(packet):
                    held, done = self._frame(frame), held
                    if done:
                        # Its own is the time to the next in coding order, which may differ.
                        done.duration = held.pts - done.pts
                        yield done
        if held:
            yield held
            self._note_damage(held)

    def _note_damage(self, last):
        if self._damaged:
            self.notes.append(f"damaged: {self._damaged} packets could not be decoded")
        if self.seconds and last.time < 0.9 * self.seconds - 1.0:
            told = f"the file announces {float(self.seconds):.1f} s"
            self.notes.append(f"ends early: {told}, its last frame is at {last.time:.1f} s")

    def _decoded(self, packet):
        """Return the frames of a packet; like a player, go on behind a damaged one."""
        import av

        try:
            return packet.decode()
        except av.InvalidDataError:
            self._damaged += 1
            return []

    def _frame(self, frame):
        picture = self._reformatter.reformat(
            frame,
            width=self.width,
            height=self.height,
            format=self._layout,
            src_colorspace=MATRICES[self.color.matrix],
            src_color_range=self.color.range,
            interpolation=ACCURATE,
        )
        unit = self.stream.time_base
        step = max(round(1 / (self.rate * unit)), 1)
        pts, last = self._from_zero(frame).pts, self._last
        if pts is None:
            pts = 0 if last is None else last + step
        # Encoders refuse a time that does not grow.
        self._last = pts if last is None else max(pts, last + 1)
        duration = frame.duration or step
        return Frame(picture.to_ndarray(), self._last, duration, float(self._last * unit))

    def _from_zero(self, timed):
        """Let a broadcast, whose clock starts anywhere, start at zero."""
        start = self.container.start_time
        if start and timed.pts is not None and self.container.format.flags & _NO_ZERO:
            start = round(Fraction(start, 10**6) / timed.time_base)
            timed.pts -= start
            if hasattr(timed, "stream"):
                timed.dts = None if timed.dts is None else timed.dts - start
        return timed

    def close(self):
        """Close the file."""
        self.container.close()


def _first_frame(path):
    with contextlib.closing(_open(path)) as container, errors_of(path):
        import av

        stream = _picture_stream(container, path)
        for packet in container.demux(stream):
            with contextlib.suppress(av.InvalidDataError):
                for frame in packet.decode():
                    return frame
    raise VideoError(path, "no frame of it can be decoded")


def _open(path):
    av = _pyav(path)
    with errors_of(path):
        if not Path(path).is_file():
            raise VideoError(path, "not a regular file" if Path(path).exists() else "no such file")
        try:
            # A playlist that calls itself a video must not reach out to the network.
            return av.open(os.path.abspath(path), options={"protocol_whitelist": "file"})
        except av.InvalidDataError as error:
            reason = "not a video, or a damaged one" if os.path.getsize(path) else "empty file"
            raise VideoError(path, reason) from error


def _pyav(path):
    try:
        import av
    except ImportError as error:
        reason = f"videos need PyAV, which is missing: {install_extra('video')}"
        raise VideoError(path, reason) from error
    if not hasattr(av.VideoStream, "set_display_matrix"):
        raise VideoError(
            path, f"videos need PyAV 17.1 or newer, not {av.__version__}: {install_extra('video')}"
        )
    return av


def _picture_stream(container, path):
    """Return the first video stream that is not a cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & _COVER:
            stream.thread_type = "AUTO"
            return stream
    raise VideoError(path, "no video stream in it")


def reformatter():
    """Return a converter between pixel formats; each keeps the tables of its conversion."""
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def display_matrix(frame):
    """Return the nine numbers that say how a PyAV frame is to be turned, or None."""
    try:
        for data in frame.side_data:
            if data.type.name == "DISPLAYMATRIX":
                return np.frombuffer(data, np.int32).tolist()
    except ValueError:  # PyAV does not know all kinds of side data.
        return None
