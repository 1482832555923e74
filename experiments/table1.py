"""Table 1: the classical methods and NEID, ours beside the paper's.

    python -m experiments.table1 [--data=data/lol/our485]

Prints the table of the records in experiments/table1/. With --data it makes the records again
first, with ``neid evaluate``, on two lists of our485's pictures: the 50 held-out ones
(neid_tf/lol_validation.txt), and the 26 that come just before and after LoL's test pictures by
number (table1/neighbours.txt), many of which show the same scenes.
"""

import json
import subprocess
import sys
from pathlib import Path

from experiments import run
from neid_tf.commands import common
from neid_tf.inference import methods

RECORDS = Path(__file__).resolve().parent / "table1"
NEID = RECORDS.parent / "quality" / "neid.json"
LISTS = {"": "lol", "neighbours": "experiments/table1/neighbours.txt"}
PAPER = {
    "bimef": (13.88, 0.58),
    "crm": (17.20, 0.64),
    "dong": (16.72, 0.58),
    "lime": (16.76, 0.56),
    "mf": (18.79, 0.64),
    "msr": (13.17, 0.48),
    "npe": (16.97, 0.59),
    "neid": (22.83, 0.78),
}
"""PSNR and SSIM of the paper's Table 1, on LoL's 15 test pairs."""


def record(data: str) -> None:
    """Score every classical method on both lists, each with a command that its record names."""
    for folder, names in LISTS.items():
        for method in methods.METHODS:
            if method != "neid":
                target = Path("experiments/table1") / folder / f"{method}.json"
                options = [f"--data={data}", f"--only={names}", f"--method={method}"]
                command = [sys.executable, "-m", "neid_tf.commands.main", "evaluate", *options]
                subprocess.run(
                    [*command, f"--output={target}"], check=True, cwd=RECORDS.parent.parent
                )


def table(records: Path = RECORDS, neid: Path = NEID) -> str:
    """Return the table of the records in Markdown.

    Args:
        records: folder of the classical methods' records.
        neid: the file of NEID's record.
    """
    lines = [
        "| method | held-out: PSNR | SSIM | SSIM, lum. | beside the test scenes: PSNR | SSIM, lum. "
        "| s per 600×400 | the paper |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, (psnr, ssim) in PAPER.items():
        held = _mean(neid if method == "neid" else records / f"{method}.json")
        near = None if method == "neid" else _mean(records / "neighbours" / f"{method}.json")
        lines.append(
            f"| {methods.title(method)} | {held['psnr']:.2f} | {held['ssim']:.3f} "
            f"| {held['ssim_gray']:.3f} | {_near(near)} "
            f"| {held['seconds_per_megapixel'] * 0.24:.2f} | {psnr:.2f} / {ssim:.2f} |"
        )
    return "\n".join(lines)


def _mean(path):
    return json.loads(path.read_text("utf-8"))["mean"]


def _near(mean):
    return (
        "trained on | trained on"
        if mean is None
        else f"{mean['psnr']:.2f} | {mean['ssim_gray']:.3f}"
    )


def main(arguments: list[str]) -> None:
    """Read the flags; record if asked to; print."""
    del arguments
    if common.DATA.value:
        record(common.DATA.value)
    print(table())


if __name__ == "__main__":
    run(main)
