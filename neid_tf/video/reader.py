"""Reading a video file: its frames, and the packets of sound and text beside them."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import struct
import threading
import typing
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

from neid_tf.support.errors import FileError, errors_named, reason_of
from neid_tf.support.libraries import install_extra
from neid_tf.video import foreign
from neid_tf.video.clock import COVER, Clock
from neid_tf.video.coding import (
    SPHERICAL,
    STEREO,
    TRANSPARENT,
    Color,
    lost_properties,
    marks,
    reformatter,
    to_rgb,
)
from neid_tf.video.completeness import Ending, is_broadcast
from neid_tf.video.frames import Frame

if typing.TYPE_CHECKING:
    import av

T = typing.TypeVar("T")
_SLACK = 2**20  # pixels
_MOST_OF_INDEX = 2**24  # bytes of an MP4's index that are looked through
_MOST_STREAMS = 64  # whose headers are decoded under the limit when a file is opened


class VideoError(FileError):
    """A video that cannot be read or written; names it, and says why in one line."""


@contextlib.contextmanager
def errors_of(path: str | os.PathLike, doing: str) -> Iterator[None]:
    """Turn what goes wrong in PyAV or the file system into a VideoError that names the path.

    Args:
        path: the file.
        doing: what was being done; FFmpeg's own reasons, such as "invalid argument", say nothing
            without it.
    """
    import av

    with errors_named(path, VideoError):
        try:
            yield
        except (
            *(av.ArgumentError, av.BugError, av.EOFError, av.ExternalError),
            *(av.InvalidDataError, av.PatchWelcomeError),
        ) as error:
            raise VideoError(path, f"{doing}: {reason_of(error)}") from error
        except av.FFmpegError as error:
            if not _is_damage(error):
                raise
            raise VideoError(path, f"{doing}: damaged data") from error


def undamaged(decode: Callable[[], list[T]]) -> list[T] | None:
    """Return what a decoder gives; None where it fails: what one makes of damage has any name.

    Args:
        decode: calls it.

    Raises:
        MemoryError: where there is not enough.
    """
    return _attempted(decode)[0]


def _attempted(decode):
    """Return what a decoder gives, or None and the reason."""
    import av

    try:
        return decode(), ""
    except av.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        return None, f": {reason_of(error)}"


def _is_damage(error):
    """Tell whether FFmpeg's error is one of the data.

    Some of its decoders have numbers of their own for that, or -1, which the system takes for an
    operation that is not permitted.
    """
    import av

    is_data = isinstance(error, (av.InvalidDataError, av.UndefinedError))
    return is_data or getattr(error, "errno", None) == errno.EPERM


class Reader:
    """A video file: what its first frame tells, and all that is in it, in the file's order.

    Attributes:
        first: the first frame, as PyAV gives it.
        stream: the video stream; others: those of sound and text.
        rate: frames a second, on average.
        notes: what is unusual or damaged; complete once :meth:`items` has ended.

    Args:
        path: the file.
        max_pixels: the most pixels of a frame; None for no limit.

    Raises:
        VideoError: where the file is missing, no video or without a frame that can be decoded,
            a frame has more pixels, or PyAV is missing.
    """

    def __init__(self, path: str | os.PathLike, max_pixels: int | None = None) -> None:
        self.path, self.notes, self._last, self._shapes = path, [], None, []
        self._damaged = self._corrupt = self._owed = 0
        self._lock, self._closed = threading.Lock(), False
        self._limit = Limit(path, max_pixels)
        self.first = _first_frame(path, self._limit)
        self.width, self.height = self.first.width, self.first.height
        self.color, self._reformatter = Color.of(self.first), reformatter()
        deep = max(component.bits for component in self.first.format.components) > 8
        self._layout = "rgb48le" if deep else "rgb24"
        self.container = _open(path, self._limit)
        self.stream = picture_stream(self.container, path, self._limit)
        self.others = [s for s in self.container.streams if _is_copied(s)]
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        tags = {name.lower(): value for name, value in self.stream.metadata.items()}
        # That of a Matroska file is kept, or named, as its other tags are.
        self._told = [STEREO] if "stereo_mode" in tags else []
        self.notes += [note for note in lost_properties(self.first) if note not in self._told]
        if foreign.is_foreign(self.container):
            self.notes.append(foreign.NOTE)
        if tags.get("alpha_mode") == "1" and TRANSPARENT not in self.notes:
            self.notes.append(TRANSPARENT)  # FFmpeg's decoders of VP8 and VP9 pass over it.
        if SPHERICAL not in self.notes and _is_spherical_mp4(path):
            self.notes.append(SPHERICAL)
        self._seen = {_kind_of(self.first)}

    @property
    def seconds(self) -> Fraction | None:
        """The length that the file announces, or None."""
        if self.stream.duration:
            return self.stream.duration * self.stream.time_base
        return self.container.duration and Fraction(self.container.duration, 10**6)

    @property
    def total(self) -> int | None:
        """The number of frames as far as the file tells it, or None."""
        return self.stream.frames or (self.seconds and round(self.seconds * self.rate)) or None

    def items(self) -> Iterator[Frame | av.Packet]:
        """Yield each frame as a :class:`Frame`, and the packets of the other streams.

        It may run in another thread than :meth:`close`, which ends it.
        """
        items = self._items()
        while True:
            with self._lock:
                item = None if self._closed else next(items, None)
            if item is None:
                return
            yield item

    def _items(self):
        held, ending = None, Ending(self.container, self.stream, self.rate)
        clock = Clock(self.container)
        with errors_of(self.path, "decoding fails"):
            for packet in clock.settled(ending.seen(_packets(self.container, late=self._late))):
                follows = clock.set(packet)
                if packet.stream.index != self.stream.index:
                    if follows:
                        yield packet
                    continue
                for frame in self._decoded(packet):
                    held, done = self._frame(frame), held
                    if done:
                        # Its own is the time to the next in coding order, which may differ.
                        done.duration = held.pts - done.pts
                        yield done
        if held:
            yield held
            if damaged := self._damaged + self._without_a_frame():
                self.notes.append(f"damaged: {damaged} packets could not be decoded")
            if self._corrupt:
                self.notes.append(f"damaged: {self._corrupt} frames could not be decoded whole")
            if clock.strays:
                self.notes.append(f"damaged: {clock.strays} packets had wrong times, set anew")
            if clock.restarts:
                times = f"{clock.restarts} time{'s' * (clock.restarts > 1)}"
                self.notes.append(f"its clock starts anew {times}: what follows is put behind")
            self.notes += ending.notes()

    def _late(self):
        self.notes.append("streams that begin later than the others are left out")

    def _decoded(self, packet):
        """Return the frames of a packet; like a player, go on behind a damaged one."""
        frames = undamaged(functools.partial(self._limit.decoded, packet))
        if frames is None:
            self._damaged += 1
            return []
        self._corrupt += sum(frame.is_corrupt for frame in frames)
        self._owed += bool(packet.size) - len(frames)
        return frames

    def _without_a_frame(self):
        """Return how many packets gave no frame, though each has one in a broadcast.

        In other files some packets are there for the decoder alone, and half of a frame may be one
        where it has two fields.
        """
        has_fields = any(interlaced for *_, interlaced, _, _ in self._seen)
        return max(self._owed, 0) if is_broadcast(self.container) and not has_fields else 0

    def _frame(self, frame):
        size = self.width, self.height
        # The first one's colour is that of what is written.
        pixels = to_rgb(self._reformatter, frame, Color.of(frame), size, self._layout)
        unit = self.stream.time_base
        step = max(round(1 / (self.rate * unit)), 1)
        pts, last = frame.pts, self._last
        if pts is None:
            pts = 0 if last is None else last + step
        # Encoders refuse a time that does not grow.
        self._last = pts if last is None else max(pts, last + 1)
        self._note_changes(frame, float(self._last * unit))
        duration = frame.duration or step
        return Frame(pixels, self._last, duration, float(self._last * unit))

    def _note_changes(self, frame, seconds):
        """Take note of what frames from here on are, and the first is not."""
        shape = self.stream.codec_context.sample_aspect_ratio
        if shape and shape not in self._shapes:
            if self._shapes:
                change = f"the shape of its pixels changes from {self._shapes[0]} to {shape}"
                self.notes.append(f"from {seconds:.1f} s: {change}: the first is kept")
            self._shapes.append(shape)
        if (kind := _kind_of(frame)) in self._seen:
            return
        self._seen.add(kind)
        if (frame.width, frame.height) != (self.width, self.height):
            sizes = f"{self.width}×{self.height} to {frame.width}×{frame.height}"
            change = f"frames change from {sizes}: they are fitted to the first size"
            self.notes.append(f"from {seconds:.1f} s: {change}")
        known = self.notes + self._told
        new = [note for note in lost_properties(frame) if note not in known]
        self.notes += [f"from {seconds:.1f} s: {note}" for note in new]

    def close(self) -> None:
        """Close the file, once nothing is decoded any more."""
        with self._lock:
            self._closed = True
            self.container.close()


class Limit:
    """The most pixels of a frame, which FFmpeg checks before it takes memory for one.

    Args:
        path: for messages.
        pixels: the most; None for no limit.
    """

    def __init__(self, path: str | os.PathLike, pixels: int | None) -> None:
        self._path, self._pixels = path, pixels
        # FFmpeg counts what it adds to rows; frames between the two are looked at when they come.
        self.options = {} if pixels is None else {"max_pixels": str(2 * pixels + _SLACK)}

    def check(self, width: int, height: int) -> None:
        """Refuse a size that is announced, or that a frame has.

        Args:
            width, height: in pixels.

        Raises:
            VideoError: where it is too large.
        """
        if self._pixels is not None and width * height > self._pixels:
            raise VideoError(self._path, f"frames of {width}×{height}, {self._allowed()}")

    def _allowed(self):
        return f"more than the {self._pixels:,} pixels that --max_pixels allows"

    def decoded(self, packet: av.Packet) -> list[av.VideoFrame]:
        """Return the frames of a packet, none larger than allowed.

        Raises:
            VideoError: where one is.
        """
        import av

        try:
            frames = packet.decode()
        except av.ArgumentError as error:
            context = packet.stream.codec_context
            if self._pixels is None or 0 < context.width * context.height <= self._pixels:
                raise  # It is damaged: the decoder forgets the size that it is not to have.
            reason = f"a frame is damaged, or has {self._allowed()}"
            raise VideoError(self._path, reason) from error
        for frame in frames:
            self.check(frame.width, frame.height)
        return frames


def _kind_of(frame):
    """Return what of a frame may change in the midst of a video."""
    shape = frame.width, frame.height, frame.format.name
    return (*shape, frame.interlaced_frame, frame.color_trc, marks(frame))


def _is_spherical_mp4(path):
    """Tell whether an MP4 or MOV says that it is a 360° video, of which frames know nothing."""
    with open(path, "rb") as file:
        while len(head := file.read(16)) >= 8:
            length, name = struct.unpack(">I4s", head[:8])
            length = int.from_bytes(head[8:], "big") if length == 1 else length
            if name == b"moov":
                body = file.read(min(length, _MOST_OF_INDEX))
                return b"<GSpherical:Spherical>true" in body or b"sv3d" in body
            if length < 8 or not name.isalnum():
                return False
            file.seek(length - len(head), os.SEEK_CUR)
    return False


def _packets(container, *streams, late=lambda: None):
    """Yield the packets of some streams, or of all, and an empty one of each at the end.

    ``late`` is called where some streams come to light midway, which are left out.
    """
    try:
        yield from container.demux(*streams)
    except IndexError:  # PyAV fails at their end, which comes last.
        late()


def _is_copied(stream):
    """Tell whether a stream is sound, text or a cover picture."""
    is_cover = stream.type == "video" and stream.disposition & COVER
    return stream.type in ("audio", "subtitle") or bool(is_cover)


def _first_frame(path, limit):
    with contextlib.closing(_open(path, limit)) as container, errors_of(path, "decoding fails"):
        stream, reason = picture_stream(container, path, limit), ""
        for packet in _packets(container, stream):
            frames, failed = _attempted(functools.partial(limit.decoded, packet))
            reason = failed or reason
            for frame in frames or ():
                return frame
    raise VideoError(path, f"no frame of it can be decoded{reason}")


def _open(path, limit):
    av = pyav(path)
    with errors_of(path, "opening it fails"):
        if not Path(path).is_file():
            raise VideoError(path, "not a regular file" if Path(path).exists() else "no such file")
        try:
            found = _opened(path, [limit.options] * _MOST_STREAMS if limit.options else [])
        except av.InvalidDataError as error:
            reason = "not a video, or a damaged one" if os.path.getsize(path) else "empty file"
            raise VideoError(path, reason) from error
    kind, _, still = found.format.name.rpartition("_")
    if still == "pipe" or found.format.name == "image2":
        found.close()
        raise VideoError(path, f"not a video: {kind or 'a'} picture with the suffix of one")
    return found


def _opened(path, options):
    import av

    # A playlist that calls itself a video must not reach out to the network.
    only_files = {"protocol_whitelist": "file"}
    place = os.path.abspath(path)
    open_it = functools.partial(av.open, place, container_options=only_files)
    try:
        return foreign.opened(functools.partial(open_it, stream_options=options))
    except ValueError as error:
        if isinstance(error, av.FFmpegError):
            raise
        # The streams of FLV and MPEG-PS come to light later; their size is looked at then.
        return foreign.opened(open_it)


def pyav(path: str | os.PathLike) -> ModuleType:
    """Return PyAV.

    Args:
        path: for messages.

    Raises:
        VideoError: where it is missing, or too old.
    """
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


def picture_stream(
    container: av.container.InputContainer, path: str | os.PathLike, limit: Limit
) -> av.VideoStream:
    """Return the first video stream that is not a cover picture, and can be decoded.

    Args:
        container: an open file or stream.
        path: for messages.
        limit: of its frames.

    Raises:
        VideoError: where there is none, or its frames are too large.
    """
    streams = [s for s in container.streams.video if not s.disposition & COVER]
    for stream in streams:
        if stream.codec_context:
            limit.check(stream.width, stream.height)
            stream.codec_context.options = limit.options
            stream.thread_type = "AUTO"
            return stream
    raise VideoError(
        path, "there is no decoder for its picture" if streams else "no video stream in it"
    )
