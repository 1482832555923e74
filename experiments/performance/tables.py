"""Print the tables of README.md from the records beside it.

    python -m experiments.performance.tables

A record that is missing, or of an older layout, is named instead.
"""

import json
from pathlib import Path
from typing import Any

from absl import app, flags

from experiments.record import spread, table

HERE = Path(__file__).resolve().parent

_FOLDER = flags.DEFINE_string("records", str(HERE), "Folder of the records.")


def runtimes(report: dict[str, Any]) -> str:
    """Return the table of forward passes and cold starts."""
    section, cold = report["runtimes"], report["cold_start"]
    rows = [("runtime", "ms", "to the product", "to TensorFlow", "difference", "whole process, s")]
    for name, ratio in section["to_matmul"].items():
        seconds = section["seconds"][name]["median"]
        first = f"{1e3 * seconds:.1f}", spread(ratio), spread(section["to_tensorflow"][name])
        start = spread(cold["seconds"][name]) if name in cold["seconds"] else ""
        rows.append((name, *first, f"{section['largest_difference'][name]:.0e}", start))
    rows.append(("neid --help", "", "", "", "", spread(cold["seconds"]["--help"])))
    return table(*rows)


def training(report: dict[str, Any]) -> str:
    """Return the table of pictures a second in training."""
    rates = report["training"]["images_per_second"]
    rows = [
        ("images a second", "step alone", "step with pipeline", "pipeline / step", "to float32")
    ]
    for name, ratio in report["training"]["pipeline_to_step"].items():
        values = [spread(rates[name][key], 0) for key in ("step", "together")]
        faster = spread(report["training"]["step_to_float32"][name])
        rows.append((name, *values, spread(ratio, 0), faster))
    return f"{table(*rows)}\n\nThe pipeline alone: {spread(rates['pipeline'], 0)}."


def unet(report: dict[str, Any]) -> str:
    """Return the table of neid against unet."""
    ratio = report["unet"]["ratio"]
    rest = [(name, f"{ratio[name]:.2f}") for name in ("operations", "parameters", "peak_bytes")]
    return table(("neid / unet", "ratio"), ("time", spread(ratio["time"])), *rest)


def growth(report: dict[str, Any]) -> str:
    """Return the table of time and memory against size."""
    rows = [("runtime", "megapixels", "s", "s a megapixel", "GB added")]
    for name, sizes in report["growth"].items():
        for row in sizes:
            memory = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e9:.2f}"
            numbers = (f"{row['megapixels']:.1f}", f"{row['seconds']:.2f}")
            rows.append((name, *numbers, f"{row['seconds_per_megapixel']:.3f}", memory))
    return table(*rows)


def _measured(report):
    return {name: report[name] for name in ("onnx", "tensorflow") if name in report}


def folders(report: dict[str, Any]) -> str:
    """Return the table of folders against the model alone."""
    ways, keys = ("model", "one_after_the_other", "folder"), ("one_after_the_other", "folder")
    head = ("the model alone, pictures/s", "one after the other", "folder")
    rows = [("runtime", *head, "model's share of CPU time", "traces")]
    for name, section in _measured(report).items():
        speed = section["speed"]
        rate = spread(speed["pictures_per_second"][ways[0]], 1)
        ratios = [spread(speed["ratio_to_the_model"][key]) for key in keys]
        share = f"{section['stages']['share_of_the_model']:.2f}"
        rows.append((name, rate, *ratios, share, section["traces"] or ""))
    return table(*rows)


def stages(report: dict[str, Any]) -> str:
    """Return the table of CPU time of each stage."""
    measured = _measured(report)
    names = next(iter(measured.values()))["stages"]["cpu_seconds"]
    rows = [("CPU ms a picture", *names)]
    for name, section in measured.items():
        count, seconds = section["speed"]["pictures"], section["stages"]["cpu_seconds"]
        rows.append((name, *(f"{1e3 * value / count:.1f}" for value in seconds.values())))
    return table(*rows)


def memory(report: dict[str, Any]) -> str:
    """Return the table of resident memory against the number of pictures."""
    measured = _measured(report)
    counts = list(next(iter(measured.values()))["resident_megabytes"])
    rows = [("resident MB after pictures", *counts)]
    values = [(name, *s["resident_megabytes"].values()) for name, s in measured.items()]
    return table(*rows, *values)


def encoders(report: dict[str, Any]) -> str:
    """Return the table of encoders before and now."""
    rows = [("encoder", "CPU ms a megapixel, before", "now", "bytes a pixel, before", "now")]
    for name, ways in report["encoders"].items():
        both = [ways[when] for when in ("before", "now")]
        times = [f"{1e3 * way['cpu_seconds_per_megapixel']:.0f}" for way in both]
        rows.append((name, *times, *(f"{way['bytes_per_pixel']:.2f}" for way in both)))
    return table(*rows)


def workers(report: dict[str, Any]) -> str:
    """Return the table of Ray's workers."""
    rows = [("workers", "pictures/s", "s to the first result")]
    for count, rate in report["pictures_per_second"].items():
        rows.append((count, spread(rate), spread(report["seconds_to_the_first_result"][count], 1)))
    return f"{table(*rows)}\n\nRatio: {spread(report['ratio_to_one_worker'])}."


def operators(report: dict[str, Any]) -> str:
    """Return the table of where ONNX Runtime's time goes."""
    seconds = report["operator_seconds"]
    whole, ratio = sum(seconds.values()), report["to_product"]
    rows = [("operator", "ms", "share")]
    rest = dict(seconds)
    for name in list(seconds)[:8]:
        rows.append((name, f"{1e3 * rest[name]:.2f}", f"{rest.pop(name) / whole:.3f}"))
    others = sum(rest.values())
    rows.append((f"{len(rest)} others", f"{1e3 * others:.2f}", f"{others / whole:.3f}"))
    reach = f"To the product: the pass {ratio['pass']:.2f}, convolutions alone "
    return f"{table(*rows)}\n\n{reach}{ratio['convolutions']:.2f}."


TABLES = {
    "benchmark.json": (runtimes, unet, training),
    "operators.json": (operators,),
    "growth.json": (growth,),
    "folders.json": (folders, stages, memory, encoders),
    "ray_workers.json": (workers,),
}


def main(_: list[str]) -> None:
    """Print what is recorded."""
    for name, parts in TABLES.items():
        path = Path(_FOLDER.value) / name
        try:
            report = json.loads(path.read_text())
            made = [part(report) for part in parts]
        except (OSError, KeyError) as error:
            print(f"{name}: not recorded ({error!r})\n")
            continue
        where = report["environment"]
        print(f"`{report['command']}`, commit {where['commit']}, {where['machine']}:\n")
        print("\n\n".join(made), end="\n\n")


if __name__ == "__main__":
    app.run(main)
