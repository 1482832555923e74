"""Bars at the sides of a picture: letterbox, pillars, white margins and frames.

The network reads the exposure off the whole picture, and black or white bars are no part of what
it shows. They are left as they are, and what is inside of them is enhanced as a picture.
"""

from __future__ import annotations

import itertools

import numpy as np

from neid_tf.pixels.samples import white

_WHITE = 255.0
_LEVELS = {0.0: 2.0, 16.0: 2.0, _WHITE: 6.0}
"""Black, a television's black and white, and by how much a bar's line is off in the mean: little,
what is dark may be."""
_FAR, _FEW = 16.0, 0.02
"""By how much more in few places, and in what share of them."""
_PICTURE, _SOON = 4.0, 10
"""A bar ends where a line is off by so much in the mean, within so many lines."""
_SLOPE = 0.4
"""By how much more a bar may be off at its end than at the border, but for what a codec mixes."""
_MOST, _LEAST = 0.75, 32
"""What share of a side bars take at most, and how many pixels are left at least."""
_STAY, _NEXT = 0.5, 16
"""What share of so many lines next to the picture has to be there for a bar to stay."""
_BLOCK = 8
"""As many lines a codec mixes at most: those of one of its blocks."""
_TEXT, _PLAIN, _HARD = 0.3, 0.5, 0.1
"""What share of a side a bar with text takes at most, what share of each of its lines is plain at
least, and of the picture's first line at most."""
_STEP = 64

_NO = 0, 0, False

Place = tuple[slice, slice]
"""Rows and columns of a picture."""


def inside(image: np.ndarray) -> tuple[Place, Place] | None:
    """Return what is inside of bars: those of one level, black or white, at opposite sides.

    There may be text in them. One side alone may be a black sky, or a white wall; a white strip
    counts there, as below a picture with its caption, where it ends in a straight edge.

    Args:
        image: H×W×3, uint8, uint16 or float in [0, 1].

    Returns:
        What is between the bars, and the part of it that a codec has not mixed with them; None
        where there are no bars.
    """
    height, width = image.shape[:2]
    rows = _between(image)
    columns = _between(image[rows[0]].swapaxes(0, 1))
    if rows[0] == slice(0, height) and columns[0] != slice(0, width):
        rows = _between(image[:, columns[0]])  # Of a frame, the pillars hide the bars.
    place, core = zip(rows, columns, strict=True)
    return None if place == (slice(0, height), slice(0, width)) else (place, core)


class Steady:
    """Which bars the frames of a video have: they stay until there is picture in them.

    So they do in black frames, and where there is text in a bar.
    """

    def __init__(self) -> None:
        self._place: Place | None = None
        self._size: tuple[int, ...] = ()

    def __call__(self, image: np.ndarray) -> Place | None:
        """Return what is between the bars of the next frame; None where there are none."""
        is_held = self._place and self._size == image.shape[:2]
        if not (is_held and _stay(image, self._place)):
            found = inside(image)
            self._place, self._size = found and found[0], image.shape[:2]
        return self._place


def _stay(image, place):
    """Tell whether most lines next to a place are still those of bars."""
    rows, columns = place
    across = image[rows].swapaxes(0, 1)
    sides = (
        image[max(rows.start - _NEXT, 0) : rows.start],
        image[rows.stop : rows.stop + _NEXT],
        across[max(columns.start - _NEXT, 0) : columns.start],
        across[columns.stop : columns.stop + _NEXT],
    )
    return all(
        any(_even(side, level).mean() >= _STAY for level in _LEVELS) for side in sides if len(side)
    )


def framed(image: np.ndarray, made: np.ndarray, place: Place, scale: int) -> np.ndarray:
    """Return what was made of the inside of a picture within its bars.

    Args:
        image: the picture, H×W×3.
        made: of its inside, of the same type, so many times as large.
        place: of the inside.
        scale: how many times.
    """
    whole = image.repeat(scale, axis=0).repeat(scale, axis=1) if scale > 1 else image.copy()
    rows, columns = (slice(part.start * scale, part.stop * scale) for part in place)
    whole[rows, columns] = made
    return whole


def _between(lines):
    """Return the part of the lines between bars, and that without mixed ones; all for none."""
    count = len(lines)
    for level in _LEVELS:
        first, soft, alone = _bar(lines, level)
        last, soft_last, last_alone = _bar(lines[::-1], level) if first or level == _WHITE else _NO
        counts = (first and last) or alone or last_alone
        if counts and count - first - last >= max((1 - _MOST) * count, _LEAST):
            stop = count - last
            return slice(first, stop), slice(first + soft, stop - soft_last)
    return slice(0, count), slice(0, count)


def _bar(lines, level):
    """Return how many lines, from the first on, are a bar of a level, and how many then are mixed.

    Both are 0 for what has no end. Returns as well whether it is one without another one opposite.
    """
    # Most pictures show in the first line that they have none.
    for start, stop in itertools.pairwise((0, *range(1, len(lines), _STEP), len(lines))):
        even = _even(lines[start:stop], level)
        if even.all():
            continue
        end = start + int(np.argmin(even))
        if not end or _slopes(lines[:end], level):
            return _NO
        edge = _edge(lines, level)
        end = max(end, edge)
        behind = _off(lines[end : end + 2 * _BLOCK], level).mean(axis=1)
        if not (behind[:_SOON] >= _PICTURE).any():
            return _NO
        mixed = behind[:_BLOCK] < np.median(behind) / 2
        soft = int(np.argmin(mixed)) if not mixed.all() else _BLOCK
        return end, soft, level == _WHITE and end == edge
    return _NO


def _edge(lines, level):
    """Return after how many lines, some with text, a bar ends in a straight edge; 0 for nowhere."""
    reach = int(_TEXT * len(lines))
    off = _off(lines[: reach + _BLOCK + 1], level)
    plain = (off <= _FAR).mean(axis=1)
    even = _even(lines[:reach], level)
    ends = np.flatnonzero(even[:-1] & ~even[1:]) + 1
    steps = (plain[:-1] >= _PLAIN) & (plain[1:] <= _HARD)
    straight = (int(end) for end in ends if steps[end - 1 : end + _BLOCK].any())
    return max((end for end in straight if plain[:end].min() >= _PLAIN), default=0)


def _slopes(lines, level):
    """Tell whether a long bar goes over into the picture slowly, as a dark sky does."""
    if len(lines) < 4 * _BLOCK:
        return False
    first, last = _off(lines[: 2 * _BLOCK], level), _off(lines[-3 * _BLOCK : -_BLOCK], level)
    return bool(abs(float(last.mean()) - float(first.mean())) > _SLOPE)


def _even(lines, level):
    """Tell which lines are of a level."""
    off = _off(lines, level)
    return (off.mean(axis=1) <= _LEVELS[level]) & ((off > _FAR).mean(axis=1) < _FEW)


def _off(lines, level):
    """Return by how much pixels are off a level of 255, in the channel that is most so."""
    levels = lines.astype(np.float32) * np.float32(255 / white(lines.dtype))
    return np.abs(levels - np.float32(level)).max(axis=-1)
