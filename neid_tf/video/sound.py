"""The sound beside a video: copied where the new file can hold it, encoded anew where not."""

from __future__ import annotations

import typing

from neid_tf.support.errors import NeidError
from neid_tf.video.reader import undamaged

if typing.TYPE_CHECKING:
    import av

_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""What so many channels are usually for, from one up, where a file does not say it (AVI)."""
_FREQUENCY = 48_000
_BITS_PER_CHANNEL = 96_000
_NEEDS_LAYOUT = ("mp4", "mov")


class SoundError(NeidError):
    """A stream of sound that can be neither copied nor encoded; the message says why."""


def is_told(stream: av.AudioStream) -> bool:
    """Tell whether the source says what a stream's channels are.

    A recording does not whose first part is mute: what comes later is not looked for.
    """
    return stream.codec_context is None or stream.layout.nb_channels > 0


def is_copied(stream: av.AudioStream, container: str) -> bool:
    """Tell whether a file of this kind takes a stream's packets, so far as its layout goes.

    MP4 and MOV want to know which channel is for which loudspeaker, which AVI does not tell. What
    is not even known to FFmpeg is not taken.

    Args:
        stream: of the source.
        container: FFmpeg's name of the format that is written.
    """
    if stream.codec_context is None:
        return False
    return stream.layout.nb_channels == 1 or _is_known(stream) or container not in _NEEDS_LAYOUT


def _is_known(stream):
    return not stream.layout.name.endswith(" channels")


def add_encoder(
    output: av.container.OutputContainer, stream: av.AudioStream, codec: str
) -> av.AudioStream:
    """Add a stream of sound to a file that takes the frames of a source's stream.

    Args:
        output: the file.
        stream: of the source.
        codec: FFmpeg's name of the encoder.

    Raises:
        SoundError: where the source can't be decoded.
    """
    import av

    context = stream.codec_context
    if context is None:
        raise SoundError("there is no decoder for it")
    rates = av.Codec(codec, "w").audio_rates
    rate = context.sample_rate
    rate = rate if rate and (not rates or rate in rates) else _FREQUENCY
    layout = _encodable_layout(codec, stream, rate)
    new = output.add_stream(codec, rate=rate, layout=layout)
    new.bit_rate = _BITS_PER_CHANNEL * new.layout.nb_channels
    return new


def _encodable_layout(codec, stream, rate):
    """Return the name of the stream's layout, or of the usual one, or of fewer channels."""
    count = stream.layout.nb_channels
    usual = _LAYOUTS[min(count, len(_LAYOUTS)) - 1]
    for name in (stream.layout.name if _is_known(stream) else usual, usual, "stereo"):
        if _encodes(codec, name, rate):
            return name
    return "mono"


def _encodes(codec, layout, rate):
    import av

    encoder = av.CodecContext.create(codec, "w")
    encoder.layout, encoder.sample_rate = layout, rate
    encoder.format = encoder.codec.audio_formats[0]
    try:
        encoder.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def decoded(packet: av.Packet) -> list[av.AudioFrame] | None:
    """Return the frames of a packet of sound; None for a damaged one."""
    return undamaged(packet.decode)


class Alike:
    """Gives all frames of a stream the format, channels and rate of its first one.

    Those of joined recordings may change, which encoders do not take.
    """

    def __init__(self) -> None:
        self._first, self._resamplers = None, {}

    def is_like(self, frame: av.AudioFrame) -> bool:
        """Tell whether a frame is as the first one, which it may be itself."""
        self._first = self._first or _kind(frame)
        return _kind(frame) == self._first

    def __call__(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """Return a frame as frames like the first."""
        import av

        if self.is_like(frame):
            return [frame]
        kind = _kind(frame)
        if kind not in self._resamplers:
            self._resamplers[kind] = av.AudioResampler(*self._first)
        unit, made = frame.time_base, self._resamplers[kind].resample(frame)
        for one in made:  # Encoders keep to the unit of the first.
            one.pts, one.time_base = round(one.pts * one.time_base / unit), unit
        return made


def _kind(frame):
    return frame.format.name, frame.layout.name, frame.sample_rate
