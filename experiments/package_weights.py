"""Put trained weights into the package, with a card that says how they do on the held-out scenes.

    python -m experiments.package_weights --data=DIR --weights=runs/neid_all/last.npz \
        --scored=runs/neid_l/last.npz --output=neid

Writes neid_tf/models/weights/NAME.npz (half precision), NAME.onnx beside it (the same weights, for
ONNX Runtime) and experiments/quality/NAME.json, the report of the scores. The scores are those of
the packaged file, by the path that users take; or, where the packaged weights were trained on the
held-out scenes too in the end, those of --scored, the weights before that, or with --keep_scores
those that the packaged file's card told. With --onnx_only only NAME.onnx is written anew.
"""

import json
from pathlib import Path
from typing import Any

from absl import flags

from experiments import HELD_OUT, run
from experiments.record import command_line
from neid_tf import export, models
from neid_tf.benchmarks.costs import count_operations
from neid_tf.commands import common
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files
from neid_tf.evaluation import report as reports
from neid_tf.inference import methods
from neid_tf.models import pretrained
from neid_tf.support import files
from neid_tf.support.environment import environment

flags.declare_key_flag("data")
flags.declare_key_flag("weights")
flags.declare_key_flag("held_out")
flags.declare_key_flag("output")
_SCORED = flags.DEFINE_string(
    "scored", "", "The weights to score, if the packaged ones have seen the held-out scenes."
)
_KEEP_SCORES = flags.DEFINE_bool(
    "keep_scores",
    False,
    "Keep the scores of the packaged file, from which training went on, on the held-out scenes "
    "too.",
)
_ONNX_ONLY = flags.DEFINE_bool("onnx_only", False, "Write NAME.onnx of the packaged NAME.npz.")
HOME = Path(__file__).resolve().parent.parent


def package(
    data: str, weights: str, name: str, command: str, scored: str = "", held: str = "lol"
) -> dict[str, Any]:
    """Save the weights under a name, score them or those of ``scored``, write card and report.

    Args:
        data: folder of the pairs.
        weights: the file to package.
        name: that the package gives them.
        command: that the report tells.
        scored: weights to score in their place; empty for those themselves.
        held: the pictures that are scored, ``lol`` or the file of a list.
    """
    target = _target(name)
    model = pretrained.load_pretrained(weights)
    before = pretrained.card(scored) if scored else None
    rows = held_out.hold_out(pair_files.load_pairs(data, smallest=11), held)[1]
    made_with = environment()  # before the new file is there: of the commit, not of a change to it
    training = model.card.get("training", model.card)
    pretrained.save(model, target, training)
    report = reports.evaluate(rows, methods.load("neid", scored or str(target)))
    listed = "lol_validation.txt" if held == "lol" else Path(held).name
    validation = report["mean"] | {"pictures": len(rows), "list": listed}
    card = _card(model, training, validation)
    if scored:
        card["validation"]["of"] = "the weights that training went on from, on all pairs"
        card["before"] = before.get("training", before)
    pretrained.save(model, target, card)
    report |= {
        "card": card,
        "controls": reports.controls(rows),
        "environment": made_with,
        "command": command,
    }
    _write_report(name, report)
    return report


def package_further(weights: str, name: str) -> dict[str, Any]:
    """Save weights that went on from the packaged ones; scores are those from before that.

    Args:
        weights: the file to package.
        name: that the package gives them.
    """
    target, path = _target(name), HOME / "experiments" / "quality" / f"{name}.json"
    model, before = pretrained.load_pretrained(weights), pretrained.card(str(target))
    card = _card(model, model.card.get("training", model.card), before["validation"])
    card["validation"] |= {"of": "the weights that training went on from, on all pairs"}
    card["before"] = before.get("training", before)
    pretrained.save(model, target, card)
    report = json.loads(path.read_text("utf-8")) | {"card": card}
    _write_report(name, report)
    return report


def _target(name):
    return HOME / "neid_tf" / "models" / "weights" / f"{name}.npz"


def _card(model, training, validation):
    return {
        "training": training,
        "command": training["command"],
        "validation": dict(validation),
        "parameters": _complete(model).count_params(),
        "operations_per_600x400_picture": operations(model),
    }


def _write_report(name, report):
    files.write_json(HOME / "experiments" / "quality" / f"{name}.json", report, indent=2)


def _complete(model):
    """Return the part of a network that makes a picture of its own size."""
    return models.as_part(model, "refined" if model.config.refinement else "inference")


def operations(model: models.NEID) -> int:
    """Count the operations of a picture of 600×400 pixels that was halved."""
    return count_operations(_complete(model), 200, 300)


def package_onnx(name: str) -> export.Comparison:
    """Write the ONNX file of packaged weights; a halved weight is a halved weight in both."""
    target = _target(name)
    model = pretrained.load_pretrained(str(target))
    return export.to_onnx(model, target.with_suffix(".onnx"), overwrite=True, compact=True)


def main(arguments: list[str]) -> None:
    """Read the flags and print the scores."""
    del arguments
    if _ONNX_ONLY.value:
        print(package_onnx(common.required(common.OUTPUT)))
        return
    name = common.required(common.OUTPUT)
    if _KEEP_SCORES.value:
        report = package_further(common.WEIGHTS.value, name)
    else:
        data, weights = common.required(common.DATA), common.WEIGHTS.value
        command = command_line(__name__, "experiments.package_weights", leave_out=())
        report = package(data, weights, name, command, _SCORED.value, HELD_OUT.value)
    package_onnx(name)
    print(json.dumps(report["card"]["validation"], indent=2))


if __name__ == "__main__":
    run(main)
