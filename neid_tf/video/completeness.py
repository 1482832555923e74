"""How far a video goes, against what its container announces: whether its end is missing."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from fractions import Fraction

if typing.TYPE_CHECKING:
    import av

_NO_ZERO = 0x200  # AVFMT_TS_DISCONT
_LEAST_MISSING = 0.1  # seconds; how sound of other block lengths differs from what is announced


def is_broadcast(container: av.container.InputContainer) -> bool:
    """Tell whether a file's clock starts anywhere, and its length is not announced."""
    return bool(container.format.flags & _NO_ZERO)


class Ending:
    """What the packets of a file tell of its end.

    Args:
        container: the file.
        stream: its video stream.
        rate: frames a second.
    """

    def __init__(
        self, container: av.container.InputContainer, stream: av.VideoStream, rate: Fraction
    ) -> None:
        self._container, self._stream, self._rate = container, stream, rate
        self._ends: dict[int, float] = {}
        self._is_cut = False

    def seen(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """Take the packets of all streams, in the file's order and with their own times."""
        for packet in packets:
            self._see(packet)
            yield packet

    def _see(self, packet):
        if packet.size and packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            index = packet.stream.index
            self._ends[index] = max(end, self._ends.get(index, end))
            self._is_cut = packet.is_corrupt

    def notes(self) -> list[str]:
        """Return, once all packets were seen, a line if the end of the file is missing."""
        announced, length = self._lengths()
        if length < announced - max(2 / self._rate, _LEAST_MISSING):
            there = f"{length:.1f} s of the {announced:.1f} s that the file announces"
            return [f"ends early: there are {there}"]
        return ["ends early: its last packet is cut off"] if self._is_cut else []

    def _lengths(self) -> tuple[float, float]:
        """Return how many seconds the file announces, and how many there are of these."""
        container, stream = self._container, self._stream
        end = self._ends.get(stream.index, 0.0)
        if is_broadcast(container):
            return 0.0, 0.0  # What FFmpeg tells of these it has seen at their end.
        if container.format.name == "avi":
            return float(stream.frames / self._rate), end  # Its duration is of what is there.
        if stream.duration:
            start = (stream.start_time or 0) * stream.time_base
            return float(stream.duration * stream.time_base), end - float(start)
        # That of the longest stream, from zero.
        return (container.duration or 0) / 10**6, max(self._ends.values(), default=0.0)
