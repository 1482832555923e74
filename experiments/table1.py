"""Table 1: the paper's ten rivals and NEID, ours beside the paper's.

    python -m experiments.table1 [--data=data/lol/our485] [--rivals=glad,kind] [--kind=FILE]

Prints the table of the records in experiments/table1/. With --data it makes the records again
first, those of --rivals, with ``neid evaluate``: on the 50 held-out pictures of our485
(neid_tf/data/lol_validation.txt), and for the classical methods also on the 26 that come just
before and after LoL's test pictures by number (table1/neighbours.txt), many of which show the same
scenes; the learned methods were trained on those. KinD's weights are not in the package: --kind
names them. KinD is scored twice: with the ratio that it has where nothing else is known, and with
that of the reference, which looks at the answer, as its authors did.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags

from experiments import need_data, run
from experiments.record import table as in_markdown
from neid_tf.commands import common
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files
from neid_tf.evaluation import report as reports
from neid_tf.inference import methods
from neid_tf.models import pretrained
from neid_tf.pixels.samples import from_float, to_float
from neid_tf.support import files, keras_start
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError

RECORDS = Path(__file__).resolve().parent / "table1"
NEID = RECORDS.parent / "quality" / "neid.json"
LISTS = {"": "lol", "neighbours": "experiments/table1/neighbours.txt"}
ORACLE = "kind_oracle"
HEADINGS = (
    "method",
    "the 15: PSNR",
    "SSIM",
    "SSIM, lum.",
    "the 50: PSNR",
    "SSIM, lum.",
    "beside the test scenes: PSNR",
    "SSIM, lum.",
    "s per 600×400",
    "the paper",
)
PAPER = {
    "bimef": (13.88, 0.58),
    "crm": (17.20, 0.64),
    "dong": (16.72, 0.58),
    "lime": (16.76, 0.56),
    "mf": (18.79, 0.64),
    "retinexnet": (16.77, 0.56),
    "msr": (13.17, 0.48),
    "npe": (16.97, 0.59),
    "glad": (19.72, 0.70),
    "kind": (20.87, 0.80),
    "neid": (22.83, 0.78),
}
"""PSNR and SSIM of the paper's Table 1, on LoL's 15 test pairs."""

_RIVALS = [name for name in PAPER if name != "neid"]
_NAMES = flags.DEFINE_list("rivals", _RIVALS, "With --data: whose records are made again.")
KIND = common.define_path("kind", None, "KinD's weights, of neid train.", kind="a file")
"""The flag that names KinD's weights, which are not in the package."""
_SMALL = 1e-4


def record(data: str, names: list[str], kind: str | None = None) -> None:
    """Score methods, each with a command that its record names.

    Args:
        data: folder of LoL's training pairs.
        names: of the methods.
        kind: the file of KinD's weights.

    Raises:
        NeidError: for an unknown method, or KinD without its weights.
    """
    unknown = [name for name in names if name not in _RIVALS]
    if unknown:
        raise NeidError(f"--rivals are of {', '.join(_RIVALS)}, not {unknown[0]!r}")
    if "kind" in names and not kind:
        raise NeidError("KinD's weights are not in the package: --kind=FILE names them")
    for folder, pictures in LISTS.items():
        for name in names:
            if not (folder and name in methods.LEARNED):
                options = [f"--weights={kind}"] if name == "kind" else []
                options += [f"--data={data}", f"--only={pictures}", f"--method={name}"]
                _evaluate(Path("experiments/table1") / folder / f"{name}.json", options)
    if "kind" in names:
        record_oracle(data, kind, RECORDS / f"{ORACLE}.json")


def _evaluate(target, options):
    command = [sys.executable, "-m", "neid_tf.commands.main", "evaluate", *options]
    subprocess.run([*command, f"--output={target}"], check=True, cwd=RECORDS.parent.parent)


def record_oracle(data: str, weights: str, target: Path, only: str = "lol") -> None:
    """Score KinD with the ratio of each reference's light to the picture's, and write the record.

    Args:
        data: folder of pairs.
        weights: the file of KinD's weights.
        target: the record's file.
        only: as --only of ``neid evaluate``.
    """
    keras_start.import_keras()
    enhance = oracle(pretrained.load_pretrained(weights))
    pairs = pair_files.load_pairs(data, smallest=11)
    names = held_out.names_in(only, pairs.names)
    pairs = pairs.select(lambda name: name in names)

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        index = pairs.names.index(name)
        return enhance(pairs.low[index], pairs.high[index]), pairs.high[index]

    found = reports.evaluate(reports.Rows(pairs.names, read))
    found["method"] = {
        "name": "kind",
        "weights": weights,
        "ratio": "of the reference: this looks at the answer",
    }
    options = [f"--data={data}", "--rivals=kind", f"--kind={weights}"]
    command = shlex.join(["python", "-m", "experiments.table1", *options])
    found |= {"data": data, "command": command, "environment": environment()}
    files.write_json(target, files.finite(found), indent=2)


def oracle(model: object) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return KinD as a function of a low-light picture and its reference, which gives the ratio.

    The ratio is the mean over the pixels of the reference's illumination over the picture's, as in
    the authors' own evaluation on LoL.

    Args:
        model: a :class:`neid_tf.models.Rival`, KinD's.
    """
    split = model.graph.cut(["image"], ["restored", "illumination"])
    adjust = model.graph.cut(["illumination", "ratio"], ["adjusted"])

    def enhance(low: np.ndarray, reference: np.ndarray) -> np.ndarray:
        parts = [split.predict_on_batch({"image": to_float(p)[None]}) for p in (low, reference)]
        dark, bright = (part["illumination"] for part in parts)
        ratio = np.full_like(dark, np.mean(bright / (dark + _SMALL)))
        given = {"illumination": dark, "ratio": ratio}
        return from_float(
            (parts[0]["restored"] * adjust.predict_on_batch(given)["adjusted"])[0], low.dtype
        )

    return enhance


def table(records: Path = RECORDS, neid: Path = NEID) -> str:
    """Return the table of the records in Markdown.

    Args:
        records: folder of the rivals' records.
        neid: the file of NEID's record.
    """
    rows = [HEADINGS]
    shared = {image["name"] for image in _report(neid)["images"]}
    for method, label in _rows():
        psnr, ssim = PAPER["kind" if method == ORACLE else method]
        path = neid if method == "neid" else records / f"{method}.json"
        if not path.exists():
            rows.append((label, "not run", *[""] * 7, f"{psnr:.2f} / {ssim:.2f}"))
            continue
        held, common_to_all = _report(path), _over(_report(path), shared)
        near = records / "neighbours" / f"{method}.json"
        seconds = held["mean"].get("seconds_per_megapixel")
        cells = [f"{common_to_all['psnr']:.2f}", f"{common_to_all['ssim']:.3f}"]
        cells.append(f"{common_to_all['ssim_gray']:.3f}")
        cells += _two(None if method == "neid" else held["mean"])
        cells += _two(_report(near)["mean"] if method in methods.CLASSICAL else None)
        cells.append("" if seconds is None else f"{seconds * 0.24:.2f}")
        rows.append((label, *cells, f"{psnr:.2f} / {ssim:.2f}"))
    return in_markdown(*rows)


def _rows():
    """Yield the records' names and the rows' labels; KinD has two."""
    for method in PAPER:
        if method == "kind":
            yield method, "KinD, ratio 5"
            yield ORACLE, "KinD, ratio of the reference (looks at the answer)"
        else:
            yield method, methods.title(method)


def _report(path):
    return json.loads(path.read_text("utf-8"))


def _over(report, names):
    """Return the mean scores of a report over the pictures of some names, all of which it has."""
    images = [image for image in report["images"] if image["name"] in names]
    missing = sorted(names - {image["name"] for image in images})
    if missing:
        raise NeidError(f"a record of Table 1 has no picture {missing[0]}: make it again")
    return reports.mean_scores(images)


def _two(mean):
    if mean is None:
        return "trained on", "trained on"
    return f"{mean['psnr']:.2f}", f"{mean['ssim_gray']:.3f}"


def main(arguments: list[str]) -> None:
    """Read the flags; record if asked to; print."""
    del arguments
    need_data("rivals", "kind")
    if common.DATA.value:
        record(common.DATA.value, _NAMES.value, KIND.value)
    print(table())


if __name__ == "__main__":
    run(main)
