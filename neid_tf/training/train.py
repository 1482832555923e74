"""A whole training run: from pairs to weights in a workdir (section 3.2)."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neid_tf import models
from neid_tf.data.batches import training_batches
from neid_tf.data.pairs import Pairs
from neid_tf.models import pretrained
from neid_tf.training import callbacks, devices
from neid_tf.training.config import TrainConfig
from neid_tf.training.trainer import Trainer
from neid_tf.training.workdir import Run


def train(
    config: TrainConfig,
    model_name: str,
    model_fields: Mapping[str, Any],
    pairs: Pairs,
    validation: Pairs,
    workdir: Path | str,
    command: Sequence[str] = (),
) -> models.NEID:
    """Train a model, or go on with the run that is in ``workdir``.

    Args:
        config: the parameters of the run.
        model_name: one of :data:`neid_tf.models.VARIANTS`.
        model_fields: what differs from the variant: fields of ``ModelConfig``.
        pairs: what to train on, no picture smaller than the crop.
        validation: pairs to score every ``validate_every`` epochs; may be empty.
        workdir: folder of checkpoints, weights, logs and settings.
        command: the command line, for the card of the weights.

    Returns:
        The trained network, part ``inference``, in the precision that Keras is set to; what is
        validated is so too.

    Raises:
        NonFiniteLoss: where a loss term is not a number any more.
        WeightsError: where ``config.init`` cannot be read.
        ValueError: where ``workdir`` holds a run with other settings.
    """
    run = Run(Path(workdir), config, model_name, model_fields, command)
    strategy = devices.start(config)
    steps = config.sampling.steps_per_epoch(pairs)
    with strategy.scope(), devices.precision(config.mixed_precision):
        trainer = _trainer(config, models.build(model_name, **model_fields), steps)
        first = run.restore(trainer)
    batches = training_batches(
        pairs,
        config.sampling,
        first * steps,
        (config.epochs - first) * steps,
        thumbnail=trainer.network.config.tone,
    )
    trainer.fit(
        batches,
        initial_epoch=first,
        epochs=config.epochs,
        steps_per_epoch=steps,
        callbacks=[
            callbacks.StopOnNonFinite(),
            callbacks.Recorder(run, trainer, validation, steps),
        ],
        # The batches are drawn at random already; Keras warns where it is asked to shuffle them.
        shuffle=False,
        verbose=(1 if sys.stdout.isatty() else 2) if run.chief else 0,
    )
    return callbacks.finished(trainer)


def _trainer(config: TrainConfig, network: models.NEID, steps: int) -> Trainer:
    """Return the compiled trainer of a network, which starts from ``config.init`` if given."""
    if config.init:
        models.load_matching(pretrained.load_pretrained(config.init), network)
    whole = models.as_part(network, "training")
    trainer = Trainer(whole, config.objective, config.sampling.exposure, config.train)
    trainer.compile(optimizer=config.optimizer(steps), jit_compile=config.jit_compile, loss=None)
    trainer.optimizer.build(trainer.network.trainable_variables)
    return trainer
