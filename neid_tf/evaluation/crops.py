"""Crops of a picture that figures enlarge: which ones show what matters."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from neid_tf.pixels.samples import luminance
from neid_tf.support.errors import NeidError


class Crop(NamedTuple):
    """A rectangle of a picture, in pixels from its upper left corner."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Return the crop's part of a picture, H×W×3.

        Raises:
            ValueError: if the crop is empty or does not lie inside the picture.
        """
        height, width = pixels.shape[:2]
        bottom, right = self.top + self.height, self.left + self.width
        inside = 0 <= self.top < bottom <= height and 0 <= self.left < right <= width
        if not inside:
            given = ",".join(map(str, self))
            raise NeidError(
                f"the crop {given} (top,left,height,width) is not inside {width}×{height} pixels"
            )
        return pixels[self.top : bottom, self.left : right]


def choose_crops(guide: np.ndarray, count: int = 2) -> list[Crop]:
    """Choose squares that show what matters, the one in the dark first.

    The squares have a sixth of the shorter side (16 pixels at least, if the picture has them)
    and lie on a grid of half that. They are split by mean brightness into ``count`` groups of one
    size; of each the square with most detail is taken that overlaps none taken before. Detail is
    the mean gradient of the logarithm of the luminance, at half size so that noise counts less.

    Args:
        guide: uint8 H×W×3 RGB: the reference, or else the input.
        count: how many to choose, up to the number of :data:`neid_tf.evaluation.panels.COLOURS`.

    Returns:
        The crops; fewer than ``count`` where a small picture has no room for more.
    """
    shorter = min(guide.shape[:2])
    side = max(shorter // 6, min(shorter, 16))
    squares = _grid(guide.shape, side)
    gray = luminance(guide)
    brightness = [square.of(gray).mean() for square in squares]
    detail = _detail(gray)
    amount = {square: square.of(detail).mean() for square in squares}
    chosen: list[Crop] = []
    for group in np.array_split(np.argsort(brightness, kind="stable"), count):
        free = [squares[i] for i in group if not any(_overlap(squares[i], c) for c in chosen)]
        chosen += [max(free, key=amount.get)] if free else []
    return chosen


def _grid(shape, side):
    step = max(side // 2, 1)
    tops, lefts = (range(0, length - side + 1, step) for length in shape[:2])
    return [Crop(top, left, side, side) for top in tops for left in lefts]


def _detail(gray):
    height, width = gray.shape
    half = cv2.resize(gray, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
    level = np.log(half + 8.0)
    steps = cv2.magnitude(cv2.Sobel(level, -1, 1, 0), cv2.Sobel(level, -1, 0, 1))
    return cv2.resize(steps, (width, height), interpolation=cv2.INTER_NEAREST)


def _overlap(one, two):
    apart_down = one.top >= two.top + two.height or two.top >= one.top + one.height
    apart_across = one.left >= two.left + two.width or two.left >= one.left + one.width
    return not (apart_down or apart_across)
