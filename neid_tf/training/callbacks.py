"""What happens at the ends of steps and epochs: checks, validation, logs, checkpoints."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from neid_tf import models
from neid_tf.data.pairs import Pairs
from neid_tf.evaluation import report
from neid_tf.inference.enhance import enhance
from neid_tf.support.errors import NeidError
from neid_tf.training.board import Board
from neid_tf.training.trainer import Trainer
from neid_tf.training.workdir import Run


class NonFiniteLoss(NeidError, FloatingPointError):
    """A loss term became infinite or not a number; the message names step and term."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Stop a run, before anything is saved, at the first step with a bad loss term."""

    def on_train_batch_end(self, batch, logs=None):
        for term, value in (logs or {}).items():
            if term != "loss" and not np.isfinite(float(value)):
                step = int(self.model.optimizer.iterations)
                raise NonFiniteLoss(f"step {step}: the loss term '{term}' is {float(value)}")


@contextlib.contextmanager
def averaged(trainer: Trainer) -> Iterator[None]:
    """Put the moving average of the weights in place for a while, where one is kept.

    ``keras.callbacks.SwapEMAWeights`` exchanges weights and average by adding and subtracting
    them: both come back rounded, and a run that goes on from a checkpoint would differ from one
    that was not interrupted. Here the weights come back as they were.
    """
    network = trainer.network
    optimizer = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
    if not optimizer.use_ema or not int(optimizer.iterations):
        yield
        return
    weights = network.get_weights()
    optimizer.finalize_variable_values(network.trainable_variables)
    try:
        yield
    finally:
        network.set_weights(weights)


def finished(trainer: Trainer) -> models.NEID:
    """Return the trained network, with its averaged weights where there are any."""
    with averaged(trainer):
        return models.inference_model(trainer.network)


class Recorder(keras.callbacks.Callback):
    """Validates, logs and checkpoints at the ends of epochs.

    Args:
        run: the workdir.
        trainer: what is trained.
        validation: pairs to score; may be empty.
        steps: of an epoch.
    """

    def __init__(self, run: Run, trainer: Trainer, validation: Pairs, steps: int) -> None:
        super().__init__()
        self.run, self.trainer, self.validation, self.steps = run, trainer, validation, steps
        self.inference = models.inference_model(trainer.network)
        self.board = Board(run.workdir / "tensorboard") if run.chief else None

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if not self.run.chief:
            return
        config, done = self.run.config, epoch + 1
        row, last = self._row(done, logs or {}), done == config.epochs
        if done % config.validate_every == 0 or last:
            row |= self._validate(row)
        self.run.log(row)
        self.board.scalars(row)
        if (done % config.panel_every == 0 or last) and len(self.validation):
            whole = models.as_part(self.trainer.network, "whole")
            self.board.panel(whole, self.validation, done)
        if done % config.checkpoint_every == 0 or last:
            self.run.save(self.trainer, done)

    def _row(self, done: int, logs: dict[str, Any]) -> dict[str, float]:
        seconds = time.perf_counter() - self.started
        row = {"epoch": done} | {name: float(value) for name, value in logs.items()}
        row["learning_rate"] = float(np.asarray(self.trainer.optimizer.learning_rate))
        pictures = self.steps * self.run.config.sampling.batch_size
        return row | {"images_per_second": pictures / seconds}

    def _validate(self, row: dict[str, float]) -> dict[str, float]:
        with averaged(self.trainer):
            models.copy_weights(self.trainer.network, self.inference)
        scores = {}
        if len(self.validation):
            scored = report.evaluate(self.validation, lambda low: enhance(low, self.inference))
            scores = {f"validation_{name}": value for name, value in scored["mean"].items()}
            print(" ".join(f"{name} {value:.4f}" for name, value in scores.items()), flush=True)
        self.run.keep(self.inference, row | scores)
        return scores
