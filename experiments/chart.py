"""A line chart, drawn by matplotlib."""

from collections.abc import Sequence

import numpy as np

from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import optional_import

SIZE = (900, 520)
"""Width and height of a chart, in pixels."""
COLOURS = ((120, 120, 120), (40, 110, 220), (230, 140, 0), (200, 30, 60), (30, 150, 80))
"""RGB of the lines."""

Line = tuple[str, Sequence[float], Sequence[float], int]
"""Label, xs, ys, index of the colour."""


def draw(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    names_beside: bool = False,
    x_scale: str = "linear",
) -> np.ndarray:
    """Draw lines with axes, and a legend or the names beside them.

    Args:
        lines: what to draw; lines of one label have one entry in the legend.
        x_label: what xs are, with the unit.
        y_label: what ys are, with the unit.
        names_beside: whether names are beside the first points of the lines, with no legend.
        x_scale: of the xs, ``linear`` or ``log``.

    Returns:
        uint8 RGB, of :data:`SIZE`.

    Raises:
        NeidError: for no lines.
        MissingLibraryError: where matplotlib is not installed.
    """
    if not lines:
        raise NeidError("there is nothing to draw")
    with optional_import("a chart"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=[side / 100 for side in SIZE], dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label, xscale=x_scale)
    axes.grid(color="0.9")
    for label, xs, ys, colour in lines:
        shade = [level / 255 for level in COLOURS[colour]]
        axes.plot(xs, ys, color=shade, marker="o", markersize=5, linewidth=2, label=label)
        if names_beside:
            place = (7, 5 if colour else -14)
            axes.annotate(label, (xs[0], ys[0]), place, textcoords="offset points", color=shade)
    if names_beside:
        axes.margins(x=0.15, y=0.1)
    else:
        handles, labels = axes.get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        axes.legend(once.values(), once.keys(), loc="best")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
