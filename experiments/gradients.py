r"""What the loss tells the weights: the size of its gradients.

    python -m experiments.gradients --data=data/lol/our485 --run=runs/table2/le_dr-0 \
        --output=experiments/table2/gradients/le_dr-0.json

Loads the checkpoint of a run with a detail branch, and takes gradients over the first batches of
an epoch: of every weighted term of equation 7 with respect to the encoder's weights, the mean
norms and their shares of LE's term, the detail term's against each of its readings; and of the
total loss with respect to every kernel, the root of the mean square, beside Adam's epsilon.
Gradients well below that hardly move their weights.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import run
from experiments.record import command_line
from neid_tf import models
from neid_tf.commands import common
from neid_tf.data import held_out, pairs
from neid_tf.data.batches import training_batches
from neid_tf.support import files, keras_start
from neid_tf.support.environment import environment
from neid_tf.support.fields import flatten, unflatten
from neid_tf.training.config import TrainConfig

flags.declare_key_flag("data")
flags.declare_key_flag("output")
_RUN = common.define_path("run", None, "Folder of the run.")
_BATCHES = flags.DEFINE_integer("batches", 8, "Batches to average over.", lower_bound=1)


def trainer_of(workdir: Path, **other: Any) -> tuple[Any, TrainConfig]:
    """Return the trainer of a run as its checkpoint left it, and its configuration.

    Args:
        workdir: folder of the run.
        other: fields of ``ModelConfig`` that are to differ from the run's.
    """
    from neid_tf.training import checkpoints
    from neid_tf.training.trainer import Trainer

    settings = json.loads((workdir / "settings.json").read_text("utf-8"))
    own, config = flatten(TrainConfig()), unflatten(TrainConfig, settings)
    fields = {n: v for n, v in settings.items() if n not in (*own, "model", "command")}
    network = models.build(settings["model"], **fields | other)
    whole = models.as_part(network, "training")
    trainer = Trainer(whole, config.objective, config.sampling.exposure, config.train)
    checkpoints.restore_network(workdir, trainer.network)
    return trainer, config


def norms(trainer: Any, batches: list[dict]) -> dict[str, float]:
    """Return the mean norm over batches of each term's gradient in the encoder.

    Args:
        trainer: as of :func:`trainer_of`.
        batches: of training.
    """
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


def kernels(trainer: Any, batches: list[dict]) -> dict[str, float]:
    """Return the root mean square of the loss's gradient in each kernel, by its path.

    Args:
        trainer: as of :func:`trainer_of`.
        batches: of training.
    """
    import tensorflow as tf

    variables = [v for v in trainer.network.trainable_variables if v.path.endswith("kernel")]
    squares = np.zeros(len(variables))
    for batch in batches:
        with tf.GradientTape() as tape:
            loss = trainer.compute_loss(y_pred=trainer(batch, training=True))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        squares += [float(tf.reduce_mean(tf.square(gradient))) for gradient in gradients]
    roots = np.sqrt(squares / len(batches))
    return {v.path: float(root) for v, root in zip(variables, roots, strict=True)}


def measure(workdir: Path, root: str | Path, count: int) -> dict[str, Any]:
    """Return the report of a run.

    Args:
        workdir: folder of the run.
        root: folder of the pairs.
        count: batches to average over.
    """
    training = held_out.hold_out(pairs.load_pairs(root), "lol")[0]
    trainer, config = trainer_of(workdir)
    model = trainer.network.config
    batches = list(training_batches(training, config.sampling, 0, count, model.tone))
    sizes, found = kernels(trainer, batches), {}
    for target in ("toned",) if model.tone else ("low", "reference"):
        report = norms(trainer_of(workdir, detail_target=target)[0], batches)
        found[f"detail, {target}"] = report.pop("detail")
        found = report | found
    return {
        "norms": found,
        "shares": {
            name: value / found[config.objective.reconstruction] for name, value in found.items()
        },
        "kernels": sizes,
        "epsilon": config.epsilon,
        "kernels_below_epsilon": sum(size < config.epsilon for size in sizes.values()),
        "batches": count,
        "run": str(workdir),
        "environment": environment(),
    }


def main(arguments: list[str]) -> None:
    """Read the flags, measure, write and print."""
    del arguments
    root, output = common.required(common.DATA), common.required(common.OUTPUT)
    run_folder = Path(common.required(_RUN))
    keras_start.import_keras()
    report = measure(run_folder, root, _BATCHES.value)
    report["command"] = command_line(__name__, "experiments.gradients", leave_out=())
    files.write_json(output, report, indent=2)
    for name, share in report["shares"].items():
        print(f"{name:<20}{report['norms'][name]:12.2e}{share:9.2%}")
    for name, size in report["kernels"].items():
        print(f"{name:<40}{size:12.2e}{'  below epsilon' * (size < report['epsilon'])}")


if __name__ == "__main__":
    run(main)
