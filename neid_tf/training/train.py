"""A whole training run: from pairs to weights in a workdir (section 3.2)."""

import collections
import contextlib
import dataclasses
import functools
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from neid_tf import models
from neid_tf.data.batches import training_batches
from neid_tf.data.pairs import Pairs
from neid_tf.models import pretrained
from neid_tf.models.config import LIMITS, READING
from neid_tf.support.errors import NeidError
from neid_tf.training import callbacks, checkpoints, devices, lock
from neid_tf.training.config import TrainConfig
from neid_tf.training.rival_trainer import RivalTrainer
from neid_tf.training.trainer import Trainer
from neid_tf.training.workdir import Run

_MANY_SLIGHT = 0.25
"""Of pairs whose reference is hardly brighter it is told where they are more than this share."""
_MOST_OF_START = 0.1
"""Of a moving average it is told where the start has a larger share of it at the end."""


def train(
    config: TrainConfig,
    model_name: str,
    model_fields: Mapping[str, Any],
    pairs: Pairs,
    validation: Pairs,
    workdir: Path | str,
    command: Sequence[str] = (),
    allow_changed_data: bool = False,
) -> models.NEID:
    """Train a model, or go on with the run that is in ``workdir``.

    Args:
        config: the parameters of the run.
        model_name: one of :data:`neid_tf.models.VARIANTS`.
        model_fields: what differs from the variant: fields of ``ModelConfig``.
        pairs: what to train on, no picture smaller than the crop.
        validation: pairs to score every ``validate_every`` epochs; may be empty.
        workdir: folder of checkpoints, weights, logs and settings.
        command: the words of the command line, not quoted, for the card of the weights.
        allow_changed_data: go on with a run although its pairs are not what they were.

    Returns:
        The trained network, part ``inference``, in the precision that Keras is set to; what is
        validated is so too.

    Raises:
        NonFiniteLoss: where a loss term is not a number any more.
        DivergedError: where weights have grown too large to be kept.
        WeightsError: where ``config.init`` cannot be read.
        NeidError: where another training runs in ``workdir``, or it holds a run with other
            settings, with other pairs or with files that can't be read; where the model can't be
            trained so; where next to nothing of ``config.init`` fits.
    """
    workdir, described = Path(workdir), models.model_config(model_name, **model_fields)
    config.check_model(described)
    if not checkpoints.exist(workdir):
        config.check_init()  # Before anything is made.
    with lock.held(workdir) if devices.is_chief(config.strategy) else contextlib.nullcontext():
        run = Run(workdir, config, model_name, model_fields, command)
        if not (config.init or run.goes_on):
            config.check_fresh(described)
        run.check_data(pairs, validation, allow_changed_data)
        strategy = devices.start(config)
        _check_shares(config.sampling.batch_size, strategy.num_replicas_in_sync)
        steps = config.sampling.steps_per_epoch(pairs)
        network = models.build(model_name, **model_fields)
        if config.init and not run.goes_on:
            _start_from(config.init, network, run.chief)
        with strategy.scope(), devices.precision(config.mixed_precision):
            optimizer = config.optimizer(steps, strategy.num_replicas_in_sync)
            trainer = _trainer(config, network, optimizer)
            first = run.restore(trainer, steps)
        callbacks.copy_average(trainer, network)
        recorder = functools.partial(callbacks.Recorder, run, trainer, network, validation, steps)
        if run.chief and first >= config.epochs and run.kept_epochs() < first:
            recorder().keep(first)  # It was to be longer, and has a checkpoint there alone.
        _tell_start(run, first)
        if run.chief:
            _tell_average(config.ema, config.epochs * steps)
            _tell_slight(getattr(described, "tone_least_lift", 0.0), pairs)
        if run.chief and len(validation) and not trainer.enhances:
            unscored = f"makes no pictures: the {len(validation)} pairs held out are not scored"
            print(f"--train={config.train} {unscored}", file=sys.stderr, flush=True)
        if first < config.epochs:
            _fit(run, trainer, pairs, recorder(), first)
        return models.inference_model(network)


def _tell_average(momentum: float, steps: int) -> None:
    """Say of a moving average that holds much of the start for as long as the run is."""
    if momentum and momentum**steps > _MOST_OF_START:
        share = f"--ema={momentum:g}: after {steps} steps {momentum**steps:.0%} of the weights"
        print(f"{share} that are kept are still the start's", file=sys.stderr, flush=True)


def _tell_slight(least: float, pairs: Pairs) -> None:
    """Say of pairs that ask for less light than what the network gives at the least."""
    if not least:
        return
    factor = math.exp(least)
    slight = sum(high.mean() < factor * low.mean() for _, low, high in pairs)
    if slight > _MANY_SLIGHT * len(pairs):
        asked = f"{slight} of {len(pairs)} pairs are brightened by a factor below {factor:.2f}"
        left = f"most of that is left out (--tone_least_lift={least:g}; 0, with --tone_shade=1,"
        print(f"{asked}: {left} leaves nothing out)", file=sys.stderr, flush=True)


def _check_shares(batch_size: int, count: int) -> None:
    """Refuse a batch that devices do not share evenly: its samples would not weigh the same."""
    if batch_size % count:
        multiple = "a multiple of their number"
        raise NeidError(f"--batch_size={batch_size} on {count} devices: it must be {multiple}")


def _start_from(init: str, network: models.NEID, tells: bool) -> None:
    """Take the weights that a run starts from, and say which layers start afresh, and why.

    Raises:
        NeidError: where neither the whole tone fits nor a quarter of the other layers: a few
            layers have the same shape by chance.
    """
    source = pretrained.load_pretrained(init)
    afresh = models.load_matching(source, network)
    learning = {layer.name for layer in network.layers if layer.trainable_weights}
    tone, taken = {n for n in learning if n.startswith("tone_")}, learning - set(afresh)
    summary = f"{init}: {len(taken)} of {len(learning)} layers that learn start from it"
    theirs, ours = (dataclasses.asdict(model.config) for model in (source, network))
    changed = {n: v for n, v in theirs.items() if ours.get(n, v) != v}
    differing = ", ".join(f"{name}={value}" for name, value in changed.items())
    if not (tone and tone <= taken) and 4 * len(taken - tone) < len(learning - tone):
        raise NeidError(f"{summary}, next to nothing; it has {differing}")
    if tells:
        counts = collections.Counter(re.match("[a-z]*", name)[0] for name in afresh)
        rest = ", ".join(f"{part} ({count})" for part, count in counts.items())
        reads_otherwise = tone & taken and changed.keys() & {*READING, *LIMITS}
        matters = counts.keys() - {"dr"} or reads_otherwise
        why = f"; it has {differing}" if differing and matters else ""
        print(f"{summary}; afresh: {rest or 'none'}{why}", flush=True)


def _trainer(config: TrainConfig, network: models.NEID, optimizer: Any) -> Trainer:
    """Return the compiled trainer of a copy of a network, for training."""
    copy, exposure = models.as_part(network, "training"), config.sampling.exposure
    if isinstance(network, models.Rival):
        trainer = RivalTrainer(copy, config.train, exposure)
    else:
        trainer = Trainer(copy, config.objective, exposure, config.train)
    compiled = config.jit_compile or keras.backend.backend() == "jax"
    trainer.compile(optimizer=optimizer, jit_compile=compiled, loss=None)
    return trainer


def _tell_start(run: Run, first: int) -> None:
    """Say where a run that goes on starts, and where the weights of a finished one are."""
    if not (run.chief and run.goes_on):
        return
    if first < run.config.epochs:
        print(f"{run.workdir}: going on after epoch {first} of {run.config.epochs}", flush=True)
    else:
        print(f"{run.workdir}: all {first} epochs are done; weights: {run.weights()}", flush=True)


def _fit(
    run: Run, trainer: Trainer, pairs: Pairs, recorder: callbacks.Recorder, first: int
) -> None:
    """Train from an epoch on to the last one."""
    config = run.config
    steps = config.sampling.steps_per_epoch(pairs)
    tone, pairs = trainer.network.config.tone, trainer.prepared(pairs)
    left = (config.epochs - first) * steps
    trainer.fit(
        training_batches(pairs, config.sampling, first * steps, left, thumbnail=tone),
        initial_epoch=first,
        epochs=config.epochs,
        steps_per_epoch=steps,
        callbacks=[callbacks.StopOnNonFinite(steps), recorder],
        # The batches are drawn at random already; Keras warns where it is asked to shuffle them.
        shuffle=False,
        verbose=(1 if sys.stdout.isatty() else 2) if run.chief else 0,
    )
    if run.chief:
        print(f"{run.workdir}: done; weights: {run.weights()}", flush=True)
