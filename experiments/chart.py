"""A line chart, drawn with Pillow."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE, MARGIN = (900, 520), (70, 20, 20, 50)
"""Of the chart: width and height, and the room left, above, right and below its lines."""
COLOURS = ((120, 120, 120), (40, 110, 220), (230, 140, 0), (200, 30, 60), (30, 150, 80))


def draw(lines, x_label, y_label):
    """Draw lines with axes and a legend.

    Args:
        lines: list of (label, xs, ys, colour's index); lines of one label have one entry in the
            legend.
        x_label: what xs are, with the unit.
        y_label: what ys are, with the unit.

    Returns:
        uint8 H×W×3 RGB.

    Raises:
        ValueError: for no lines.
    """
    if not lines:
        raise ValueError("there is nothing to draw")
    image = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    spans = [_span(np.concatenate([line[axis] for line in lines])) for axis in (1, 2)]
    place = _placer(*spans)
    for axis, label in ((0, x_label), (1, y_label)):
        _axis(pen, font, spans, axis, place, label)
    for _, xs, ys, colour in lines:
        points = [place(x, y) for x, y in zip(xs, ys, strict=True)]
        pen.line(points, fill=COLOURS[colour], width=2)
        for x, y in points:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLOURS[colour])
    legend = dict.fromkeys((label, colour) for label, _, _, colour in lines)
    for row, (label, colour) in enumerate(legend):
        x, y = SIZE[0] - 230, SIZE[1] - MARGIN[3] - 24 * (len(legend) - row)
        pen.line((x, y + 9, x + 30, y + 9), fill=COLOURS[colour], width=3)
        pen.text((x + 40, y), label, fill="black", font=font)
    return np.asarray(image)


def _span(values):
    """Return ticks at round numbers around all values."""
    extent = float(np.max(values) - np.min(values)) or 1.0
    step = 10.0 ** np.floor(np.log10(extent / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if extent / (factor * step) <= 8)
    first, last = np.floor(np.min(values) / step), np.ceil(np.max(values) / step)
    return np.arange(first, max(last, first + 1) + 1) * step


def _placer(xs, ys):
    left, above, right, below = MARGIN
    width, height = SIZE[0] - left - right, SIZE[1] - above - below

    def place(x, y):
        across, up = (x - xs[0]) / (xs[-1] - xs[0]), (y - ys[0]) / (ys[-1] - ys[0])
        return left + across * width, above + (1 - up) * height

    return place


def _axis(pen, font, spans, axis, place, label):
    """Draw grid lines, their values, and what they are."""
    xs, ys = spans
    for tick in spans[axis]:
        ends = [(tick, ys[0]), (tick, ys[-1])] if axis == 0 else [(xs[0], tick), (xs[-1], tick)]
        ends = [place(*end) for end in ends]
        pen.line(ends, fill=(225, 225, 225))
        offset, anchor = ((0, 6), "ma") if axis == 0 else ((-6, 0), "rm")
        where = tuple(np.add(ends[0], offset))
        pen.text(where, f"{tick:g}", fill="black", font=font, anchor=anchor)
    if axis == 0:
        pen.text((SIZE[0] / 2, SIZE[1] - 6), label, fill="black", font=font, anchor="md")
    else:
        pen.text((MARGIN[0] + 8, MARGIN[1] + 2), label, fill="black", font=font)
