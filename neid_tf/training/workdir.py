"""The workdir of a training run: settings, checkpoints, logs, weights."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neid_tf.models import pretrained
from neid_tf.models.neid import NEID
from neid_tf.support import files
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError
from neid_tf.support.fields import flatten
from neid_tf.training.config import TrainConfig
from neid_tf.training.devices import is_chief
from neid_tf.training.trainer import Trainer


class Run:
    """The files of one run.

    ``settings.json`` (all parameters and the command), ``flags.txt`` (for ``--flagfile``),
    ``environment.json``, ``history.jsonl`` (a line an epoch), ``checkpoint.npz`` (weights,
    optimizer, epoch), ``best.npz`` and ``last.npz`` (weights to load by path), ``tensorboard/``.

    Args:
        workdir, config, model_name, model_fields, command: as for
            :func:`neid_tf.training.train.train`.
    """

    def __init__(
        self,
        workdir: Path,
        config: TrainConfig,
        model_name: str,
        model_fields: Mapping[str, Any],
        command: Sequence[str],
    ) -> None:
        self.workdir, self.config, self.command = workdir, config, list(command)
        self.chief = is_chief(config.strategy)
        self.settings = flatten(config) | {"model": model_name} | dict(model_fields)
        self.best = float("-inf")
        self._check_settings()
        if self.chief:
            self._write_json("settings.json", self.settings | {"command": self.command})
            self._write_json("environment.json", environment())
            flags = "".join(f"{flag}\n" for flag in self.command[2:])
            files.write_whole(workdir / "flags.txt", flags.encode())

    def _check_settings(self) -> None:
        """Refuse to mix two runs in one folder; only a longer run may go on."""
        path = self.workdir / "settings.json"
        if not (self.workdir / "checkpoint.npz").exists() or not path.exists():
            return
        # A run from before a parameter was there had its default.
        defaults = flatten(TrainConfig())
        old = defaults | json.loads(path.read_text("utf-8"))
        free = {"validate_every", "checkpoint_every", "panel_every", "command"}
        if self.config.schedule == "piecewise":
            free.add("epochs")
        names = (set(old) | set(self.settings)) - free
        changed = [name for name in sorted(names) if old.get(name) != self.settings.get(name)]
        if changed:
            pairs = ", ".join(f"{n} was {old.get(n)}, is {self.settings.get(n)}" for n in changed)
            raise NeidError(f"{self.workdir} holds another run: {pairs}")

    def _write_json(self, name: str, content: Any) -> None:
        text = json.dumps(content, indent=2, default=str) + "\n"
        files.write_whole(self.workdir / name, text.encode())

    def save(self, trainer: Trainer, epoch: int) -> None:
        """Write the checkpoint: weights, optimizer and its averages, and the epochs done."""
        arrays = {f"n{i}": np.asarray(v) for i, v in enumerate(trainer.network.variables)}
        arrays |= {f"o{i}": np.asarray(v) for i, v in enumerate(trainer.optimizer.variables)}
        buffer = io.BytesIO()
        np.savez(buffer, epoch=epoch, best=self.best, **arrays)
        files.write_whole(self.workdir / "checkpoint.npz", buffer.getvalue())

    def restore(self, trainer: Trainer) -> int:
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

    def _trim_history(self, epoch: int) -> None:
        path = self.workdir / "history.jsonl"
        if self.chief and path.exists():
            kept = [row for row in self.history() if row["epoch"] <= epoch]
            text = "".join(json.dumps(row) + "\n" for row in kept)
            files.write_whole(path, text.encode())

    def history(self) -> list[dict[str, Any]]:
        """Return the rows of ``history.jsonl``."""
        lines = (self.workdir / "history.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def log(self, row: Mapping[str, Any]) -> None:
        """Append a row to ``history.jsonl``."""
        with open(self.workdir / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def keep(self, model: NEID, row: Mapping[str, Any]) -> None:
        """Write ``last.npz``, and ``best.npz`` where validation never was better."""
        card = self.card(row)
        pretrained.save(model, self.workdir / "last.npz", card)
        if row.get("validation_psnr", float("-inf")) > self.best:
            self.best = row["validation_psnr"]
            pretrained.save(model, self.workdir / "best.npz", card)

    def card(self, row: Mapping[str, Any]) -> dict[str, Any]:
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
