"""What happens at the ends of steps and epochs: checks, validation, logs, checkpoints."""

import contextlib
import time
from collections.abc import Iterator, Sequence
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

_LARGEST = float(np.finfo(np.float16).max)


class NonFiniteLoss(NeidError, FloatingPointError):
    """A loss term became infinite or not a number; the message names step and term."""


class DivergedError(NeidError, FloatingPointError):
    """Weights have grown too large to be kept; the message names the epoch and the layer."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Stop a run, before anything is saved, at the first step with a bad loss term.

    Args:
        steps: of an epoch.
    """

    async_safe = True
    """Keras may call it from threads, so that on JAX no step waits for the losses of the last."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.first = steps, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.first = epoch * self.steps

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        terms = {name: value for name, value in (logs or {}).items() if name != "psnr"}
        total = {"loss": terms.pop("loss")} if "loss" in terms else {}
        for term, value in (terms or total).items():
            if not np.isfinite(float(value)):
                step = self.first + batch + 1
                raise NonFiniteLoss(f"step {step}: the loss term '{term}' is {float(value)}")


def _steps_done(optimizer: Any) -> int:
    """Return the number of steps; the variable is one of several copies under a strategy."""
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


@contextlib.contextmanager
def averaged(variables: Sequence[Any], optimizer: Any) -> Iterator[None]:
    """Put the moving average of the weights in place for a while, where one is kept.

    ``keras.callbacks.SwapEMAWeights`` exchanges weights and average by adding and subtracting
    them: both come back rounded, and a run that goes on from a checkpoint would differ from one
    that was not interrupted. Here the weights come back as they were.

    Args:
        variables: those that learn.
        optimizer: what trains them, built.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.use_ema or not _steps_done(optimizer):
        yield
        return
    present = [variable.numpy() for variable in variables]
    optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, present, strict=True):
            variable.assign(value)


def check_weights(network: models.NEID, epoch: int) -> None:
    """Check that a network's weights can be kept: weights files have half precision.

    Args:
        network: the network that is trained.
        epoch: the number of epochs done, for the message.

    Raises:
        DivergedError: naming the first weight that is too large, or not a number.
    """
    for variable in network.weights:
        largest = float(np.max(np.abs(np.asarray(variable)), initial=0.0))
        if not largest <= _LARGEST:
            raise DivergedError(
                f"epoch {epoch}: training has diverged, {variable.path} has a weight of size "
                f"{largest:.3g}: a smaller --learning_rate, or --clip_norm, may help"
            )


def copy_average(trainer: Trainer, network: models.NEID) -> None:
    """Copy what is trained to a network: its averaged weights where there are any.

    Args:
        trainer: what is trained.
        network: a network of the same layers.
    """
    with averaged(trainer.network.trainable_variables, trainer.optimizer):
        models.copy_weights(trainer.network, network)


class Recorder(keras.callbacks.Callback):
    """Validates, logs and checkpoints at the ends of epochs.

    Args:
        run: the workdir.
        trainer: what is trained.
        network: the same network, part ``whole``, in single precision; it is validated and kept,
            and has the averaged weights when the training ends.
        validation: pairs to score; may be empty.
        steps: of an epoch.
    """

    def __init__(
        self, run: Run, trainer: Trainer, network: models.NEID, validation: Pairs, steps: int
    ) -> None:
        super().__init__()
        self.run, self.trainer, self.validation, self.steps = run, trainer, validation, steps
        self.network, self.inference = network, models.inference_model(network)
        self.board = Board(run.workdir / "tensorboard") if run.chief else None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        config, done = self.run.config, epoch + 1
        check_weights(self.trainer.network, done)
        validates, shows, last = self._due(done)
        if validates or shows:
            copy_average(self.trainer, self.network)
        if not self.run.chief:
            return
        row = self._row(done, logs or {})
        if validates:
            row |= self._validate(row)
        self.run.log(row)
        if done % config.checkpoint_every == 0 or last:
            self.run.save(self.trainer, done, self.steps)
        self.board.scalars(row)
        if shows:
            self.board.panel(self.network, self.validation, done)

    def keep(self, done: int) -> None:
        """Validate and keep the network's weights as those after some epochs."""
        self._validate({"epoch": done})

    def _due(self, done: int) -> tuple[bool, bool, bool]:
        """Tell whether there is a validation and a panel after an epoch, and whether it ends."""
        config, last = self.run.config, done == self.run.config.epochs
        shows = (done % config.panel_every == 0 or last) and self._scores()
        return done % config.validate_every == 0 or last, shows, last

    def _scores(self) -> bool:
        """Tell whether there are pictures to score, and a network that enhances them."""
        return len(self.validation) > 0 and self.trainer.enhances

    def _row(self, done: int, logs: dict[str, Any]) -> dict[str, float]:
        seconds = time.perf_counter() - self.started
        row = {"epoch": done} | {name: float(value) for name, value in logs.items()}
        row["learning_rate"] = float(np.asarray(self.trainer.optimizer.learning_rate))
        pictures = self.steps * self.run.config.sampling.batch_size
        return row | {"images_per_second": pictures / seconds}

    def _validate(self, row: dict[str, float]) -> dict[str, float]:
        scores = {}
        if self._scores():
            scored = report.evaluate(self.validation, lambda low: enhance(low, self.inference))
            scores = {f"validation_{name}": value for name, value in scored["mean"].items()}
            print(" ".join(f"{name} {value:.4f}" for name, value in scores.items()), flush=True)
        self.run.keep(self.inference, row | scores)
        return scores
