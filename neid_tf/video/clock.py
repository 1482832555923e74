"""The times of a video: its clock may start anew midway, and that of a broadcast anywhere."""

from __future__ import annotations

import typing
from fractions import Fraction

from neid_tf.video.completeness import is_broadcast

if typing.TYPE_CHECKING:
    import av

_BACK = Fraction(1, 2)  # Seconds by which a stream falls back where the clock starts anew.
_REORDERED = 8  # Frames by which those that depend on each other may be out of order.
_APART = 1  # Seconds that packets of one time may be apart in the file.


class Clock:
    """Lets the times of a broadcast begin at zero, and those of any file go on behind a restart.

    The clock of recordings that were joined starts anew, or that of a camera that was restarted.

    Args:
        container: the file.
    """

    def __init__(self, container: av.container.InputContainer) -> None:
        start = container.start_time or 0 if is_broadcast(container) else 0
        # What is added to the times of each stretch between two starts, in seconds.
        self._added = [-Fraction(start, 10**6)]
        self._stretch: dict[int, int] = {}
        self._ends: dict[int, Fraction] = {}
        self._begins: dict[int, Fraction] = {}

    @property
    def restarts(self) -> int:
        """How often it has started anew."""
        return len(self._added) - 1

    def set(self, packet: av.Packet) -> bool:
        """Set the times of a packet.

        Args:
            packet: of any stream, in the file's order.

        Returns:
            Whether it is behind the stretch before it in its stream, which has to be so of sound.
        """
        if packet.stream.type not in ("video", "audio"):  # Subtitles may overlap, and come late.
            self._shift(packet, self.restarts)
            return True
        index, unit, stamp = packet.stream.index, packet.time_base, packet.dts
        stretch, end = self._stretch.get(index, 0), self._ends.get(index)
        if stamp is None:  # The order of the frames that are shown is another.
            self._shift(packet, stretch)
            return True
        time, length = stamp * unit + self._added[stretch], (packet.duration or 0) * unit
        if end is not None and time < end - max(_BACK, _REORDERED * length):
            now, latest = max(self._ends.values()), self.restarts
            # The last stretch, if another stream has begun it, and is not long past its time.
            if stretch == latest or stamp * unit + self._added[latest] < now - _APART:
                self._added.append(now - stamp * unit)
            self._stretch[index] = stretch = self.restarts
            self._begins[index] = end
            time = stamp * unit + self._added[stretch]
        self._ends[index] = max(time + length, end or time)
        self._shift(packet, stretch)
        return index not in self._begins or time >= self._begins[index] - unit

    def _shift(self, packet, stretch):
        added = round(self._added[stretch] / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + added
        packet.dts = None if packet.dts is None else packet.dts + added
