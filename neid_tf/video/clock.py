"""The times of a video: its clock may start anew midway, and that of a broadcast anywhere."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from fractions import Fraction

from neid_tf.video.completeness import is_broadcast

if typing.TYPE_CHECKING:
    import av

COVER = 0x400
"""The disposition of a stream that is a cover picture (AV_DISPOSITION_ATTACHED_PIC)."""
_BACK = Fraction(1, 2)  # Seconds by which a stream falls back where the clock starts anew.
_REORDERED = 8  # Frames by which those that depend on each other may be out of order.
_APART = 1  # Seconds that packets of one time may be apart in the file.
_AHEAD = 300  # Seconds that a broadcast hardly pauses for: where it jumps, its clock starts anew.
_USUAL = 4  # But where its pauses are of that length.


class Clock:
    """Lets the times of a broadcast begin at zero, and those of any file go on behind a restart.

    The clock of recordings that were joined starts anew, or that of a camera that was restarted.

    Attributes:
        strays: of how many packets the times were off and were set anew.

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
        self._pauses: dict[int, Fraction] = {}
        self._is_broadcast = is_broadcast(container)
        self.strays = 0

    @property
    def restarts(self) -> int:
        """How often it has started anew."""
        return len(self._added) - 1

    def settled(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """Yield packets of sound and picture when the next one of their stream is known.

        One whose time is off, though those before and behind it follow each other, is damaged: it
        gets the time between them. All but those of text come one later than they are.

        Args:
            packets: of all streams, in the file's order.
        """
        ends: dict[int, tuple[Fraction, Fraction]] = {}
        held: dict[int, av.Packet] = {}
        for packet in packets:
            if packet.stream.type not in ("video", "audio") or packet.stream.disposition & COVER:
                yield packet
                continue
            index = packet.stream.index
            if index in held:
                yield self._placed(held.pop(index), packet, ends)
            if packet.size:
                held[index] = packet
            else:
                yield packet
        yield from held.values()

    def _placed(self, packet, following, ends):
        """Return a packet, its times set anew if they are off; note where it ends."""
        index, unit = packet.stream.index, packet.time_base
        if packet.dts is None or following.dts is None:
            return packet
        length, later = (packet.duration or 0) * unit, _later(packet)
        if index in ends:
            end, usual = ends[index]
            slack = max(_BACK, _REORDERED * length)
            time, behind = packet.dts * unit - end, following.dts * unit - end
            off = time < -slack or time > max(slack, behind + slack)
            if off and -slack <= behind <= _APART + 2 * length:
                shift = round(end / unit) - packet.dts
                packet.dts += shift
                packet.pts = None if packet.pts is None else packet.pts + shift
                self.strays += 1
            # What is shown behind a pause may be decoded before what is shown before it.
            elif (packet.stream.type == "audio" or later < -slack) and (
                min(abs(later - usual), abs(later - _later(following))) > slack + _APART
            ):
                packet.pts = packet.dts if packet.stream.type == "audio" else None
                self.strays += 1
                later = usual
        ends[index] = packet.dts * unit + length, later
        return packet

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
        if end is not None and not self._goes_on(index, time, length):
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

    def _goes_on(self, index, time, length):
        """Tell whether a packet is of the stretch of those before it in its stream."""
        pause, longest = time - self._ends[index], self._pauses.get(index, 0)
        self._pauses[index] = max(pause, longest)
        far = time > max(self._ends.values()) + _AHEAD and pause > _USUAL * longest
        if self._is_broadcast and far:
            return False
        return pause >= -max(_BACK, _REORDERED * length)

    def _shift(self, packet, stretch):
        added = round(self._added[stretch] / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + added
        packet.dts = None if packet.dts is None else packet.dts + added


def _later(packet):
    """Return how much later a packet is shown than it is decoded, in seconds."""
    return 0 if packet.pts is None else (packet.pts - packet.dts) * packet.time_base
