"""A plot of time and memory against size, drawn by matplotlib."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from neid_tf.support.libraries import optional_import

SIZE = (1200, 560)
"""Width and height of a plot, in pixels."""
_COLOURS = ((200, 60, 40), (40, 90, 200), (30, 150, 70), (160, 90, 180))
_GRAY = "0.6"
_QUANTITIES = {"seconds": ("seconds", 1.0), "peak_bytes": ("gigabytes added at the peak", 1e-9)}

Points = list[tuple[float, float]]


def growth(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Draw time and memory against size, both axes logarithmic.

    Args:
        rows: what :func:`neid_tf.benchmarks.sizes.growth` gave.

    Returns:
        The bytes of a PNG. A gray line grows in proportion to the size.

    Raises:
        MissingLibraryError: where matplotlib is not installed.
    """
    with optional_import("a plot"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=[side / 100 for side in SIZE], dpi=100, layout="constrained")
    for axes, (key, (title, factor)) in zip(
        figure.subplots(1, 2), _QUANTITIES.items(), strict=True
    ):
        series = {
            name: [(r["megapixels"], r[key] * factor) for r in values if r[key] is not None]
            for name, values in rows.items()
        }
        _draw(axes, title, {name: points for name, points in series.items() if points})
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _draw(axes: Any, title: str, series: Mapping[str, Points]) -> None:
    axes.set(title=title, xlabel="megapixels")
    points = [point for values in series.values() for point in values]
    if not points:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
        return
    axes.set(xscale="log", yscale="log")
    axes.grid(color="0.85")
    for index, (name, values) in enumerate(series.items()):
        colour = [level / 255 for level in _COLOURS[index % len(_COLOURS)]]
        axes.plot(*zip(*values, strict=True), color=colour, marker="o", linewidth=3, label=name)
    size, value = max(points)
    least = min(point[0] for point in points)
    axes.plot(
        [least, size], [value * least / size, value], color=_GRAY, zorder=1, label="in proportion"
    )
    axes.legend()
