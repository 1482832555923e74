"""Quality against time: the packaged weights beside the networks of others.

    python -m experiments.peers [--before=neid_0_5.onnx] [--output=experiments/peers/peers.png]

Draws the chart of the records in experiments/peers/ and prints their table. ``figures.json`` holds
what was measured with the authors' code and weights, of which nothing is in this project. With
--before, the file neid_tf/weights/neid.onnx of version 0.5.0 (it is in the repository's history),
the times of the packaged weights are taken first: a picture of 600×400 from pixels to pixels, in
turns, in ONNX Runtime.
"""

import functools
import json
import os
import time
from pathlib import Path

import numpy as np

from experiments import chart, cross_data, run
from experiments.record import command_line
from experiments.record import table as in_markdown
from neid_tf import pictures
from neid_tf.benchmarks.timing import interleaved, ratios, scene, spread
from neid_tf.commands import common
from neid_tf.inference import methods
from neid_tf.models import pretrained
from neid_tf.support import files
from neid_tf.support.environment import environment

_BEFORE = common.define_path("before", "", "The ONNX file of version 0.5.0's default weights.")
HOME = Path(__file__).resolve().parent / "peers"
TURNS, OLD = 11, "neid_0_5"


def measure(before: str) -> dict:
    """Return the times of the packaged weights, by those of an older file's.

    Args:
        before: an ONNX file of the network that times are told by.
    """
    picture = scene(400, 600)
    weights = {OLD: before} | {name: name for name in pretrained.names()}
    loaded = {name: methods.load("neid", path, runtime="onnx") for name, path in weights.items()}
    calls = {name: functools.partial(enhance, picture) for name, enhance in loaded.items()}
    taken = interleaved(calls, TURNS, clock=time.process_time)
    return {
        name: {"cpu_seconds": spread(values), "time": ratios(values, taken[OLD])}
        for name, values in taken.items()
    }


def points() -> list[tuple]:
    """Return what is drawn: name, parameters, time, PSNR and SSIM; the package's own first."""
    times = json.loads((HOME / "times.json").read_text("utf-8"))["weights"]
    rows = []
    for name, row in times.items():
        mean = json.loads((cross_data.RECORDS / f"{name}.json").read_text("utf-8"))["sets"]["fivek"]
        mean = mean.get("mean", mean)
        count = None if name == OLD else pretrained.card(name)["parameters"]
        rows.append((name, count, row["time"]["median"], mean["psnr"], mean["ssim"]))
    peers = json.loads((HOME / "figures.json").read_text("utf-8"))["peers"]
    fields = ("name", "parameters", "time", "psnr", "ssim")
    return rows + [tuple(peer[field] for field in fields) for peer in peers]


def table() -> str:
    """Return the points in Markdown, the quickest first."""
    rows = [
        (
            f"`{name}`" if name.startswith("neid") else name,
            "–" if count is None else f"{count:,}",
            f"{taken:.2f}",
            f"{psnr:.2f}",
            f"{ssim:.3f}",
        )
        for name, count, taken, psnr, ssim in sorted(points(), key=lambda row: row[2])
    ]
    return in_markdown(("", "parameters", "time", "FiveK: PSNR, dB", "SSIM"), *rows)


def draw() -> np.ndarray:
    """Return the chart: PSNR on the left, SSIM on the right."""
    charts = []
    for column, label in ((3, "FiveK: PSNR, dB"), (4, "FiveK: SSIM")):
        lines = [
            (row[0], [row[2]], [row[column]], 1 if row[0] in pretrained.names() else 0)
            for row in points()
            if row[0] != OLD  # It is what times are told by.
        ]
        x_label = "time, by that of the default of version 0.5.0"
        charts.append(chart.draw(lines, x_label, label, names_beside=True, x_scale="log"))
    return np.concatenate(charts, axis=1)


def main(arguments: list) -> None:
    """Take the times if there is the older file; draw the chart and print the table."""
    del arguments
    if _BEFORE.value:
        record = {
            "protocol": "CPU time of a picture of 600×400 from pixels to pixels, in turns",
            "turns": TURNS,
            "weights": measure(_BEFORE.value),
            "load_average": os.getloadavg(),
            "environment": environment(),
            "command": command_line(__name__, "experiments.peers"),
        }
        files.write_json(HOME / "times.json", record)
    pictures.write(Path(common.OUTPUT.value or HOME / "peers.png"), pictures.Picture(draw()))
    print(table())


if __name__ == "__main__":
    run(main)
