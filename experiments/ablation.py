r"""What each part of the default model and of its training brings, over two seeds.

    python -m experiments.ablation [--record=runs/ablation --data=data/lol/our485]

Prints the table of the records in experiments/ablation/. With --record it first makes the records
of finished runs, each of which is a folder NAME-SEED that was trained by

    neid train --data=data/lol/our485 --workdir=runs/ablation/NAME-SEED \
        --flagfile=experiments/ablation/NAME.flags --seed=SEED

Each of the flagfiles differs from ``whole.flags`` in one thing. --records=FOLDER is another place
for the records.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments import run, table2
from experiments.record import table as in_markdown
from neid_tf.commands import common
from neid_tf.support.errors import NeidError

RECORDS = Path(__file__).resolve().parent / "ablation"
ROWS = {
    "whole": "the default",
    "no_tone": "no tone",
    "le_dr": "no feature fusing",
    "le": "no feature fusing, no detail branch",
    "fusion_all": "the skip connections fused as well",
    "depth2": "two levels, not four",
    "huber": "Huber's loss, not log MSE",
    "no_aligned": "no loss at the reference's brightness",
    "no_structure": "no 1 − SSIM",
    "no_colour": "no colour loss",
    "no_exposure": "no exposure augmentation",
}
"""The runs, and what they are."""
_SCORES = {"psnr": 2, "ssim": 3, "psnr_gt_mean": 2}


def table(records: dict[str, list[dict]]) -> str:
    """Return the table in Markdown: the mean over the seeds, and each seed's gain on its whole."""
    if "whole" not in records:
        raise NeidError("no record of `whole`, which all others are compared with")
    base = {report["seed"]: report["mean"] for report in records["whole"]}
    head = ("run", "PSNR (dB)", "SSIM", "GT mean")
    rows = [(*head, "against the default: PSNR", "SSIM", "GT mean", "seeds")]
    for name in [name for name in ROWS if name in records]:
        reports = [report for report in records[name] if report["seed"] in base]
        cells = [ROWS[name]]
        for score, places in _SCORES.items():
            cells.append(f"{np.mean([r['mean'][score] for r in reports]):.{places}f}")
        for score, places in _SCORES.items():
            gains = [r["mean"][score] - base[r["seed"]][score] for r in reports]
            cells.append(", ".join(f"{gain:+.{places}f}" for gain in gains))
        if name == "whole":
            cells[4:] = ["", "", ""]
        cells.append(", ".join(str(report["seed"]) for report in reports))
        rows.append(cells)
    return in_markdown(*rows)


def main(arguments: list[str]) -> None:
    """Read the flags; record if asked to; print."""
    del arguments
    other, runs = flags.FLAGS["records"], flags.FLAGS["record"].value
    folder = Path(other.value) if other.present else RECORDS
    if runs:
        print(*table2.record(runs, common.required(common.DATA), folder), flush=True)
    print(table(table2.load(folder)))


if __name__ == "__main__":
    run(main)
