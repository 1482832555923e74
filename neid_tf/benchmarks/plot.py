"""A plot of time and memory against size, drawn with Pillow."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (1200, 560)
"""Width and height of a plot, in pixels."""
_BOXES = ((90, 60, 570, 480), (690, 60, 1170, 480))  # left, top, right, bottom of the axes
_COLOURS = ((200, 60, 40), (40, 90, 200), (30, 150, 70), (160, 90, 180))
_QUANTITIES = {"seconds": ("seconds", 1.0), "peak_bytes": ("gigabytes added at the peak", 1e-9)}


def growth(rows):
    """Draw time and memory against size, both axes logarithmic.

    Args:
        rows: what :func:`neid_tf.benchmarks.sizes.growth` gave.

    Returns:
        The bytes of a PNG. A gray line grows in proportion to the size.
    """
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    for box, (key, (title, factor)) in zip(_BOXES, _QUANTITIES.items(), strict=True):
        series = {
            name: [(r["megapixels"], r[key] * factor) for r in values if r[key] is not None]
            for name, values in rows.items()
        }
        _axes(draw, box, title, {name: points for name, points in series.items() if points})
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _axes(draw, box, title, series):
    left, top, right, bottom = box
    draw.rectangle(box, outline="black")
    _text(draw, ((left + right) / 2, top - 20), title, 18)
    _text(draw, ((left + right) / 2, bottom + 50), "megapixels", 15)
    points = [point for values in series.values() for point in values]
    if not points:
        return _text(draw, ((left + right) / 2, (top + bottom) / 2), "not measured", 15)
    ranges = [_decades(values) for values in zip(*points, strict=True)]

    def place(point):
        shares = [
            (np.log10(value) - low) / (high - low)
            for value, (low, high) in zip(point, ranges, strict=True)
        ]
        return left + shares[0] * (right - left), bottom - shares[1] * (bottom - top)

    _grid(draw, box, ranges, place)
    _proportional(draw, ranges, points, place)
    for index, (name, values) in enumerate(series.items()):
        colour, places = _COLOURS[index % len(_COLOURS)], [place(point) for point in values]
        draw.line(places, colour, 3)
        for x, y in places:
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), colour)
        _text(draw, (left + 12, top + 18 + 22 * index), name, 16, colour, "lm")
    return None


def _decades(values):
    """Return the powers of ten, as exponents, that hold values (nearly, at the ends)."""
    low = int(np.floor(np.log10(min(values)) + 0.01))
    high = int(np.ceil(np.log10(max(values)) - 0.01))
    return low, max(high, low + 1)


def _grid(draw, box, ranges, place):
    left, top, right, bottom = box
    (x_low, x_high), (y_low, y_high) = ranges
    for exponent in range(x_low, x_high + 1):
        x, _ = place((10.0**exponent, 10.0**y_low))
        draw.line((x, top, x, bottom), (215, 215, 215))
        _text(draw, (x, bottom + 18), f"{10.0**exponent:g}", 14)
    for exponent in range(y_low, y_high + 1):
        _, y = place((10.0**x_low, 10.0**exponent))
        draw.line((left, y, right, y), (215, 215, 215))
        _text(draw, (left - 10, y), f"{10.0**exponent:g}", 14, anchor="rm")


def _proportional(draw, ranges, points, place):
    """Draw what grows with the size, through the largest value, as far as the axes go."""
    size, value = max(points)
    least = max(10.0 ** ranges[0][0], 10.0 ** ranges[1][0] * size / value)
    draw.line([place((least, value * least / size)), place((size, value))], (150, 150, 150), 2)


def _text(draw, place, text, size, colour="black", anchor="mm"):
    draw.text(place, text, fill=colour, font=ImageFont.load_default(size), anchor=anchor)
