"""Figures that compare pictures: labelled panels side by side, with enlarged crops below each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from neid_tf import evaluation
from neid_tf.support.errors import NeidError

CELL, GAP, FRAME = 320, 8, 2
"""Width of a panel, space around it, and width of the frames of crops, in pixels."""

LABEL_HEIGHT, LABEL_SIZE = 26, 17
"""Height of a label and the size of its letters, in pixels."""

COLOURS = ((230, 40, 40), (40, 130, 255), (255, 190, 0), (40, 200, 80))
"""RGB of the frames of the first crop, the second, and so on."""

_MOST_COLUMNS = 5


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


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """A picture and the label above it.

    Attributes:
        label: one line of text.
        pixels: uint8 H×W×3 RGB.

    Raises:
        ValueError: if pixels have another shape or type.
    """

    label: str
    pixels: np.ndarray

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
            raise NeidError(f"a panel's pixels are uint8 H×W×3, not {dtype} {shape}")


def compare(
    picture: np.ndarray,
    methods: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    reference: np.ndarray | None = None,
) -> list[Panel]:
    """Return panels of a picture, what each method makes of it, and the reference.

    Args:
        picture: uint8 H×W×3 RGB.
        methods: functions from such a picture to an enhanced one, by their labels.
        reference: the same shape; PSNR and SSIM of the others are then in their labels. They are
            those of :mod:`neid_tf.evaluation`.

    Raises:
        ValueError: for a reference of another shape or type, or smaller than 11×11.
    """
    shown = {"Input": picture}
    for label, method in methods.items():
        shown[label] = method(picture)
    if reference is None:
        return [Panel(label, pixels) for label, pixels in shown.items()]
    scored = [Panel(_scored(label, reference, p), p) for label, p in shown.items()]
    return [*scored, Panel("Reference", reference)]


def _scored(label, reference, output):
    scores = evaluation.score(reference, output)
    return f"{label}  {scores['psnr']:.2f} dB / {scores['ssim']:.3f}"


def choose_crops(guide: np.ndarray, count: int = 2) -> list[Crop]:
    """Choose squares that show what matters, the one in the dark first.

    The squares have a sixth of the shorter side (16 pixels at least, if the picture has them)
    and lie on a grid of half that. They are split by mean brightness into ``count`` groups of one
    size; of each the square with most detail is taken that overlaps none taken before. Detail is
    the mean gradient of the logarithm of the luminance, at half size so that noise counts less.

    Args:
        guide: uint8 H×W×3 RGB: the reference, or else the input.
        count: how many to choose, up to the number of :data:`COLOURS`.

    Returns:
        The crops; fewer than ``count`` where a small picture has no room for more.
    """
    shorter = min(guide.shape[:2])
    side = max(shorter // 6, min(shorter, 16))
    squares = _grid(guide.shape, side)
    gray = evaluation.luminance(guide)
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


def figure(
    panels: Sequence[Panel], crops: Sequence[Crop] = (), columns: int | None = None
) -> np.ndarray:
    """Draw panels in rows on white: label, picture, and below it the crops, enlarged.

    Pictures are scaled to :data:`CELL` at their longer side. Each crop is framed in its colour,
    in the picture as well, and enlarged without smoothing.

    Args:
        panels: at least one, of pictures of one size.
        crops: up to one for each of :data:`COLOURS`.
        columns: panels in a row; None for five at most, in rows of about one length.

    Returns:
        uint8 RGB.

    Raises:
        ValueError: for no panels, pictures of several sizes, too many crops, a crop that is not
            inside the pictures, or less than one column.
    """
    _check(panels, crops, columns)
    columns = columns or math.ceil(len(panels) / math.ceil(len(panels) / _MOST_COLUMNS))
    cells = [_cell(panel, crops) for panel in panels]
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
    return np.concatenate(rows, axis=0)


def _check(panels, crops, columns):
    sizes = {panel.pixels.shape for panel in panels}
    if len(sizes) != 1:
        raise NeidError(f"a figure has pictures of one size, not of {sorted(sizes) or 'none'}")
    if len(crops) > len(COLOURS):
        raise NeidError(f"at most {len(COLOURS)} crops have room in a figure, not {len(crops)}")
    if columns is not None and columns < 1:
        raise NeidError(f"a figure has at least one column, not {columns}")


def _cell(panel, crops):
    """Draw one panel, :data:`CELL` wide within its margin."""
    shown = _fit(panel.pixels, CELL, CELL)
    parts = [label(panel.label), _centred(_with_frames(shown, panel.pixels.shape, crops))]
    if crops:
        room = (CELL - GAP * (len(crops) - 1)) // len(crops)
        parts += [np.full((GAP, CELL, 3), 255, np.uint8)]
        parts += [_centred(_side_by_side([_zoomed(panel, *c, room) for c in _coloured(crops)]))]
    margin = [(GAP // 2, GAP), (GAP // 2, GAP // 2), (0, 0)]
    return np.pad(np.concatenate(parts, axis=0), margin, constant_values=255)


def _coloured(crops):
    return list(zip(crops, COLOURS, strict=False))


def _fit(pixels, width, height):
    """Scale a picture to touch a box from inside."""
    factor = min(width / pixels.shape[1], height / pixels.shape[0])
    size = [max(round(length * factor), 1) for length in pixels.shape[1::-1]]
    enlarge = cv2.INTER_NEAREST if factor > 1.0 else cv2.INTER_AREA
    return cv2.resize(pixels, size, interpolation=enlarge)


def _with_frames(shown, shape, crops):
    """Draw the crops' frames into a picture that was scaled from ``shape``."""
    shown = np.ascontiguousarray(shown).copy()
    down, across = shown.shape[0] / shape[0], shown.shape[1] / shape[1]
    for crop, colour in _coloured(crops):
        first = (round(crop.left * across), round(crop.top * down))
        right, bottom = crop.left + crop.width, crop.top + crop.height
        last = (round(right * across) - 1, round(bottom * down) - 1)
        cv2.rectangle(shown, first, last, colour, FRAME)
    return shown


def _zoomed(panel, crop, colour, room):
    inner = _fit(crop.of(panel.pixels), room - 2 * FRAME, room - 2 * FRAME)
    framed = np.empty((inner.shape[0] + 2 * FRAME, inner.shape[1] + 2 * FRAME, 3), np.uint8)
    framed[:] = colour
    framed[FRAME:-FRAME, FRAME:-FRAME] = inner
    return framed


def _side_by_side(pictures):
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + GAP * (len(pictures) - 1)
    row, left = np.full((height, width, 3), 255, np.uint8), 0
    for picture in pictures:
        row[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + GAP
    return row


def _centred(pixels):
    left = (CELL - pixels.shape[1]) // 2
    sides = [(0, 0), (left, CELL - pixels.shape[1] - left), (0, 0)]
    return np.pad(pixels, sides, constant_values=255)


def label(text: str) -> np.ndarray:
    """Draw one line of text, black on white, smaller where it is too long for a panel.

    Returns:
        uint8 RGB, :data:`LABEL_HEIGHT` × :data:`CELL`.
    """
    image = Image.new("RGB", (CELL, LABEL_HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    size = LABEL_SIZE
    while size > 4 and draw.textlength(text, font=ImageFont.load_default(size)) > CELL:
        size -= 1
    middle = (CELL / 2, LABEL_HEIGHT / 2)
    draw.text(middle, text, fill="black", font=ImageFont.load_default(size), anchor="mm")
    return np.asarray(image)


def stack(figures: Sequence[np.ndarray]) -> np.ndarray:
    """Lay figures one below the other, on white.

    Raises:
        ValueError: for no figures.
    """
    if not figures:
        raise NeidError("there are no figures to lay below each other")
    widest = max(figure.shape[1] for figure in figures)
    sides = [[(0, 0), (0, widest - f.shape[1]), (0, 0)] for f in figures]
    padded = [np.pad(f, s, constant_values=255) for f, s in zip(figures, sides, strict=True)]
    return np.concatenate(padded, axis=0)
