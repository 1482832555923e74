"""Enhancing a stream as it comes: the newest frame at a time, and no more than can be done."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from neid_tf.inference.bars import Place, Steady, framed
from neid_tf.inference.enhance import Enhancement
from neid_tf.inference.tiles import in_tiles
from neid_tf.support.machine import usable_cores
from neid_tf.video.coding import reformatter, to_rgb
from neid_tf.video.frames import SMOOTHING, SmoothedContext, TimeAverage
from neid_tf.video.stream import Caught, Stream

SMALL = 500_000
"""Pixels of a frame up to which several are computed beside each other, each on one core."""
_LOOK = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Done:
    """An enhanced frame.

    Attributes:
        caught: the frame that it was.
        pixels: H×W×3 uint8, as it is shown.
        begun: when it was taken, by :func:`time.monotonic`.
        finished: when it was enhanced.
    """

    caught: Caught
    pixels: np.ndarray
    begun: float
    finished: float


class Live:
    """Enhances the frames of a stream, in their order, with a context averaged over time.

    Args:
        model: as for :func:`neid_tf.enhance`.
        scale, strength: as for :func:`neid_tf.enhance`.
        smoothing: time constant of the average, in seconds; 0 for each frame by itself.
    """

    def __init__(
        self, model: object, scale: int = 1, strength: float = 1.0, smoothing: float = SMOOTHING
    ) -> None:
        network = in_tiles(model)
        self.large = Enhancement(network, scale, strength, bars=False)
        self.small = self.large.on_one_core()
        self._reads, self._bars = bool(network.context), Steady()
        self._smoothed = SmoothedContext(TimeAverage(smoothing)) if smoothing else None
        self._converter = reformatter()

    def frames(
        self, stream: Stream, stop: threading.Event, idle: Callable[[], None] = lambda: None
    ) -> Iterator[Done]:
        """Yield enhanced frames until the stream has ended, or is to end.

        Args:
            stream: that is received.
            stop: ends it, after the frames that were begun.
            idle: is called now and then, also where no frame comes.
        """
        cores, begun = usable_cores(), collections.deque()
        with concurrent.futures.ThreadPoolExecutor(cores, "neid-live") as pool:
            while True:
                places = cores if begun and _is_small(begun[0].caught) else 1

                def can_go_on(places=places):
                    over = stop.is_set() or stream.has_ended
                    first = begun and begun[0].made.done()
                    return first or over or (stream.has_frame and len(begun) < places)

                with stream.changed:
                    stream.changed.wait_for(can_go_on, timeout=_LOOK)
                    over = stop.is_set() or stream.has_ended
                    takes = not over and stream.has_frame and len(begun) < places
                    caught = stream.take() if takes else None
                idle()
                if caught:
                    begun.append(self._begin(caught, pool, stream))
                while begun and (over or begun[0].made.done()):
                    yield begun.popleft().done()
                if over:
                    return

    def _begin(self, caught, pool, stream):
        """Do what has to be done in order, and leave the rest to the pool."""
        now = time.monotonic()
        pixels = to_rgb(self._converter, caught.frame, caught.color)
        image = np.ascontiguousarray(caught.turn(pixels[None])[0])
        place = self._bars(image) if self._reads else None
        part = np.ascontiguousarray(image[place]) if place else image
        batch = self.large.prepare(part)
        context = self._context(batch, caught.time) if self._reads else None
        steps = self.small if _is_small(caught) else self.large
        made = pool.submit(_computed, steps, image, place, (part, batch, context))
        made.add_done_callback(lambda _: _notify(stream.changed))
        return _Begun(caught, now, made)

    def _context(self, batch, seconds):
        read = self.large.read_context
        return self._smoothed(read, batch, seconds) if self._smoothed else read(batch)


@dataclasses.dataclass(frozen=True, eq=False)
class _Begun:
    caught: Caught
    begun: float
    made: concurrent.futures.Future

    def done(self) -> Done:
        pixels, finished = self.made.result()
        return Done(self.caught, pixels, self.begun, finished)


def _computed(steps: Enhancement, image: np.ndarray, place: Place | None, prepared: tuple):
    made = steps.compute(*prepared)
    made = framed(image, made, place, steps.scale) if place else made
    return made, time.monotonic()


def _notify(condition):
    with condition:
        condition.notify_all()


def _is_small(caught):
    return caught.frame.width * caught.frame.height <= SMALL


class Latencies:
    """How long frames took, to a millisecond, however many they were."""

    def __init__(self) -> None:
        self.counts = collections.Counter()

    def add(self, seconds: float) -> None:
        """Count a frame."""
        self.counts[round(1e3 * seconds)] += 1

    def share(self, part: float) -> int:
        """Return the milliseconds that a part of the frames took at most.

        Args:
            part: from 0 to 1.
        """
        rest = part * sum(self.counts.values())
        for milliseconds in sorted(self.counts):
            rest -= self.counts[milliseconds]
            if rest <= 0:
                return milliseconds
        return 0
