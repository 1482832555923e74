r"""Table 2: the paper's four architectures, trained alike.

    python -m experiments.table2 [--record=runs/table2 --data=data/lol/our485]

Prints the table of the records in experiments/table2/, and draws their validation PSNR against
epochs into table2/validation.png. With --record it first makes the records of finished runs,
each of which is a folder NAME-SEED that was trained by

    neid train --data=data/lol/our485 --workdir=runs/table2/NAME-SEED \
        --flagfile=experiments/table2/NAME.flags --seed=SEED

A run of another NAME with other flags is an ablation: a row of its own that tells what differs.
--records=FOLDER is another place for the records, such as those of the paper's own schedule.
"""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np

from experiments import chart, run
from experiments.record import table as in_markdown
from neid_tf import pictures
from neid_tf.commands import common
from neid_tf.models.config import ModelConfig
from neid_tf.support import files, keras_start
from neid_tf.support.errors import NeidError
from neid_tf.support.fields import flatten
from neid_tf.training.config import TrainConfig

RECORDS = Path(__file__).resolve().parent / "table2"
HEADINGS = (
    "architecture",
    "PSNR (dB)",
    "SSIM",
    "PSNR, GT mean*",
    "parameters",
    "10⁹ operations",
    "seeds",
    "the paper's PSNR",
)
PAPER = {
    "unet": ("U-net architecture", 19.60),
    "le": ("LE", 20.78),
    "le_dr": ("LE + DR", 21.73),
    "neid": ("LE + DR + FF", 22.83),
}
"""The rows of the paper's Table 2, and their PSNR (dB) on LoL's 15 test pairs."""

_RECORD = common.define_path("record", None, "Folder of runs NAME-SEED to make records of.")
_RECORDS = common.define_path("records", str(RECORDS), "Folder of the records and the curves.")


def record(runs: str | Path, data: str | Path, target: Path = RECORDS) -> list[str]:
    """Score the last weights of every finished run on the held-out scenes, and write records.

    Args:
        runs: folder of the runs.
        data: folder of the pairs.
        target: folder for the records.

    Returns:
        The names of the records.

    Raises:
        ValueError: where there are no runs.
    """
    found = sorted(Path(runs).glob("*/last.npz"))
    if not found:
        raise NeidError(f"{runs}: no runs (NAME-SEED/last.npz)")
    keras_start.import_keras()
    from neid_tf.data import held_out, pairs
    from neid_tf.models import pretrained

    held = held_out.hold_out(pairs.load_pairs(data, smallest=11), "lol")[1]
    written = []
    for weights in found:
        card = pretrained.card(weights)
        if card["epochs_trained"] < card["settings"]["epochs"]:
            print(f"{weights.parent}: {card['epochs_trained']} epochs, not finished", flush=True)
            continue
        name = weights.parent.name
        report = _report(weights, card, held) | {"data": str(data)}
        files.write_json(target / f"{name}.json", report)
        written.append(name)
    return written


def _report(weights, card, rows):
    from neid_tf.benchmarks.costs import count_operations
    from neid_tf.evaluation.report import evaluate
    from neid_tf.inference.enhance import enhance
    from neid_tf.models.pretrained import load_pretrained

    model = load_pretrained(weights)
    small = 2 // model.config.scale  # the input of a 600×400 picture is halved, but for unet's
    size = (200 * small, 300 * small)
    report = evaluate(rows, functools.partial(enhance, model=model))
    history = (weights.parent / "history.jsonl").read_text("utf-8").splitlines()
    return report | {
        "name": weights.parent.name.rpartition("-")[0],
        "seed": card["settings"]["seed"],
        "command": card["command"],
        "settings": {k: v for k, v in card["settings"].items() if k != "command"},
        "environment": card["environment"],
        "parameters": model.count_params(),
        "operations_per_600x400_picture": count_operations(model, *size),
        "history": [json.loads(line) for line in history],
    }


def load(folder: Path = RECORDS) -> dict[str, list[dict]]:
    """Return the records by name, each a list over seeds."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        report = json.loads(path.read_text("utf-8"))
        found.setdefault(report["name"], []).append(report)
    return found


def table(records: dict[str, list[dict]]) -> str:
    """Return the table of the paper's four architectures in Markdown."""
    rows = [HEADINGS]
    for name, (title, paper) in PAPER.items():
        if name not in records:
            rows.append((title, "not run", *[""] * 5, f"{paper:.2f}"))
            continue
        found, first = records[name], records[name][0]
        cells = [
            _over_seeds(found, score, places)
            for score, places in (("psnr", 2), ("ssim", 3), ("psnr_gt_mean", 2))
        ]
        cells.append(f"{first['parameters']:,}")
        cells.append(f"{first['operations_per_600x400_picture'] / 1e9:.1f}")
        cells.append(", ".join(str(report["seed"]) for report in found))
        rows.append((title, *cells, f"{paper:.2f}"))
    return in_markdown(*rows)


def _over_seeds(reports, score, places):
    """Return mean ± standard deviation (n − 1) over the seeds; the value where there is one."""
    values = [report["mean"][score] for report in reports]
    spread = f" ± {np.std(values, ddof=1):.{places}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{places}f}{spread}"


def ablations(records: dict[str, list[dict]]) -> str:
    """Return the table of the other runs, beside ``neid`` of the same seed; empty for none."""
    base = {report["seed"]: report for report in records.get("neid", [])}
    rows = []
    for name in sorted(set(records) - set(PAPER)):
        for report in records[name]:
            other = base.get(report["seed"])
            psnr, changed, gain = report["mean"]["psnr"], name, ""
            if other:
                changed = ", ".join(_changed(other["settings"], report["settings"]))
                gain = f"{psnr - other['mean']['psnr']:+.2f}"
            rows.append((changed, report["seed"], f"{psnr:.2f}", gain))
    head = ("what differs from LE + DR + FF", "seed", "PSNR (dB)", "difference")
    return in_markdown(head, *rows) if rows else ""


def _changed(one, other):
    # A record from before a parameter was there had its default.
    one = dataclasses.asdict(ModelConfig()) | flatten(TrainConfig()) | one
    return [f"{key} {other[key]}" for key in sorted(other) if one.get(key) != other[key]]


def curves(records: dict[str, list[dict]]) -> np.ndarray:
    """Draw the validation PSNR of the four architectures against epochs; uint8 RGB."""
    lines = []
    for colour, (name, (title, _)) in enumerate(PAPER.items()):
        for report in records.get(name, []):
            rows = [row for row in report["history"] if "validation_psnr" in row]
            points = np.array([(row["epoch"], row["validation_psnr"]) for row in rows])
            lines.append((title, *points.T, colour))
    return chart.draw(lines, "epochs", "PSNR on the held-out scenes (dB)")


def main(arguments: list[str]) -> None:
    """Read the flags; record if asked to; print and draw."""
    del arguments
    folder = Path(_RECORDS.value)
    if _RECORD.value:
        print(*record(_RECORD.value, common.required(common.DATA), folder), flush=True)
    records = load(folder)
    if not any(name in records for name in PAPER):
        raise NeidError(f"{folder}: no record of the paper's architectures")
    print(table(records), ablations(records), sep="\n\n")
    pictures.write(folder / "validation.png", pictures.Picture(curves(records)))


if __name__ == "__main__":
    run(main)
