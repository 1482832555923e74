"""Writing a video file: the enhanced frames, and all else as the source has it."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np

from neid_tf.support import files
from neid_tf.support.errors import reason_of
from neid_tf.video.reader import (
    ACCURATE,
    MATRICES,
    VideoError,
    display_matrix,
    errors_of,
    reformatter,
)

_FRAME_DURATION = 1 << 8  # AV_CODEC_FLAG_FRAME_DURATION
_STREAM_TAGS = ("language", "title", "handler_name", "creation_time")
_CHAPTERS = "bin_data"  # the name of MP4's track of chapter titles, which is written anew
_FILE_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder")


@dataclasses.dataclass(frozen=True)
class Container:
    """How a kind of file is written. The quality is what the eye cannot tell from the frames."""

    format: str
    codec: str = "libx264"
    codec_options: tuple = (("crf", "17"), ("preset", "medium"))
    options: tuple = ()
    audio: str = "aac"


_MP4 = Container("mp4", options=(("movflags", "+faststart"),))
_VP9 = (("crf", "15"), ("deadline", "good"), ("cpu-used", "4"), ("row-mt", "1"))
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": dataclasses.replace(_MP4, format="mov"),
    ".mkv": Container("matroska"),
    ".webm": Container("webm", "libvpx-vp9", _VP9, audio="libopus"),
}
WRITABLE = frozenset(CONTAINERS)
"""The suffixes, lower case, of the files that can be written."""


def container_for(path):
    """Return the :class:`Container` that a file's suffix stands for, or raise VideoError."""
    suffix = Path(path).suffix.lower()
    if suffix in CONTAINERS:
        return CONTAINERS[suffix]
    known = ", ".join(sorted(WRITABLE))
    raise VideoError(path, f"no video can be written with the suffix {suffix!r}, only {known}")


class Writer:
    """A video file that is being written.

    Args:
        temporary: where it is written to.
        path: what it will be called; errors name it.
        kind: its :class:`Container`.
        reader: the source, whose streams and descriptions it takes over.
        scale: how many times larger than the source's the frames are.

    Attributes:
        frames: how many were written.
        notes: what could not be kept.
    """

    def __init__(self, temporary, path, kind, reader, scale):
        import av

        self.path, self.kind, self.notes, self.frames, self._routes = path, kind, [], 0, {}
        self._color, self._unit = reader.color, reader.stream.time_base
        self._reformatter = reformatter()
        with errors_of(path):
            options = dict(kind.options)
            self.output = av.open(str(temporary), "w", format=kind.format, options=options)
            self._add_video(reader, scale)
            self._set_geometry(reader, scale)
            self._add_others(reader)
            self._add_descriptions(reader.container)
            self.output.start_encoding()

    @property
    def size(self):
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
            options=dict(self.kind.codec_options),
            width=width,
            height=height,
            pix_fmt="yuv420p",
            time_base=self._unit,
        )
        tags = reader.stream.metadata.items()
        self.stream.metadata.update({k: v for k, v in tags if k.lower() in _STREAM_TAGS})
        context, color = self.stream.codec_context, self._color
        context.flags |= _FRAME_DURATION
        context.colorspace, context.color_range = color.tag, color.range
        context.color_primaries, context.color_trc = color.primaries, color.curve

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
            if stream.index == reader.stream.index or stream.name == _CHAPTERS:
                continue
            if stream not in reader.others or not self._add_other(stream):
                left_out.append(f"{stream.type} stream {stream.index}")
        if left_out:
            self.notes.append(f"left out: {', '.join(left_out)}")

    def _add_other(self, stream):
        """Copy a stream, or encode it anew if it is sound; return whether it is kept."""
        encodes = False
        try:
            new = self.output.add_stream_from_template(stream)
        except ValueError:
            if stream.type != "audio":
                return False
            new, encodes = self._add_encoder(stream), True
        new.metadata.update(stream.metadata)
        new.disposition = stream.disposition
        self._routes[stream.index] = new, encodes
        return True

    def _add_encoder(self, stream):
        import av

        name, rate = self.kind.audio, stream.codec_context.sample_rate
        rates = av.Codec(name, "w").audio_rates
        rate = rate if not rates or rate in rates else 48000
        self.notes.append(f"audio stream {stream.index}: {stream.name} encoded anew as {name}")
        new = self.output.add_stream(name, rate=rate, layout=stream.layout)
        new.bit_rate = 96_000 * stream.layout.nb_channels
        return new

    def _add_descriptions(self, container):
        tags = container.metadata.items()
        self.output.metadata.update({k: v for k, v in tags if k.lower() not in _FILE_TAGS})
        self.output.set_chapters(container.chapters())

    def write_frame(self, frame, pixels):
        """Encode the enhanced pixels, H×W×3 uint8, of a :class:`Frame`."""
        import av

        width, height = self.size
        padding = (0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)
        with errors_of(self.path):
            picture = self._reformatter.reformat(
                av.VideoFrame.from_ndarray(np.pad(pixels, padding, mode="edge")),
                format="yuv420p",
                dst_colorspace=MATRICES[self._color.matrix],
                dst_color_range=self._color.range,
                interpolation=ACCURATE,
            )
            picture.pts, picture.duration, picture.time_base = frame.pts, frame.duration, self._unit
            self.output.mux(self.stream.encode(picture))
        self.frames += 1

    def write_packet(self, packet):
        """Copy a packet of sound or text, or encode it anew."""
        stream, encodes = self._routes.get(packet.stream.index, (None, False))
        if stream is None:
            return
        with errors_of(self.path):
            if encodes:
                for frame in _sound(packet):
                    self.output.mux(stream.encode(frame))
            elif packet.dts is not None:
                packet.stream = stream
                self.output.mux(packet)

    def finish(self):
        """Write what the encoders still hold, and the end of the file."""
        with errors_of(self.path):
            encoders = [stream for stream, encodes in self._routes.values() if encodes]
            for stream in (self.stream, *encoders):
                self.output.mux(stream.encode(None))
            self.output.close()

    def close(self):
        """Close the file, finished or not."""
        with contextlib.suppress(Exception):
            self.output.close()


def _sound(packet):
    import av

    try:
        return packet.decode()
    except av.InvalidDataError:
        return []


@contextlib.contextmanager
def whole_file(path):
    """As :func:`neid_tf.support.files.whole_file`; errors of writing are VideoErrors."""
    try:
        with files.whole_file(path) as temporary:
            yield temporary
    except OSError as error:
        raise VideoError(path, reason_of(error)) from error
