"""Put trained weights into the package, with a card that says how they do on the held-out scenes.

    python -m experiments.package_weights --data=DIR --weights=runs/neid/last.npz --output=neid

Writes neid_tf/weights/NAME.npz (half precision) and experiments/quality/NAME.json, the report
of the scores. The scores are those of the packaged file, by the path that users take.
"""

import json
from pathlib import Path

from experiments import run
from neid_tf import evaluation, files, pretrained
from neid_tf import pairs as pair_files
from neid_tf.commands import common, evaluate, methods
from neid_tf.environment import environment
from neid_tf.profiling import count_operations

HOME = Path(__file__).resolve().parent.parent


def package(data, weights, name):
    """Save the weights under a name, score them, and write card and report."""
    target = HOME / "neid_tf" / "weights" / f"{name}.npz"
    model = pretrained.load_pretrained(weights)
    training = model.card.get("training", model.card)
    pretrained.save(model, target, training)
    held = pair_files.hold_out(pair_files.load_pairs(data, smallest=11), "lol")[1]
    report = evaluation.evaluate(evaluate.rows_of(held), methods.load("neid", str(target)))
    card = {
        "training": training,
        "command": training["command"],
        "validation": report["mean"] | {"pictures": len(held), "list": "lol_validation.txt"},
        "parameters": model.count_params(),
        "operations_per_600x400_picture": count_operations(model, 200, 300),
    }
    pretrained.save(model, target, card)
    report |= {
        "card": card,
        "controls": evaluate.controls(evaluate.rows_of(held)),
        "environment": environment(),
    }
    report["command"] = (
        f"python -m experiments.package_weights --data={data} --weights={weights} --output={name}"
    )
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    files.write_whole(HOME / "experiments" / "quality" / f"{name}.json", text.encode())
    return report


def main(arguments):
    """Read the flags and print the scores."""
    del arguments
    report = package(common.DATA.value, common.WEIGHTS.value, common.required(common.OUTPUT))
    print(json.dumps(report["card"]["validation"], indent=2))


if __name__ == "__main__":
    run(main)
