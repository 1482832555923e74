"""Enhancing the frames of a video so that they do not flicker.

What the network reads off each whole frame (its *context*: the tone and the fusing vector)
trembles with the noise, and the brightness with it. So the context is averaged over time.
"""

import dataclasses
import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from neid_tf.inference.bars import Steady, framed
from neid_tf.inference.enhance import Enhancement, check_settings, finished, halves
from neid_tf.inference.network import Context, as_network
from neid_tf.inference.tiles import Tiled, in_tiles
from neid_tf.pixels.resample import area_reduce, halve, pad_to_even
from neid_tf.pixels.samples import as_gray, is_gray, to_float, to_type, white
from neid_tf.support.beside import in_order
from neid_tf.support.errors import NeidError
from neid_tf.video.coding import Turn

SMOOTHING = 0.5
"""Time constant of the average over time, in seconds."""
READ_EVERY = 0.2
"""Seconds in which what is averaged is read off a frame once: the average is over more."""
SCENE_CUT = 0.25
"""The :func:`scene_change` from which on a frame begins a new scene."""

STORED_AS_SHOWN = Turn()
_BATCH, _BATCH_PIXELS = 4, 2**20  # frames at a time, and pixels of the model's input


@dataclasses.dataclass(eq=False)
class Frame:
    """A frame of a video.

    Attributes:
        pixels: H×W×3 RGB, uint8 or uint16.
        pts: when it is shown, in units of the video's time base.
        duration: for how long, in these units.
        time: when it is shown, in seconds.
    """

    pixels: np.ndarray
    pts: int
    duration: int
    time: float


class Enhancer:
    """Enhances frames batch by batch, with a context averaged over time where there is one.

    Args:
        model: as in :func:`neid_tf.enhance`.
        scale: 1 or 2, as in :func:`neid_tf.enhance`.
        strength: as in :func:`neid_tf.enhance`.
        smoothing: time constant in seconds; 0 enhances each frame by itself.
        upright: how frames are turned when they are shown. They are turned so for the network: how
            bright a picture is meant to be, and where, depends on which side is up.

    Raises:
        ValueError: for a scale, strength or smoothing out of range.
    """

    def __init__(
        self,
        model: object,
        scale: int = 1,
        strength: float = 1.0,
        smoothing: float = SMOOTHING,
        upright: Turn = STORED_AS_SHOWN,
    ) -> None:
        network = as_network(model)
        self.network = network.network if isinstance(network, Tiled) else network
        check_settings(self.network, scale, strength)
        is_number = isinstance(smoothing, numbers.Real) and np.isfinite(smoothing)
        if not (is_number and smoothing >= 0.0):
            raise NeidError(f"smoothing must be a number of at least 0, not {smoothing!r}")
        self.scale, self.strength = scale, strength
        self.halves = halves(self.network, scale)
        self.average = TimeAverage(smoothing) if smoothing and self.network.context else None
        self._smoothed = SmoothedContext(self.average) if self.average else None
        self._upright, self._bars = upright, Steady()
        # A picture is as bright at scale 2 as at scale 1: see Enhancement.
        self._reads = bool(self.network.context and (self.average or scale == 2))
        tiled = in_tiles(network)
        large = Enhancement(tiled, scale, strength, bars=False)
        self._large = large if isinstance(tiled, Tiled) else None

    @property
    def cuts(self) -> int:
        """Scene cuts so far; 0 where nothing is averaged."""
        return self.average.cuts if self.average else 0

    def batch_size(self, width: int, height: int) -> int:
        """Return how many frames of a size are computed at a time.

        Args:
            width, height: of a frame, in pixels.
        """
        most = self.network.beside if self.network.beside > 1 else _BATCH
        return max(1, min(most, _BATCH_PIXELS // max(self._inputs(width, height), 1)))

    def _inputs(self, width, height):
        """Return how many pixels of the network's input a frame has."""
        return width * height // (4 if self.halves else 1)

    def __call__(self, frames: Sequence[Frame]) -> list[np.ndarray]:
        """Enhance :class:`Frame` s that follow each other and the ones of the last call.

        Returns:
            Their pixels, uint8 H×W×3 (2H×2W×3 for a scale of 2).

        Raises:
            NetworkError: where the network fails, or gives another number of pictures, another
                size, or values that are no numbers.
            ValueError: for pixels that are not as :class:`Frame` says, or of several sizes.
        """
        if not frames:
            return []
        shown, made = self._shown(frames), []
        for place, group in itertools.groupby(map(self._place, shown)):
            part = slice(len(made), len(made) + len(list(group)))
            made += self._within(place, shown[part], frames[part])
        return made

    def _place(self, image):
        """Return what is between the bars of the next frame; None for all of it."""
        return self._bars(image) if self.network.context else None

    def _within(self, place, shown, frames):
        """Enhance what is between the bars of frames."""
        parts = _parts(shown, place)
        height, width = parts.shape[1:3]
        if self._large and self._inputs(width, height) > _BATCH_PIXELS:
            made = [self._in_tiles(*pair) for pair in zip(parts, frames, strict=True)]
        else:
            made = self._at_once(parts, frames)
        return [self._stored(*pair, place) for pair in zip(shown, made, strict=True)]

    def _stored(self, image, made, place):
        """Return an enhanced frame with its bars, turned back."""
        if place:
            made = framed(to_type(image, np.uint8), made, place, self.scale)
        return np.ascontiguousarray(self._upright.back(made[None])[0])

    def _shown(self, frames):
        """Return the pixels of frames as they are shown, N×H×W×3."""
        for pixels in (np.asarray(frame.pixels) for frame in frames):
            if pixels.dtype not in (np.uint8, np.uint16):
                raise NeidError(f"a frame's pixels are uint8 or uint16, not {pixels.dtype}")
            if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
                raise NeidError(f"a frame has the shape (height, width, 3), not {pixels.shape}")
        if len({frame.pixels.shape for frame in frames}) > 1:
            raise NeidError("frames of several sizes: each size wants a call of its own")
        return np.ascontiguousarray(self._upright(np.stack([frame.pixels for frame in frames])))

    def each(self, frames: Iterable[Frame], size: int) -> Iterator[tuple[Frame, np.ndarray]]:
        """Enhance frames of one size that follow each other; yield each and what a call gives.

        Frames are asked for in the caller's thread, some ahead of what is yielded. Where the
        network is best run so, several are computed beside each other.

        Args:
            frames: all that there are.
            size: how many are computed at a time: :meth:`batch_size`.

        Raises:
            NetworkError: as for a call.
        """
        frames = iter(frames)
        network, beside = self.network.workers(size)
        if beside > 1:
            yield from self._beside(network, frames, beside)
        while batch := list(itertools.islice(frames, size)):
            yield from zip(batch, self(batch), strict=True)
            batch.clear()  # Before the next ones are asked for.

    def _beside(self, network, frames, count):
        def compute(frame, image, place, *prepared):
            [pixels] = self._computed(network, *prepared)
            return frame, self._stored(image, pixels, place)

        def calls():
            for frame in frames:
                shown = self._shown([frame])
                place = self._place(shown[0])
                prepared = self._prepared(network, _parts(shown, place), [frame])
                yield frame, shown[0], place, *prepared

        return in_order(compute, calls(), count)

    def _at_once(self, shown, frames):
        return self._computed(self.network, *self._prepared(self.network, shown, frames))

    def _prepared(self, network, shown, frames):
        """Return what :meth:`_computed` is given: the frames, halved, full size, their context."""
        if self.halves:
            images = np.stack([halve(pixels, white(shown.dtype)) for pixels in shown])
        else:
            images = to_float(shown)
        full = pad_to_even(shown) if network.refines and self.halves else None
        if not self._reads:
            return shown, images, full, {}

        def read(batch):
            small = [halve(image) for image in batch] if self.scale == 2 else batch
            return network.read_context(np.asarray(small))

        return shown, images, full, self._context(read, images, frames)

    def _computed(self, network, shown, images, full, context):
        height, width = (size * self.scale for size in shown.shape[1:3])
        output = network.run_with_context(images, context, None, full)[:, :height, :width]
        done = [
            finished(made, self.strength, image, np.empty(made.shape, np.uint8))
            for image, made in zip(shown, output, strict=True)
        ]
        return [
            as_gray(made) if network.context and is_gray(image) else made
            for image, made in zip(shown, done, strict=True)
        ]

    def _in_tiles(self, shown, frame):
        """Enhance a large frame as a large picture, under the averaged context."""
        batch = self._large.prepare(shown)
        context = self._context(self._large.read_context, batch, [frame]) if self._reads else None
        return to_type(self._large.compute(shown, batch, context), np.uint8)

    def _context(self, read, images, frames):
        """Return the context of frames that follow each other, averaged over time."""
        if not self._smoothed:
            return read(images)
        given = [
            self._smoothed(read, image[None], frame.time)
            for image, frame in zip(images, frames, strict=True)
        ]
        return {name: np.concatenate([one[name] for one in given]) for name in given[0]}


def _parts(shown, place):
    """Return the parts of frames N×H×W×3 at a place; all of them for None."""
    return shown if place is None else np.ascontiguousarray(shown[:, place[0], place[1]])


class TimeAverage:
    """An exponential moving average of vectors over time, begun anew at each scene cut.

    Args:
        seconds: the time constant: a vector this old weighs 1/e of a new one.

    Attributes:
        cuts: how often it has begun anew.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.cuts, self._last = seconds, 0, None

    def __call__(
        self, vectors: dict[str, np.ndarray], small: np.ndarray, time: float
    ) -> dict[str, np.ndarray]:
        """Take in a frame's vectors and return the average.

        Args:
            vectors: dictionary of arrays, the same names and shapes each time.
            small: the frame's :func:`thumbnail`.
            time: the frame's, in seconds.
        """
        if self._last is not None:
            old, _, time_before = self._last
            if not self.begins_anew(small):
                weight = -math.expm1(-max(time - time_before, 0.0) / self.seconds)
                vectors = {name: old[name] + weight * (vectors[name] - old[name]) for name in old}
            else:
                self.cuts += 1
        self._last = vectors, small, time
        return vectors

    def begins_anew(self, small: np.ndarray) -> bool:
        """Tell whether a frame with this :func:`thumbnail`, as the next one, begins a new scene."""
        return self._last is None or scene_change(self._last[1], small) >= SCENE_CUT


class SmoothedContext:
    """What the network reads off whole frames, averaged over time; read often enough for that.

    The average goes towards what was read last with each frame, so that it makes no steps.

    Args:
        average: over time.
    """

    def __init__(self, average: TimeAverage) -> None:
        self.average, self._vectors, self._read = average, None, 0.0

    def __call__(
        self, read: Callable[[np.ndarray], Context], batch: np.ndarray, time: float
    ) -> Context:
        """Return the context of a frame that follows those of the last calls.

        Args:
            read: returns the context of a batch.
            batch: 1×h×w×3 in [0, 1], what the network is given of the frame.
            time: the frame's, in seconds.
        """
        small = thumbnail(batch[0])
        if self.average.begins_anew(small) or not 0 <= time - self._read < READ_EVERY:
            self._vectors = {name: vectors[0] for name, vectors in read(batch).items()}
            self._read = time
        context = self.average(self._vectors, small, time)
        return {name: vector[None] for name, vector in context.items()}


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Average a frame, H×W×3 in [0, 1], over 16×16 cells, where noise and motion count little."""
    return area_reduce(image, 16)


def scene_change(before: np.ndarray, after: np.ndarray) -> float:
    """Return how much two thumbnails differ: mean absolute difference over mean brightness.

    0 for equal frames. Measured on photographs, bright and down to a twelfth of that with noise:
    noise stays below 0.05, a pan by 5 % of the width below 0.3, and of two unlike photographs
    19 in 20 are above 0.25, half above 0.4. A lamp switched on counts as a new scene too; the same
    scene with less light does not, as at the end of a fade to black: there the differences to as
    much of ``before`` count.

    Args:
        before, after: h×w×3 in [0, 1], of one size.
    """
    means = np.mean(before), np.mean(after)
    less = min(means[1] / max(means[0], 1e-6), 1.0)
    changes = (
        np.mean(np.abs(share * before - after))
        / ((share * means[0] + means[1]) / 2.0 + 1.0 / 255.0)
        for share in (1.0, less)
    )
    return float(min(changes))
