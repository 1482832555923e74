"""The workdir of a training run: settings, checkpoints, logs, weights."""

import contextlib
import dataclasses
import io
import json
import os
import time

import keras
import numpy as np

from neid_tf import evaluation, models
from neid_tf.inference.enhance import enhance
from neid_tf.models import pretrained
from neid_tf.support import files
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError


class NonFiniteLoss(NeidError, FloatingPointError):
    """A loss term became infinite or not a number; the message names step and term."""


def start(config):
    """Seed everything and set determinism and devices of a run.

    Returns:
        A ``tf.distribute`` strategy, or on other backends a stand-in with its ``scope``.
    """
    keras.utils.set_random_seed(config.seed)
    if keras.backend.backend() != "tensorflow":
        if config.strategy != "none":
            raise NeidError(f"strategy {config.strategy} needs Keras's TensorFlow backend")
        return _OneDevice()
    import tensorflow as tf

    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    return {
        "none": tf.distribute.get_strategy,
        "mirrored": tf.distribute.MirroredStrategy,
        "multiworker": tf.distribute.MultiWorkerMirroredStrategy,
    }[config.strategy]()


class _OneDevice:
    scope = staticmethod(contextlib.nullcontext)


def _is_chief():
    """Tell whether this process writes: the only one, or worker 0 of several."""
    task = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {})
    return task.get("type", "chief") == "chief" or task.get("index", 0) == 0


class Run:
    """The files of one run.

    ``settings.json`` (all parameters and the command), ``flags.txt`` (for ``--flagfile``),
    ``environment.json``, ``history.jsonl`` (a line an epoch), ``checkpoint.npz`` (weights,
    optimizer, epoch), ``best.npz`` and ``last.npz`` (weights to load by path), ``tensorboard/``.

    Args:
        workdir, config, model_name, model_fields, command: as for
            :func:`neid_tf.training.trainer.train`.
    """

    def __init__(self, workdir, config, model_name, model_fields, command):
        self.workdir, self.config, self.command = workdir, config, list(command)
        self.chief = config.strategy != "multiworker" or _is_chief()
        self.settings = dataclasses.asdict(config) | {"model": model_name} | model_fields
        self.best = float("-inf")
        self._check_settings()
        if self.chief:
            self._write_json("settings.json", self.settings | {"command": self.command})
            self._write_json("environment.json", environment())
            flags = "".join(f"{flag}\n" for flag in self.command[2:])
            files.write_whole(workdir / "flags.txt", flags.encode())

    def _check_settings(self):
        """Refuse to mix two runs in one folder; only a longer run may go on."""
        path = self.workdir / "settings.json"
        if not (self.workdir / "checkpoint.npz").exists() or not path.exists():
            return
        # A run from before a parameter was there had its default.
        defaults = {field.name: field.default for field in dataclasses.fields(self.config)}
        old = defaults | json.loads(path.read_text("utf-8"))
        free = {"validate_every", "checkpoint_every", "panel_every", "command"}
        if self.config.schedule == "piecewise":
            free.add("epochs")
        names = (set(old) | set(self.settings)) - free
        changed = [name for name in sorted(names) if old.get(name) != self.settings.get(name)]
        if changed:
            pairs = ", ".join(f"{n} was {old.get(n)}, is {self.settings.get(n)}" for n in changed)
            raise NeidError(f"{self.workdir} holds another run: {pairs}")

    def _write_json(self, name, content):
        text = json.dumps(content, indent=2, default=str) + "\n"
        files.write_whole(self.workdir / name, text.encode())

    def save(self, trainer, epoch):
        """Write the checkpoint: weights, optimizer and its averages, and the epochs done."""
        arrays = {f"n{i}": np.asarray(v) for i, v in enumerate(trainer.network.variables)}
        arrays |= {f"o{i}": np.asarray(v) for i, v in enumerate(trainer.optimizer.variables)}
        buffer = io.BytesIO()
        np.savez(buffer, epoch=epoch, best=self.best, **arrays)
        files.write_whole(self.workdir / "checkpoint.npz", buffer.getvalue())

    def restore(self, trainer):
        """Load the checkpoint if there is one; return the epochs that are done."""
        path = self.workdir / "checkpoint.npz"
        if not path.exists():
            return 0
        with np.load(path, allow_pickle=False) as file:
            for prefix, owner in (("n", trainer.network), ("o", trainer.optimizer)):
                for index, variable in enumerate(owner.variables):
                    variable.assign(file[f"{prefix}{index}"])
            self.best = float(file["best"])
            epoch = int(file["epoch"])
        self._trim_history(epoch)
        return epoch

    def _trim_history(self, epoch):
        path = self.workdir / "history.jsonl"
        if self.chief and path.exists():
            kept = [row for row in self.history() if row["epoch"] <= epoch]
            text = "".join(json.dumps(row) + "\n" for row in kept)
            files.write_whole(path, text.encode())

    def history(self):
        """Return the rows of ``history.jsonl``."""
        lines = (self.workdir / "history.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def log(self, row):
        """Append a row to ``history.jsonl``."""
        with open(self.workdir / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def keep(self, model, row):
        """Write ``last.npz``, and ``best.npz`` where validation never was better."""
        card = self.card(row)
        pretrained.save(model, self.workdir / "last.npz", card)
        if row.get("validation_psnr", float("-inf")) > self.best:
            self.best = row["validation_psnr"]
            pretrained.save(model, self.workdir / "best.npz", card)

    def card(self, row):
        """Return what is to be known of weights: settings, command, scores, commit."""
        prefix = "validation_"
        scores = {n.removeprefix(prefix): v for n, v in row.items() if n.startswith(prefix)}
        return {
            "command": " ".join(self.command),
            "settings": self.settings,
            "epochs_trained": row["epoch"],
            "validation": scores,
            "environment": environment(),
        }

    def finish(self, trainer):
        """Return the trained network, with its averaged weights where there are any."""
        with averaged(trainer):
            return models.inference_model(trainer.network)


@contextlib.contextmanager
def averaged(trainer):
    """Put the moving average of the weights in place for a while, where one is kept."""
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


class StopOnNonFinite(keras.callbacks.Callback):
    """Stop a run, before anything is saved, at the first step with a bad loss term."""

    def on_train_batch_end(self, batch, logs=None):
        for term, value in (logs or {}).items():
            if term != "loss" and not np.isfinite(float(value)):
                step = int(self.model.optimizer.iterations)
                raise NonFiniteLoss(f"step {step}: the loss term '{term}' is {float(value)}")


class Recorder(keras.callbacks.Callback):
    """Validates, logs and checkpoints at the ends of epochs."""

    def __init__(self, run, trainer, validation, steps):
        super().__init__()
        self.run, self.trainer, self.validation, self.steps = run, trainer, validation, steps
        self.inference = models.inference_model(trainer.network)
        self.board = _board(run) if run.chief else None

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if not self.run.chief:
            return
        config, done = self.run.config, epoch + 1
        seconds = time.perf_counter() - self.started
        row = {"epoch": done} | {name: float(value) for name, value in (logs or {}).items()}
        row["learning_rate"] = float(np.asarray(self.trainer.optimizer.learning_rate))
        row["images_per_second"] = self.steps * config.batch_size / seconds
        last = done == config.epochs
        if done % config.validate_every == 0 or last:
            row |= self._validate(row)
        self.run.log(row)
        self._board(row, panel=done % config.panel_every == 0 or last)
        if done % config.checkpoint_every == 0 or last:
            self.run.save(self.trainer, done)

    def _validate(self, row):
        with averaged(self.trainer):
            models.transfer(self.trainer.network, self.inference)
        scores = {}
        if len(self.validation):
            rows = zip(
                self.validation.names, self.validation.low, self.validation.high, strict=True
            )
            report = evaluation.evaluate(rows, self._enhance)
            scores = {f"validation_{name}": value for name, value in report["mean"].items()}
            print(" ".join(f"{name} {value:.4f}" for name, value in scores.items()), flush=True)
        self.run.keep(self.inference, row | scores)
        return scores

    def _enhance(self, low):
        return enhance(low, self.inference)

    def _board(self, row, panel):
        if self.board is None:
            return
        import tensorflow as tf

        with self.board.as_default():
            for name, value in row.items():
                tf.summary.scalar(name.replace("validation_", "validation/"), value, row["epoch"])
            if panel and len(self.validation):
                tf.summary.image("panel", self._panel()[None], row["epoch"])
        self.board.flush()

    def _panel(self, count=3):
        """Return rows of pictures side by side: input, LE, DR where there is one, reference."""
        whole = models.rebuild(self.trainer.network, "whole")
        rows = []
        for low, high in zip(
            self.validation.low[:count], self.validation.high[:count], strict=True
        ):
            pictures = [low, *(enhance(low, part) for part in _parts(whole)), high]
            rows.append(np.concatenate(pictures, axis=1))
        widest = max(row.shape[1] for row in rows)
        rows = [np.pad(row, [(0, 0), (0, widest - row.shape[1]), (0, 0)]) for row in rows]
        return np.concatenate(rows, axis=0)


def _parts(whole):
    """Return functions from a small picture to LE's and DR's picture."""
    names = [name for name in ("le", "dr") if name in whole.output]
    functions = [lambda batch, name=name: whole(batch, training=False)[name] for name in names]
    for function in functions:
        function.config = whole.config
    return functions


def _board(run):
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.summary.create_file_writer(str(run.workdir / "tensorboard"))
