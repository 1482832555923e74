"""What each term of the loss tells the shared encoder: the size of its gradient there.

    python -m experiments.gradients --data=data/lol/our485 --run=runs/table2/le_dr-0

Loads the checkpoint of a run with a detail branch, and takes the gradient of every weighted term
of equation 7 with respect to the encoder's weights, over the first batches of an epoch; the
detail term's against both of its readings, the low-light picture and the reference. Writes
experiments/table2/gradients/RUN.json: the mean norms, and their shares of the Huber term's.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from absl import flags

from experiments import run
from neid_tf import data, files, models, pairs
from neid_tf.commands import common, quiet
from neid_tf.environment import environment

RECORDS = Path(__file__).resolve().parent / "table2" / "gradients"

_RUN = flags.DEFINE_string("run", None, "Folder of the run.")
_BATCHES = flags.DEFINE_integer("batches", 8, "Batches to average over.", lower_bound=1)


def trainer_of(workdir, target):
    """Return the trainer of a run as its checkpoint left it, and its configuration.

    Args:
        workdir: folder of the run.
        target: what the detail branch is compared with, ``low`` or ``reference``.
    """
    from neid_tf.training import TrainConfig, Trainer

    settings = json.loads((workdir / "settings.json").read_text("utf-8"))
    own = {field.name for field in dataclasses.fields(TrainConfig)}
    config = TrainConfig(**{name: value for name, value in settings.items() if name in own})
    fields = {n: v for n, v in settings.items() if n not in own | {"model", "command"}}
    network = models.build(settings["model"], **fields | {"detail_target": target})
    trainer = Trainer(models.rebuild(network, "training"), config.objective(), config.exposure)
    with np.load(workdir / "checkpoint.npz", allow_pickle=False) as file:
        for index, variable in enumerate(trainer.network.variables):
            variable.assign(file[f"n{index}"])
    return trainer, config


def norms(trainer, batches):
    """Return the mean norm over batches of each term's gradient in the encoder."""
    import tensorflow as tf

    variables = [
        variable.value
        for variable in trainer.network.trainable_variables
        if variable.path.startswith("encoder")
    ]
    sizes = {}
    for batch in batches:
        with tf.GradientTape(persistent=True) as tape:
            made = trainer(batch, training=True)
            terms = trainer.objective.terms(made["outputs"], made["targets"])
            means = {name: tf.reduce_mean(values) for name, values in terms.items()}
        for name, mean in means.items():
            norm = tf.linalg.global_norm(tape.gradient(mean, variables))
            sizes.setdefault(name, []).append(float(norm))
    return {name: float(np.mean(values)) for name, values in sizes.items()}


def measure(workdir, root, count):
    """Return the report of a run."""
    training = pairs.hold_out(pairs.load_pairs(root), "lol")[0]
    found = {}
    for target in ("low", "reference"):
        trainer, config = trainer_of(workdir, target)
        sampling = data.Sampling(config.crop, config.batch_size, config.seed)
        report = norms(trainer, data.batches(training, sampling, 0, count))
        found[f"detail, {target}"] = report.pop("detail")
        found = report | found
    return {
        "norms": found,
        "shares": {name: value / found[config.reconstruction] for name, value in found.items()},
        "batches": count,
        "run": str(workdir),
        "command": f"python -m experiments.gradients --data={root} --run={workdir}",
        "environment": environment(),
    }


def main(arguments):
    """Read the flags, measure, write and print."""
    del arguments
    root, workdir = common.required(common.DATA), Path(common.required(_RUN))
    quiet.load_keras()
    report = measure(workdir, root, _BATCHES.value)
    text = json.dumps(report, indent=2) + "\n"
    files.write_whole(RECORDS / f"{workdir.name}.json", text.encode())
    for name, share in report["shares"].items():
        print(f"{name:<20}{report['norms'][name]:12.2e}{share:9.2%}")


if __name__ == "__main__":
    run(main)
