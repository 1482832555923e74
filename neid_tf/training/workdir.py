"""The workdir of a training run: settings, fingerprint of the data, history, weights."""

import contextlib
import dataclasses
import json
import shlex
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neid_tf.data.pairs import Pairs
from neid_tf.models import pretrained
from neid_tf.models.config import model_config
from neid_tf.models.neid import NEID
from neid_tf.models.weights_file import WeightsError, WeightsFile
from neid_tf.support import files
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError, reason_of
from neid_tf.support.fields import flatten, ineffective
from neid_tf.training import checkpoints
from neid_tf.training.config import TrainConfig
from neid_tf.training.devices import is_chief
from neid_tf.training.trainer import Trainer

_OTHERS_BEST = "best_of_other_pictures"
_KEPT = ("last.npz", "best.npz")
_WRITTEN = ("environment.json", "flags.txt", "data.json", "history.jsonl")  # After settings.json.
_FREE = {"validate_every", "checkpoint_every", "panel_every", "command"}
"""Settings that may change when a run goes on."""


class Run:
    """The files of one run.

    ``settings.json`` (all parameters and the command), ``flags.txt`` (for ``--flagfile``),
    ``data.json`` (a fingerprint of every pair), ``environment.json``, ``history.jsonl`` (a line an
    epoch), ``checkpoint.npz`` and the one before it (weights, optimizer, epoch), ``best.npz`` and
    ``last.npz`` (weights to load by path), ``tensorboard/``.

    Args:
        workdir: the folder.
        config: the parameters of the run.
        model_name: one of :data:`neid_tf.models.VARIANTS`.
        model_fields: fields of ``ModelConfig`` that differ from the variant's.
        command: the words of the command line, not quoted.

    Raises:
        NeidError: where the folder holds a run with other settings, its settings can't be read, or
            it holds files of the names above that are of no run.
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
        self.best, self._scores_others = float("-inf"), False
        self.goes_on, self._data = checkpoints.exist(workdir), {}
        self._begun = self.goes_on or any((workdir / name).exists() for name in _KEPT)
        if self._begun:
            self._check_settings()
        elif self.chief:
            self._check_new()
        if self._begun and not self.goes_on and self.chief:
            lost = "there are weights of this run and no checkpoint: it starts over"
            print(f"{workdir}: {lost}", file=sys.stderr, flush=True)

    def _write_settings(self) -> None:
        settings = self.settings | {"command": self.command}
        files.write_json(self.workdir / "settings.json", settings, indent=2)
        files.write_json(self.workdir / "environment.json", environment(), indent=2)
        flags = "".join(f"{flag}\n" for flag in self.command[2:])
        files.write_whole(self.workdir / "flags.txt", flags.encode("utf-8", "surrogateescape"))

    def _check_new(self) -> None:
        """Refuse to write over files that no run has written."""
        if (self.workdir / "settings.json").exists():
            return  # Of a run that was ended before its first checkpoint.
        for path in (self.workdir / name for name in _WRITTEN):
            if path.exists():
                raise NeidError(f"{path}: is there already, and of no run: give another --workdir")

    def _check_settings(self) -> None:
        """Refuse to mix two runs in one folder; only a longer run may go on."""
        path = self.workdir / "settings.json"
        if not path.exists():
            lost = "the settings of the run are not there any more"
            raise NeidError(f"{path}: {lost}{self._way_out(())}")
        # A run from before a parameter was there had its default.
        old = flatten(TrainConfig()) | _read_json(path)
        # Where it has started the weights it started from may be gone.
        if self.goes_on and not self.settings["init"]:
            self.settings["init"] = old["init"]
        free = _FREE | ({"epochs"} if self.config.schedule == "piecewise" else set())
        new, old = self._whole(self.settings), self._whole(old) | self._made()
        names = (set(old) | set(new)) - free - ineffective(TrainConfig, self.settings)
        changed = [name for name in sorted(names) if old.get(name) != new.get(name)]
        if changed:
            pairs = ", ".join(f"{n} was {old.get(n)}, is {new.get(n)}" for n in changed)
            raise NeidError(f"{self.workdir} holds another run: {pairs}{self._way_out(changed)}")

    def _whole(self, settings):
        """Return settings with all fields of the model, not only those that were told."""
        own = {*flatten(TrainConfig()), "model", "command"}
        told = {name: value for name, value in settings.items() if name not in own}
        name = settings.get("model", self.settings["model"])
        return settings | dataclasses.asdict(model_config(name, **told))

    def _made(self):
        """Return the fields of the model that the run has; a variant may have changed since."""
        with contextlib.suppress(WeightsError), WeightsFile(self.workdir / "last.npz") as file:
            return dataclasses.asdict(file.config)
        return {}

    def _way_out(self, changed: Sequence[str]) -> str:
        there = [path for path in (self.workdir / name for name in _KEPT) if path.exists()]
        start = [f"start from its weights in another folder (--init={path})" for path in there[:1]]
        if changed == ["epochs"]:
            return ": ".join(["; the length of a cosine schedule is fixed", *start])
        return ", or ".join(["; give it another --workdir", *start])

    def check_data(self, training: Pairs, validation: Pairs, allow_changed: bool) -> None:
        """Compare the pairs with those that the run began with; note them and the settings.

        Args:
            training: the pairs to train on.
            validation: the pairs that are held out.
            allow_changed: go on with other pairs all the same.

        Raises:
            NeidError: where they have changed and that is not allowed.
        """
        path = self.workdir / "data.json"
        now = {"training": _fingerprints(training), "validation": _fingerprints(validation)}
        if self._begun and not path.exists():
            lost = "is not there any more: whether these are the run's pairs can't be told"
            print(f"{path}: {lost}", file=sys.stderr, flush=True)
        elif self._begun:
            before = _read_json(path)
            changes = [_changes(side, before.get(side, {}), now[side]) for side in now]
            self._scores_others = bool(changes[1]) or bool(before.get(_OTHERS_BEST))
            if any(changes) and not allow_changed:
                summary = "; ".join(filter(None, changes))
                raise NeidError(
                    f"{self.workdir}: the data set is not the one that the run began with "
                    f"({summary}): --allow_changed_data goes on with it"
                )
        if self.chief:
            if self.config.epochs >= self.kept_epochs():  # Else nothing is left to do.
                self._write_settings()
            self._data = now
            mark = {_OTHERS_BEST: True} if self._scores_others else {}
            files.write_json(path, now | mark, indent=2)

    def save(self, trainer: Trainer, epoch: int, steps: int) -> None:
        """Write the checkpoint: weights, optimizer and its averages, and the epochs done.

        Args:
            trainer: what is trained.
            epoch: the number of epochs done.
            steps: of an epoch.
        """
        network, optimizer = trainer.network, trainer.optimizer
        checkpoints.save(self.workdir, network, optimizer, epoch, self.best, steps)
        if self._scores_others:  # The best that it holds is one of these pictures.
            files.write_json(self.workdir / "data.json", self._data, indent=2)
            self._scores_others = False

    def restore(self, trainer: Trainer, steps: int) -> int:
        """Load the checkpoint if there is one; return the epochs that are done.

        What the history has of later epochs is dropped: they come again.

        Args:
            trainer: what is trained.
            steps: of an epoch; see :func:`neid_tf.training.checkpoints.restore`.
        """
        network, optimizer = trainer.network, trainer.optimizer
        epoch, self.best = checkpoints.restore(self.workdir, network, optimizer, steps)
        if self._scores_others:  # What was best of other pictures says nothing of these.
            self.best = float("-inf")
        path = self.workdir / "history.jsonl"
        if self.chief and path.exists():
            kept = [row for row in self.history() if row["epoch"] <= epoch]
            files.write_whole(path, b"".join(map(_line, kept)))
        return epoch

    def history(self) -> list[dict[str, Any]]:
        """Return the rows of ``history.jsonl``; a last line that was cut off is left out.

        Raises:
            NeidError: naming the file and the line that can't be read.
        """
        path = self.workdir / "history.jsonl"
        text, rows = path.read_text("utf-8", "replace"), []
        lines = text.splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(json.loads(line))
                int(rows[-1]["epoch"])
            except (ValueError, KeyError, TypeError) as error:
                if number < len(lines) or text.endswith("\n"):
                    raise NeidError(f"{path}: line {number} can't be read: {error}") from error
                del rows[number - 1 :]
                print(f"{path}: the last line was cut off and is dropped", file=sys.stderr)
        return rows

    def log(self, row: Mapping[str, Any]) -> None:
        """Append a row to ``history.jsonl``."""
        path = self.workdir / "history.jsonl"
        with files.named(path), open(path, "ab") as file:
            file.write(_line(row))

    def keep(self, model: NEID, row: Mapping[str, Any]) -> None:
        """Write ``last.npz``, and ``best.npz`` where validation never was better.

        Args:
            model: the network to keep, in half precision.
            row: the epoch's row of the history, with its scores.
        """
        card = self.card(row)
        pretrained.save(model, self.workdir / "last.npz", card)
        if row.get("validation_psnr", float("-inf")) > self.best:
            self.best = row["validation_psnr"]
            pretrained.save(model, self.workdir / "best.npz", card)

    def kept_epochs(self) -> int:
        """Return after how many epochs ``last.npz`` was written; 0 where it can't be read."""
        try:
            return pretrained.card(self.workdir / "last.npz").get("epochs_trained", 0)
        except pretrained.WeightsError:
            return 0

    def card(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is to be known of weights: settings, command, scores, commit."""
        prefix = "validation_"
        scores = {n.removeprefix(prefix): v for n, v in row.items() if n.startswith(prefix)}
        return {
            "command": shlex.join(self.command),
            "settings": self.settings,
            "epochs_trained": row["epoch"],
            "validation": files.finite(scores),
            "environment": environment(),
        }

    def weights(self) -> str:
        """Return the names of the weights files that are there, for a message."""
        names = [name for name in _KEPT if (self.workdir / name).exists()]
        return ", ".join(str(self.workdir / name) for name in names) or "none yet"


def _line(row: Mapping[str, Any]) -> bytes:
    return files.json_bytes(files.finite(dict(row)))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise NeidError(f"{path}: can't be read: {reason_of(error)}") from error
    if not isinstance(content, dict):
        raise NeidError(f"{path}: can't be read: it holds no settings")
    return content


def _fingerprints(pairs: Pairs) -> dict[str, str]:
    """Return a checksum of the pixels of each pair, by its name."""
    return {name: f"{_checksum(low):08x}{_checksum(high):08x}" for name, low, high in pairs}


def _checksum(pixels: np.ndarray) -> int:
    described = f"{pixels.shape}{pixels.dtype}".encode()
    return zlib.crc32(np.ascontiguousarray(pixels), zlib.crc32(described))


def _changes(side: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return what is new, gone or changed among the pairs of a side; empty for nothing."""
    found = {
        "new": [name for name in now if name not in before],
        "gone": [name for name in before if name not in now],
        "changed": [name for name in now if now[name] != before.get(name, now[name])],
    }
    changes = [f"{len(names)} {what} ({names[0]!r})" for what, names in found.items() if names]
    return f"{side}: {', '.join(changes)}" if changes else ""
