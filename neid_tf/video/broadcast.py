"""Where the frames of a stream go: a file, an address, or a window."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from neid_tf.support import files
from neid_tf.support.errors import NeidError, errors_named, reason_of
from neid_tf.video.coding import Color, reformatter, to_yuv
from neid_tf.video.reader import VideoError, errors_of
from neid_tf.video.stream import scheme_of
from neid_tf.video.writer import container_for, whole_file

FORMATS = {
    "udp": "mpegts",
    "tcp": "mpegts",
    "srt": "mpegts",
    "rtp": "rtp_mpegts",
    "rtsp": "rtsp",
    "rtmp": "flv",
}
"""The addresses that can be sent to, and what is sent there."""
_PATIENCE = "timeout=5000000"  # microseconds, for FFmpeg to connect and to send
_QUICK = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20", "g": "50"}
_UNIT = Fraction(1, 90_000)
_SQUARE = Fraction(1)
_READABLE = {kind: {"movflags": "hybrid_fragmented"} for kind in ("mp4", "mov")}
"""What lets a file be read that was not ended, by FFmpeg's name of its container."""
_SRGB = Color(matrix=1, tag=1, range=1, primaries=1, curve=1)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before an address that broke off is tried anew; each time twice as many."""


def check_output(output: str) -> None:
    """Refuse what can't be written or sent to.

    Raises:
        VideoError: for an address or a suffix that is not known.
    """
    scheme = scheme_of(output)
    if not scheme:
        container_for(output)
    elif scheme not in FORMATS:
        known = "://, ".join(FORMATS)
        raise VideoError(output, f"frames can't be sent there, only to {known}://")


class Encoder:
    """Encodes frames as they come into a container, as H.264; VP9 in WebM.

    Args:
        place: path or address.
        name: what it is called in messages.
        kind: FFmpeg's name of the container.
        codec: and of the codec.
        size: width and height of the frames.
        shape: of their pixels, width by height.
    """

    def __init__(
        self,
        place: str,
        name: str,
        kind: str,
        codec: str,
        size: tuple[int, int],
        shape: Fraction = _SQUARE,
    ) -> None:
        import av

        self.name, self.size = name, tuple(side + side % 2 for side in size)
        self._shown, self._converter = size, reformatter()
        options = _QUICK if codec == "libx264" else {"deadline": "realtime", "cpu-used": "8"}
        with errors_of(name, "opening it fails"):
            self._output = av.open(place, "w", format=kind, options=_READABLE.get(kind, {}))
            width, height = self.size
            self._stream = self._output.add_stream(
                codec,
                rate=25,
                options=options,
                width=width,
                height=height,
                pix_fmt="yuv420p",
                time_base=_UNIT,
            )
            context = self._stream.codec_context
            context.colorspace, context.color_range = _SRGB.tag, _SRGB.range
            context.color_primaries, context.color_trc = _SRGB.primaries, _SRGB.curve
            if shape != _SQUARE:
                context.sample_aspect_ratio = shape

    def write(self, pixels: np.ndarray, seconds: float) -> None:
        """Encode a frame.

        Args:
            pixels: H×W×3 uint8; another size than that of the first is changed to it.
            seconds: when it is shown.
        """
        if pixels.shape[1::-1] != self._shown:
            pixels = np.asarray(Image.fromarray(pixels).resize(self._shown))
        with errors_of(self.name, "writing a frame fails"):
            frame = to_yuv(self._converter, pixels, _SRGB, self.size)
            frame.pts, frame.time_base = round(seconds / _UNIT), _UNIT
            self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what is still held, and the end."""
        with errors_of(self.name, "ending it fails"):
            self._output.mux(self._stream.encode(None))
            self._output.close()

    def close(self) -> None:
        """Close it, finished or not."""
        with contextlib.suppress(Exception):
            self._output.close()


class _Nothing(NeidError):
    """A recording that holds nothing."""


class FileOutput:
    """A file, which is there once the stream has ended.

    Args:
        path: the file; its suffix says the container. Its folder is made with the first frame.
        overwrite: whether what is there at the end is replaced.
        report: is told, in a line, what it does not keep.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        overwrite: bool = False,
        report: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.path, self.overwrite, self.report = path, overwrite, report
        self._stack, self._encoder, self._temporary = contextlib.ExitStack(), None, None

    def write(self, pixels: np.ndarray, seconds: float, shape: Fraction = _SQUARE) -> None:
        """Write a frame; see :class:`Encoder`."""
        if self._encoder is None:
            kind = container_for(self.path)
            with errors_named(self.path, VideoError):
                os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            placing = whole_file(self.path, self.overwrite)
            self._temporary = self._stack.enter_context(placing)
            how = (os.fspath(self.path), kind.format, kind.codec, pixels.shape[1::-1], shape)
            self._encoder = Encoder(os.path.abspath(self._temporary), *how)
            if shape != _SQUARE and kind.format == "webm":
                lost = f"the shape of the pixels, {shape}, is not kept"
                self.report(f"{os.fspath(self.path)}: WebM: {lost}")
        self._encoder.write(pixels, seconds)

    def close(self) -> None:
        """Give the file its name, if there is anything in it.

        Raises:
            VideoError: where something else has come to be there, and is not replaced; the
                recording is kept beside it, and the message says where. And where its end can't
                be written, as on a full disk: what was recorded until then is kept.
        """
        failed, kept = None, "; what was recorded until then is kept"
        with contextlib.suppress(_Nothing), self._stack:
            if self._encoder:
                try:
                    self._encoder.finish()
                except VideoError as error:
                    self._encoder.close()
                    failed = error
            if self._temporary:
                if not _size(self._temporary):
                    kept = ""
                    raise _Nothing
                if not self.overwrite and os.path.lexists(self.path):
                    self._keep_beside()
        if failed:
            raise VideoError(self.path, f"{reason_of(failed)}{kept}") from failed

    def _keep_beside(self):
        place = Path(self.path)
        for number in itertools.count(2):
            other = place.with_name(f"{place.stem}-{number}{place.suffix}")
            with contextlib.suppress(files.NameTaken):
                files.place_file(self._temporary, other, overwrite=False)
                raise VideoError(place, f"has come to be there; the recording is {other.name}")


def _size(path):
    """Return a file's size in bytes; 0 where there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


@dataclasses.dataclass
class AddressOutput:
    """An address that frames are sent to; while it can't be reached, they are left out.

    Attributes:
        address: one of :data:`FORMATS`.
        report: is told, in a line, when it can't be reached.
        unsent: how many frames were left out.
    """

    address: str
    report: Callable[[str], None]
    unsent: int = 0
    _encoder: Encoder | None = None
    _again: float = 0.0
    _pause: float = 0.0

    def write(self, pixels: np.ndarray, seconds: float, shape: Fraction = _SQUARE) -> None:
        """Send a frame; see :class:`Encoder`."""
        try:
            if self._encoder is None:
                if time.monotonic() < self._again:
                    self.unsent += 1
                    return
                kind = FORMATS[scheme_of(self.address)]
                # PyAV lets nothing else go on while it connects.
                place = self.address
                if scheme_of(place) == "tcp":
                    place += f"{'&' if '?' in place else '?'}{_PATIENCE}"
                size = pixels.shape[1::-1]
                self._encoder = Encoder(place, self.address, kind, "libx264", size, shape)
            self._encoder.write(pixels, seconds)
            self._pause = 0.0
        except VideoError as error:
            self._broke_off(error)

    def _broke_off(self, error):
        self.unsent += 1
        if self._encoder:
            self._encoder.close()
        self._encoder = None
        self._pause = min(2 * self._pause, LONGEST_PAUSE) or FIRST_PAUSE
        self._again = time.monotonic() + self._pause
        self.report(f"{self.address}: {reason_of(error)}; again in {self._pause:g} s")

    def close(self) -> None:
        """Send what is still held."""
        if self._encoder:
            with contextlib.suppress(VideoError):
                self._encoder.finish()
