"""neid evaluate --data=DIR --output=report.json [--weights=NAME|PATH] [--method=neid|lime|…]

Scores a model, or a classical method, on pairs DIR/low/NAME.* and DIR/high/NAME.*: PSNR and
SSIM in RGB, SSIM on luminance, and PSNR after the output was scaled to the reference's mean
(which looks at the answer). Two controls are scored beside it: the input as it is, and the
reference halved and enlarged again, the ceiling of a half-size input.
"""

import dataclasses
import json

from absl import flags

from neid_tf import evaluation, files
from neid_tf import pairs as pair_files
from neid_tf.commands import common, methods, quiet

_ONLY = flags.DEFINE_string(
    "only", None, "'lol' for the held-out scenes of our485, or a text file of names; else all."
)
_SAVE = flags.DEFINE_string("save", None, "Folder to write the enhanced pictures to.")
common.declare(__name__, common.DATA, common.OUTPUT, common.WEIGHTS, common.METHOD)


def main(arguments):
    """Score and write the report."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    root, output = common.required(common.DATA), common.required(common.OUTPUT)
    function = methods.load(common.METHOD.value, common.WEIGHTS.value)
    pairs = pair_files.load_pairs(root, smallest=11)
    if _ONLY.value:
        pairs = pair_files.hold_out(pairs, _ONLY.value)[1]
    report = evaluation.evaluate(rows(pairs), function, save=_SAVE.value)
    report |= {"method": _described(), "data": str(root), "controls": controls(pairs)}
    report |= {"command": " ".join(common.command_line("evaluate")), "environment": _environment()}
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    files.write_whole(output, text.encode())
    print(_table(report))


def rows(pairs):
    """Return (name, low, high) of each pair."""
    return zip(*dataclasses.astuple(pairs), strict=True)


def _environment():
    quiet.load_keras()
    from neid_tf.environment import environment

    return environment()


def _described():
    if common.METHOD.value != "neid":
        return {"name": common.METHOD.value}
    return {"name": "neid", "weights": common.WEIGHTS.value}


def controls(pairs):
    """Score the input as it is, and the reference halved and enlarged again."""
    by_name = dict(zip(pairs.names, pairs.high, strict=True))
    ceiling = [(name, by_name[name], by_name[name]) for name in pairs.names]
    return {
        "input": evaluation.evaluate(rows(pairs), lambda low: low)["mean"],
        "bicubic_half_and_back": evaluation.evaluate(ceiling, evaluation.half_and_back)["mean"],
    }


def _table(report):
    rows = {report["method"]["name"]: report["mean"]} | report["controls"]
    lines = [f"{'':<24}{'PSNR':>8}{'SSIM':>8}{'gray':>8}{'GT mean*':>10}{'s/MP':>8}"]
    for name, mean in rows.items():
        scores = f"{mean['psnr']:8.2f}{mean['ssim']:8.3f}{mean['ssim_gray']:8.3f}"
        lines.append(
            f"{name:<24}{scores}{mean['psnr_gt_mean']:10.2f}{mean['seconds_per_megapixel']:8.2f}"
        )
    lines.append(f"{len(report['images'])} pictures. * looks at the reference's brightness.")
    return "\n".join(lines)
