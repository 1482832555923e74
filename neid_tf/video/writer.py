"""Writing a video file: the enhanced frames, and all else as the source has it."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import typing
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neid_tf.support import files
from neid_tf.support.errors import reason_of
from neid_tf.video import sound
from neid_tf.video.coding import display_matrix, reformatter, to_yuv
from neid_tf.video.completeness import is_broadcast
from neid_tf.video.containers import CONTAINERS, WRITABLE, Container
from neid_tf.video.frames import Frame
from neid_tf.video.reader import Reader, VideoError, errors_of
from neid_tf.video.tags import OF_THE_FILE, is_apples, of_stream

if typing.TYPE_CHECKING:
    import av

_FRAME_DURATION = 1 << 8  # AV_CODEC_FLAG_FRAME_DURATION
_LARGE = 2**24  # pixels of a frame: 40 frames of this size, as usual, would take 1 GB
_NO_PLACE, _NOT_COPIED = "the file has no place for it", "such data is not copied"
_NOT_TOLD = "the file does not tell its channels where it begins"
_NO_COVER = "cover pictures are kept in MP4 and MOV alone"
_QUICKTIMES = ("mp4", "mov")  # They have places for covers and timecodes.
_CHAPTERS = "bin_data"  # the name of MP4's track of chapter titles, which is written anew


def container_for(path: str | os.PathLike) -> Container:
    """Return the :class:`Container` that a file's suffix stands for, or raise VideoError."""
    suffix = Path(path).suffix.lower()
    if suffix in CONTAINERS:
        return CONTAINERS[suffix]
    known = ", ".join(sorted(WRITABLE))
    raise VideoError(path, f"no video can be written with the suffix {suffix!r}, only {known}")


class OthersRefused(VideoError):
    """The file does not take the sound or text beside the picture; its reason says why."""


def _refusals():
    """Return what FFmpeg raises for a stream that a file can't hold, not for a full disk."""
    import av

    return av.ArgumentError, av.ExperimentalError, av.InvalidDataError, av.PatchWelcomeError


def _takes(container, stream):
    """Tell whether a file of this kind, with nothing else in it, takes a stream's packets."""
    import av

    try:
        with av.open(io.BytesIO(), "w", format=container) as file:
            file.add_stream_from_template(stream).disposition = stream.disposition
            file.start_encoding()
    except (ValueError, *_refusals()):
        return False
    return True


class Writer:
    """A video file that is being written.

    Args:
        temporary: where it is written to.
        path: what it will be called; errors name it.
        kind: its :class:`Container`.
        reader: the source, whose streams and descriptions it takes over.
        scale: how many times larger than the source's the frames are.
        metadata: one of :data:`neid_tf.pictures.METADATA`; without it no text is taken over but
            the language of each stream.
        quality: 1 to 100; None for the usual one (:meth:`Container.rate_factor`).
        alone: why sound and text are left out; empty where they are not.

    Attributes:
        frames: how many were written.
        notes: what could not be kept.
    """

    def __init__(
        self,
        temporary: Path,
        path: str | os.PathLike,
        kind: Container,
        reader: Reader,
        scale: int,
        metadata: str = "keep",
        quality: int | None = None,
        alone: str = "",
    ) -> None:
        import av

        self.path, self.kind, self.notes, self.frames, self._routes = path, kind, [], 0, {}
        self._lost, self._unlike = collections.Counter(), collections.Counter()
        self._alike, self._empty = collections.defaultdict(sound.Alike), {}
        self._may_change = is_broadcast(reader.container)
        self._keeps, self._quality = metadata == "keep", quality
        self._added = False
        self._color, self._unit = reader.color, reader.stream.time_base
        self._reformatter = reformatter()
        with errors_of(path, f"beginning a file of the kind {kind.format} fails"):
            options = self._container_options(reader.container)
            place = os.path.abspath(temporary)
            self.output = av.open(place, "w", format=kind.format, options=options)
            self._add_video(reader, scale)
            self._set_geometry(reader, scale)
            if alone:
                self.notes.append(f"left out: all sound and text ({alone})")
            else:
                self._add_others(reader)
            if self._keeps:
                self._add_descriptions(reader.container)
            with self._naming_refusals():
                self._start()

    def _container_options(self, source):
        """Return the container's options; tags as Apple's cameras write them are written so too."""
        options = dict(self.kind.options)
        if self._keeps and "movflags" in options and any(map(is_apples, source.metadata)):
            options["movflags"] += "+use_metadata_tags"
        return options

    def _start(self):
        self.output.start_encoding()

    @contextlib.contextmanager
    def _naming_refusals(self):
        """Tell a file that is refused as a whole from one whose sound or text may be the cause."""
        try:
            yield
        except _refusals() as error:
            if not self._added:
                raise
            reason = f"{self.kind.format} does not take them: {reason_of(error)}"
            raise OthersRefused(self.path, reason) from error

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames in the file."""
        return self.stream.width, self.stream.height

    def _add_video(self, reader, scale):
        width, height = reader.width * scale, reader.height * scale
        if self.kind.codec == "libx264" and (width % 2 or height % 2):
            width, height = width + width % 2, height + height % 2
            self.notes.append(f"H.264 has no odd sizes: padded to {width}×{height}")
        self.stream = self.output.add_stream(
            self.kind.codec,
            rate=reader.rate,
            options=self._codec_options(width * height),
            width=width,
            height=height,
            pix_fmt="yuv420p",
            time_base=self._unit,
        )
        self.stream.metadata.update(self._tags(reader.stream))
        context, color = self.stream.codec_context, self._color
        context.flags |= _FRAME_DURATION
        context.colorspace, context.color_range = color.tag, color.range
        context.color_primaries, context.color_trc = color.primaries, color.curve

    def _tags(self, stream):
        """Return what is told of a stream: all, or no more than which language it has."""
        tags = of_stream(stream, self.kind.format)
        return {k: v for k, v in tags.items() if self._keeps or k.lower() == "language"}

    def _codec_options(self, pixels):
        """Return the encoder's options; it looks ahead at fewer frames where these are large."""
        factor = self.kind.rate_factor(self._quality)
        options = {"crf": str(factor)} | dict(self.kind.codec_options)
        if self.kind.codec == "libx264" and pixels > _LARGE:
            options |= {"rc-lookahead": "2", "bf": "0", "refs": "1", "thread_type": "slice"}
        return options

    def _set_geometry(self, reader, scale):
        """Keep the shape of the pixels and the rotation."""
        shape = reader.stream.sample_aspect_ratio
        if shape and shape != 1:
            self.stream.codec_context.sample_aspect_ratio = shape
            if self.kind.format == "webm":
                self.notes.append(f"WebM: the shape of the pixels, {shape}, is not kept")
        matrix = display_matrix(reader.first)
        if matrix:
            matrix[6:8] = (scale * shift for shift in matrix[6:8])
            self.stream.set_display_matrix(matrix)
        elif reader.first.rotation:
            self.stream.set_display_rotation(reader.first.rotation)

    def _add_others(self, reader):
        left_out = []
        for stream in reader.container.streams:
            if stream.index == reader.stream.index or getattr(stream, "name", "") == _CHAPTERS:
                continue
            if self._is_timecode(stream, reader.stream):
                continue
            add = self._add_other if stream in reader.others else self._attached
            if reason := add(stream):
                left_out.append(f"{stream.type} stream {stream.index} ({reason})")
        if left_out:
            self.notes.append(f"left out: {', '.join(left_out)}")

    def _is_timecode(self, stream, video):
        """Tell whether a stream holds what is written anew from the picture's tags."""
        told = video.metadata.get("timecode")
        is_written = told and self._keeps and self.kind.format in _QUICKTIMES
        return bool(is_written) and stream.type == "data" and "timecode" in stream.metadata

    def _attached(self, stream):
        """Attach a file that is attached to the source; return why it is not kept, or ""."""
        if stream.type != "attachment":
            return _NOT_COPIED
        if self.kind.format != "matroska":
            return _NO_PLACE
        kind = stream.mimetype or "application/octet-stream"
        self.output.add_attachment(stream.name or "attachment", kind, bytes(stream.data))
        return ""

    def _add_other(self, stream):
        """Copy a stream, or encode it anew if it is sound; return why it is not kept, or ""."""
        if stream.type == "video" and not self._keeps:
            return "--metadata=none"
        if stream.type == "video" and self.kind.format not in _QUICKTIMES:
            return _NO_COVER
        if stream.type == "audio" and not sound.is_told(stream):
            return _NOT_TOLD
        new = self._copied(stream)
        encodes = new is None
        if encodes:
            if stream.type != "audio":
                return _NO_PLACE
            try:
                new = sound.add_encoder(self.output, stream, self.kind.audio)
            except sound.SoundError as error:
                return str(error)
            note = f"{stream.name} encoded anew as {self.kind.audio}"
            self.notes.append(f"audio stream {stream.index}: {note}")
        new.metadata.update(self._tags(stream))
        new.disposition = stream.disposition
        self._routes[stream.index] = new, encodes
        self._empty[stream.index] = stream.type
        self._added = True
        return ""

    def _copied(self, stream):
        """Return a stream of the output that takes the packets of this one, or None."""
        if stream.type == "audio" and not sound.is_copied(stream, self.kind.format):
            return None
        if not _takes(self.kind.format, stream):
            return None
        return self.output.add_stream_from_template(stream)

    def _add_descriptions(self, container):
        tags = container.metadata.items()
        self.output.metadata.update({k: v for k, v in tags if k.lower() not in OF_THE_FILE})
        self.output.set_chapters(container.chapters())

    def write_frame(self, frame: Frame, pixels: np.ndarray) -> None:
        """Encode the enhanced pixels of a frame.

        Args:
            frame: which frame they are of.
            pixels: H×W×3 uint8.
        """
        with errors_of(self.path, f"encoding frame {self.frames + 1} fails"):
            picture = to_yuv(self._reformatter, pixels, self._color, self.size)
            picture.pts, picture.duration, picture.time_base = frame.pts, frame.duration, self._unit
            self.output.mux(self.stream.encode(picture))
        self.frames += 1

    def write_packet(self, packet: av.Packet) -> None:
        """Copy a packet of sound or text, or encode it anew."""
        stream, encodes = self._routes.get(packet.stream.index, (None, False))
        if stream is None:
            return
        index, kind = packet.stream.index, packet.stream.type
        if packet.size:
            self._empty.pop(index, None)
        doing = f"writing {kind} stream {index} fails"
        with errors_of(self.path, doing), self._goes_on_without(index, kind):
            if kind == "video" and packet.size:  # A cover has no time.
                packet.pts = packet.dts = 0
            is_written = (self._encode if encodes else self._copy)(packet, stream)
            if not is_written and packet.size:  # The last packet of all is an empty one.
                self._lost[kind, index] += 1

    def _encode(self, packet, stream):
        """Encode a packet of sound anew; tell whether it could be decoded."""
        frames = sound.decoded(packet)
        for frame in frames or ():
            for alike in self._alike[packet.stream.index](frame):
                self.output.mux(stream.encode(alike))
        return frames is not None

    def _copy(self, packet, stream):
        """Copy a packet; tell whether it has a time, without which it has no place."""
        if packet.dts is None:
            return False
        source = packet.stream
        if source.type == "audio" and self._may_change and source.codec_context:
            frames, alike = sound.decoded(packet), self._alike[source.index]
            self._unlike[source.index] += frames is None or not all(map(alike.is_like, frames))
        packet.stream = stream
        self.output.mux(packet)
        return True

    @contextlib.contextmanager
    def _goes_on_without(self, index, kind):
        """Give up a stream of sound or text whose data is refused, and keep the picture."""
        try:
            yield
        except _refusals() as error:
            self._routes[index] = None, False
            reason = f"{self.kind.format} does not take its data: {reason_of(error)}"
            self.notes.append(f"{kind} stream {index} is not whole: {reason}")

    def finish(self) -> None:
        """Write what the encoders still hold, and the end of the file."""
        self.notes += [f"there is nothing in {k} stream {i}" for i, k in self._empty.items()]
        for (kind, index), count in self._lost.items():
            self.notes.append(f"damaged: {_packets(count, kind, index)} left out")
        for index, count in (+self._unlike).items():
            packets = _packets(count, "audio", index)
            self.notes.append(f"copied as they are: {packets}, damaged or unlike the first")
        with errors_of(self.path, f"ending the {self.kind.format} file fails"):
            self.output.mux(self.stream.encode(None))
            for index, (stream, encodes) in list(self._routes.items()):
                if encodes:
                    with self._goes_on_without(index, "audio"):
                        self.output.mux(stream.encode(None))
            with self._naming_refusals():
                self.output.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        with contextlib.suppress(Exception):
            self.output.close()


def _packets(count, kind, index):
    return f"{count} packet{'s' * (count > 1)} of {kind} stream {index}"


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, overwrite: bool) -> Iterator[Path]:
    """As :func:`neid_tf.support.files.whole_file`; errors of writing are VideoErrors."""
    try:
        with files.whole_file(path, overwrite=overwrite) as temporary:
            yield temporary
    except (OSError, files.NameTaken) as error:
        raise VideoError(path, reason_of(error)) from error
