"""neid evaluate --data=DIR --output=report.json [--weights=NAME|PATH] [--method=neid|lime|…]

Scores a model, or a classical method, on pairs DIR/low/NAME.* and DIR/high/NAME.*: PSNR and
SSIM in RGB, SSIM on luminance, and PSNR after the output was scaled to the reference's mean
(which looks at the answer). Two controls are scored beside it: the input as it is, and the
reference halved and enlarged again, the ceiling of a half-size input.

Where DIR is a folder of pictures, without low/ and high/, what needs no reference is scored:
NIQE (lower is more natural), brightness and contrast.

--outputs=FOLDER scores the pictures of FOLDER, made by any program, in place of a method's:
one for each picture of DIR, of its name (before the extension) and its size.
"""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

from absl import flags

from neid_tf import evaluation, pictures
from neid_tf.commands import common
from neid_tf.data import pairs as pair_files
from neid_tf.inference import methods
from neid_tf.support import files
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError

_ONLY = flags.DEFINE_string(
    "only", None, "'lol' for the held-out scenes of our485, or a text file of names; else all."
)
_SAVE = flags.DEFINE_string("save", None, "Folder to write the enhanced pictures to, as PNG.")
_OUTPUTS = flags.DEFINE_string(
    "outputs", None, "Folder of enhanced pictures to score; no method runs then."
)
common.declare(__name__, common.DATA, common.OUTPUT, common.WEIGHTS, common.METHOD)
# Score: (title in the table, decimals).
_COLUMNS = {
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 3),
    "ssim_gray": ("gray", 3),
    "psnr_gt_mean": ("GT mean*", 2),
    "niqe": ("NIQE", 2),
    "brightness": ("brightness", 1),
    "contrast": ("contrast", 1),
    "seconds_per_megapixel": ("s/MP", 2),
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Pictures that are read when their turn comes, as often as they are gone through.

    Attributes:
        names: the stems.
        read: function from a name to the picture and its reference, or None for that.
    """

    names: tuple[str, ...]
    read: Callable

    def __iter__(self):
        return ((name, *self.read(name)) for name in self.names)


def main(arguments):
    """Score and write the report."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    root, output = common.required(common.DATA), common.required(common.OUTPUT)
    _check_outputs_alone()
    function = None if _OUTPUTS.value else methods.load(common.METHOD.value, common.WEIGHTS.value)
    rows = _chosen(root)
    scored = rows if function else _made_elsewhere(rows, _OUTPUTS.value)
    report = evaluation.evaluate(scored, function, save=_SAVE.value)
    report |= {"method": _described(), "data": str(root), "controls": controls(rows)}
    report |= {"command": " ".join(common.command_line("evaluate")), "environment": environment()}
    text = json.dumps(_finite(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files.write_whole(output, text.encode())
    print(_table(report))


def _check_outputs_alone():
    for holder in (common.METHOD, common.WEIGHTS, _SAVE):
        if _OUTPUTS.value and flags.FLAGS[holder.name].present:
            raise flags.ValidationError(f"--outputs does not go with --{holder.name}")


def _chosen(root):
    """Return the rows of a data set, or of a folder of pictures, that --only names."""
    folder = Path(root)
    if folder.is_dir() and not any((folder / side).exists() for side in ("low", "high")):
        found = pair_files.find_pictures(folder)
        rows = Rows(tuple(found), lambda name: (pictures.read(found[name]).pixels, None))
    else:
        rows = rows_of(pair_files.load_pairs(root, smallest=11))
    if not _ONLY.value:
        return rows
    names = pair_files.listed(_ONLY.value)
    missing = sorted(names - set(rows.names))
    if missing or not names:
        raise NeidError(
            f"{root}: no picture {missing[0]!r}" if missing else f"{_ONLY.value}: empty"
        )
    return Rows(tuple(name for name in rows.names if name in names), rows.read)


def rows_of(pairs):
    """Return the rows of :class:`neid_tf.data.pairs.Pairs`."""
    table = {name: sides for name, *sides in zip(*dataclasses.astuple(pairs), strict=True)}
    return Rows(pairs.names, table.__getitem__)


def _made_elsewhere(rows, folder):
    """Return the rows with the pictures of a folder in place of those that they have."""
    found = pair_files.find_pictures(folder)
    missing = [f"{folder}: no picture of {name}" for name in rows.names if name not in found]
    if missing:
        raise pair_files.DataError(folder, missing)

    def read(name):
        (picture, reference), output = rows.read(name), pictures.read(found[name]).pixels
        if output.shape != picture.shape:
            sizes = [f"{p.shape[1]}×{p.shape[0]}" for p in (output, picture)]
            raise NeidError(f"{found[name]}: {sizes[0]}, but the picture {name} is {sizes[1]}")
        return output, reference

    return Rows(rows.names, read)


def _described():
    if _OUTPUTS.value:
        return {"name": "outputs", "folder": _OUTPUTS.value}
    if common.METHOD.value != "neid":
        return {"name": common.METHOD.value}
    return {"name": "neid", "weights": common.WEIGHTS.value}


def controls(rows):
    """Score the input as it is and, with references, these halved and enlarged again."""
    scored = {"input": evaluation.evaluate(rows)["mean"]}
    if "psnr" in scored["input"]:
        ceiling = ((name, reference, reference) for name, _, reference in rows)
        report = evaluation.evaluate(ceiling, evaluation.half_and_back)
        scored["bicubic_half_and_back"] = report["mean"]
    return scored


def _finite(value):
    """Return a report with None for infinity (the PSNR of equal pictures), which JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(report):
    rows = {report["method"]["name"]: report["mean"]} | report["controls"]
    columns = {name: _COLUMNS[name] for name in _COLUMNS if name in report["mean"]}
    lines = [f"{'':<24}" + "".join(f"{title:>11}" for title, _ in columns.values())]
    for name, mean in rows.items():
        cells = [_cell(mean.get(score), places) for score, (_, places) in columns.items()]
        lines.append(f"{name:<24}" + "".join(cells))
    note = " * looks at the reference's brightness." if "psnr" in report["mean"] else ""
    return "\n".join([*lines, f"{len(report['images'])} pictures.{note}"])


def _cell(value, places):
    return f"{'-':>11}" if value is None else f"{value:11.{places}f}"
