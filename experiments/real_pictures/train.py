"""Train the tone, its correction for what has no colour, or the streams and the refinement.

    python -m experiments.real_pictures.train --data=DIR --output=tone.npz --train_part=tone
        [--from_weights=WEIGHTS] [--training_steps=N] [--highest_rate=R] [--kind_shares=lol=0.3]
        [--held_out=lol|none|FILE] [--draws_seed=N] [--pictures_a_batch=N] [--sent_shares=0.2,0.1]
        [--tone_dropout=0.6] [--black_level=2] [--veil_share=0.5] [--taught_by=WEIGHTS]
        [--gray_share=0.1] [--turned_share=0.3]
    python -m experiments.real_pictures.train --data=DIR --output=gray.npz --train_part=gray
        --from_weights=tone.npz [the same]
    python -m experiments.real_pictures.train --data=DIR --output=all.npz --train_part=streams
        --from_weights=tone.npz [--from_streams=WEIGHTS] [--channels=32] [--refined_channels=32]
        [--crop_side=128] [the same]

The streams learn under the tone of --from_weights, which stays as it is, and so does it but for
its correction, which learns to give pictures without colour the brightness that they get in colour.

With --taught_by the tone learns to read off compressed pictures what the tone of other weights
reads off the same pictures before that, off gray ones (--gray_share) what that reads in colour,
and off such as are turned (--turned_share) what that reads upright; without dropout
(--tone_dropout=0) it stays near them.

A training that was stopped goes on from its last checkpoint when the same command is given again:
it is kept in a folder beside the output until all steps are done.

See :mod:`experiments.real_pictures`. Runs on Keras with TensorFlow or with JAX.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from absl import flags

from experiments import HELD_OUT, run
from experiments.real_pictures.batches import GRAY, SENT, SHARES, Batches
from experiments.real_pictures.pool import collect
from experiments.real_pictures.store import Store
from experiments.real_pictures.trainers import StreamsTrainer, TaughtTrainer, ToneTrainer, Trainer
from experiments.record import command_line
from neid_tf import models
from neid_tf.commands import common
from neid_tf.data.batches import ahead
from neid_tf.models import grid_reader, pretrained
from neid_tf.models.config import READING
from neid_tf.support import files
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError
from neid_tf.training import checkpoints, lock
from neid_tf.training.callbacks import StopOnNonFinite, averaged
from neid_tf.training.config import TrainConfig
from neid_tf.training.devices import precision

flags.declare_key_flag("held_out")
_PART = flags.DEFINE_enum("train_part", "tone", ["tone", "gray", "streams"], "What is trained.")
_INIT = common.define_path(
    "from_weights", "", "Weights to start from; fresh ones if left out.", kind="a name or a path"
)
_STREAMS = common.define_path(
    "from_streams", "", "Weights that the streams start from.", kind="a name or a path"
)
_TEACHER = common.define_path(
    "taught_by", "", "Weights whose tone is what is aimed at.", kind="a name or a path"
)
_STEPS = flags.DEFINE_integer("training_steps", 2400, "Training steps.", lower_bound=1)
_RATE = flags.DEFINE_float("highest_rate", 1e-3, "Learning rate at its highest.", lower_bound=0.0)
_BATCH = flags.DEFINE_integer("pictures_a_batch", 16, "Pictures in a batch.", lower_bound=1)
_SEED = flags.DEFINE_integer("draws_seed", 0, "Seed of weights and draws.")
_SYNTHETIC = flags.DEFINE_integer(
    "synthetic", 360, "Pictures of each synthetic kind.", lower_bound=1
)
_FILTERS = flags.DEFINE_integer("channels", 32, "Channels of the streams.", lower_bound=1)
_REFINED = flags.DEFINE_integer(
    "refined_channels", 32, "Channels of the refinement.", lower_bound=1
)
_CONVOLUTIONS = flags.DEFINE_integer(
    "convolutions_a_level", 2, "3x3 convolutions of each level, of the bottleneck and refinement.",
    lower_bound=1,
)  # fmt: skip
_UP = flags.DEFINE_integer(
    "up_kernel_side", 2, "Side of the kernel of each step up.", lower_bound=1, upper_bound=2
)
_HALF = flags.DEFINE_bool("half_precision", True, "Compute the streams in half precision.")
_MIRRORED = flags.DEFINE_bool("both_sides", True, "Read the tone off the mirror image as well.")
_DROPPED = flags.DEFINE_float(
    "tone_dropout", 0.3, "Share of the features that the tone goes without, at random.",
    lower_bound=0.0, upper_bound=0.95,
)  # fmt: skip
_BLACK = flags.DEFINE_float(
    "black_level", None, "What level of 255 the tone takes for black, as `tone_black`; as in the "
    "weights to start from if left out.", 0.0, 255.0,
)  # fmt: skip
_VEIL = flags.DEFINE_float(
    "veil_share", None, "What share of a veil the tone takes off, as `tone_veil`; as in the "
    "weights to start from if left out.", 0.0, 1.0,
)  # fmt: skip
_CROP = flags.DEFINE_integer(
    "crop_side", 128, "Side of the crops, in pixels of the reference.", lower_bound=32
)
_SHARES = flags.DEFINE_list(
    "kind_shares", None, "Shares of kinds that differ from the usual, as lol=0.3,dark=0.3."
)
_SENT = flags.DEFINE_list(
    "sent_shares",
    [str(share) for share in SENT],
    "How often what can be compressed is: halved before, and at full size.",
)
_GRAY = flags.DEFINE_float(
    "gray_share", None, "Share of the pictures that the tone sees without colour, or with little; "
    "none if left out, and nine of ten with --train_part=gray.", 0.0, 1.0,
)  # fmt: skip
_TURNED = flags.DEFINE_float(
    "turned_share",
    0.0,
    "Share of the pictures that a tone under --taught_by sees turned.",
    0.0,
    1.0,
)
_IDLE = {
    "tone": (_CROP, _STREAMS, _HALF),
    "gray": (_CROP, _STREAMS, _HALF, _DROPPED, _TEACHER, _TURNED),
    "streams": (_DROPPED, _TEACHER, _GRAY, _TURNED),
}
"""Flags that have no effect, for each part."""
WARMUP, SAVE_EVERY = 200, 500
_KINDS = tuple(dict.fromkeys(kind for shares in SHARES.values() for kind in shares))


def parsed_shares(entries: list[str]) -> dict[str, float]:
    """Return the shares that entries ``kind=share`` tell.

    Raises:
        NeidError: for an unknown kind, or a share that is no number from 0 on.
    """
    shares = {}
    for entry in entries:
        kind, _, value = entry.partition("=")
        if kind not in _KINDS or not re.fullmatch(r"\d*\.?\d+", value):
            raise NeidError(f"--kind_shares: {entry!r}; kinds are {', '.join(_KINDS)}")
        shares[kind] = float(value)
    return shares


def parsed_sent(entries: list[str]) -> tuple[float, float]:
    """Return two shares.

    Raises:
        NeidError: where they are not two numbers from 0 on whose sum is 1 at most.
    """
    if len(entries) != 2 or not all(re.fullmatch(r"\d*\.?\d+", entry) for entry in entries):
        raise NeidError(f"--sent_shares: {','.join(entries)}; two shares are wanted")
    shares = (float(entries[0]), float(entries[1]))
    if sum(shares) > 1.0:
        raise NeidError(f"--sent_shares: {','.join(entries)} are more than all")
    return shares


class Progress:
    """Where a training is, so that the same command goes on with it.

    Args:
        folder: for the checkpoints; it is removed when the training is done.
        network: what is trained.
        command: of the training.

    Raises:
        NeidError: where the folder holds another training's.
    """

    def __init__(self, folder: Path, network: keras.Model, command: str) -> None:
        self.folder, self.network = folder, network
        path = folder / "command.txt"
        if checkpoints.exist(folder) and path.read_text("utf-8") != command:
            raise NeidError(f"{folder} is of another training, {path} says which; remove it")
        files.write_whole(path, command.encode())

    def restore(self, optimizer: Any) -> int:
        """Load the last checkpoint if there is one; return the epochs that are done."""
        return checkpoints.restore(self.folder, self.network, optimizer)[0]

    def save(self, optimizer: Any, epoch: int) -> None:
        """Write a checkpoint after so many epochs."""
        checkpoints.save(self.folder, self.network, optimizer, epoch, float("-inf"))

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


class Keeper(keras.callbacks.Callback):
    """Saves at the ends of epochs, the weights while their moving average is in place."""

    def __init__(self, save: Callable, progress: Progress | None) -> None:
        super().__init__()
        self.save, self.progress = save, progress

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save the average, and go on from the weights."""
        optimizer = self.model.optimizer
        with averaged(self.model.trainable_variables, optimizer):
            self.save()
        if self.progress:
            self.progress.save(optimizer, epoch + 1)
        print(f"epoch {epoch + 1}: loss {logs['loss']:.4f}", flush=True)


def fit(
    trainer: Trainer,
    batches: Batches,
    rate: float,
    save: Callable,
    mixed: bool = False,
    progress: Progress | None = None,
) -> None:
    """Train; the trainer has its weights' moving average then.

    Args:
        trainer: of the tone or of the streams.
        batches: what it learns from, one after the other.
        rate: the learning rate at its highest.
        save: called about every :data:`SAVE_EVERY` steps, while the average is in place.
        mixed: whether it computes in half precision.
        progress: keeps checkpoints, and what has been done already; none if left out.

    Raises:
        NonFiniteLoss: where the loss is not a number any more.
    """
    steps, warmup = len(batches), min(WARMUP, len(batches) // 2)
    most = max(round(steps / SAVE_EVERY), 1)
    epochs = next(count for count in range(most, 0, -1) if steps % count == 0)
    length = steps // epochs
    config = TrainConfig(
        epochs=epochs, learning_rate=rate, schedule="cosine", warmup=warmup / length,
        weight_decay=1e-4, clip_norm=1.0, ema=0.998, mixed_precision=mixed,
    )  # fmt: skip
    optimizer = config.optimizer(length)
    compiled = keras.backend.backend() == "jax"
    trainer.compile(optimizer=optimizer, loss=None, jit_compile=compiled)
    optimizer.build(trainer.trainable_variables)
    first = progress.restore(optimizer) if progress else 0
    if first < epochs:
        trainer.fit(
            ahead(batches, first * length), initial_epoch=first, epochs=epochs,
            steps_per_epoch=length, shuffle=False, verbose=0,
            callbacks=[StopOnNonFinite(length), Keeper(save, progress)],
        )  # fmt: skip
    if progress:
        progress.remove()


def load(
    network: keras.Model, tone: str, streams: str, mirrored: bool = False, dropout: float = 0.3
) -> keras.Model:
    """Give a network the tone of some weights and the streams of others.

    Args:
        network: that gets them.
        tone: weights, by name or path; empty for the network's own.
        streams: likewise.
        mirrored: whether the tone is read off the mirror image as well.
        dropout: share of the features that training drops.

    Returns:
        A model from thumbnails N×128×128×3 to the parameters of that tone.
    """
    if streams:
        source = pretrained.load_pretrained(streams)
        models.load_matching(source, network)
        sum_taps(source, network)
    source = pretrained.load_pretrained(tone) if tone else network
    reader = reading(source, network.config, mirrored, dropout)
    models.load_matching(reader, network)  # whatever tone the streams learned under
    return reader


def reading(
    source: keras.Model, config: models.ModelConfig, mirrored: bool, dropout: float = 0.0
) -> keras.Model:
    """Return a model from thumbnails N×128×128×3 to the parameters of a network's tone.

    Args:
        source: the network.
        config: says what it takes for black, and what share of a veil off.
        mirrored, dropout: as for :func:`load`.
    """
    thumbnail = keras.Input((128, 128, 3))
    fields = {"dropout": dropout, "mirrored": mirrored} | config.reading
    read = grid_reader.grid_parameters(thumbnail, **fields)
    reader = keras.Model(thumbnail, read)
    models.load_matching(source, reader)
    return reader


def sum_taps(source: keras.Model, target: keras.Model) -> None:
    """Give steps up that have one tap the sum of the taps that they have elsewhere.

    Args:
        source: whose steps up may have 2×2 taps.
        target: the model that is changed, where its own have one.
    """
    theirs = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.name.endswith("_up_conv") and layer.name in theirs:
            kernel, bias = theirs[layer.name].get_weights()
            if kernel.shape != layer.kernel.shape == (1, 1, *kernel.shape[2:]):
                layer.set_weights([kernel.sum(axis=(0, 1), keepdims=True), bias])


def saving(network: keras.Model, reader: keras.Model, output: str, command: str) -> Callable:
    """Return the function that writes the weights of a whole network, with its reader's tone."""
    card = {"command": command, "environment": environment()}
    refined = models.as_part(network, "refined")

    def save():
        models.load_matching(reader, network)
        pretrained.save(refined, output, card)

    return save


def main(arguments: list) -> None:
    """Train and write the weights of the whole network."""
    del arguments
    data, output = Path(common.required(common.DATA)), Path(common.required(common.OUTPUT))
    streams = _PART.value == "streams"
    for flag in _IDLE[_PART.value]:
        if flag.present:
            raise NeidError(f"--{flag.name} has no effect with --train_part={_PART.value}")
    corrected = _PART.value == "gray"
    if corrected and not _INIT.value:
        raise NeidError("--train_part=gray needs --from_weights: whose tone is corrected")
    taught = _INIT.value if corrected else _TEACHER.value
    if _TURNED.value and not taught:
        raise NeidError("--turned_share needs --taught_by: what is read upright")
    kind = "taught" if taught and not corrected else _PART.value
    shares = SHARES[kind] | parsed_shares(_SHARES.value or [])
    sent = parsed_sent(_SENT.value)
    keras.utils.set_random_seed(_SEED.value)
    fields = {"filters": _FILTERS.value, "refinement": _REFINED.value, "mirrored": _MIRRORED.value}
    fields |= {"convolutions": _CONVOLUTIONS.value, "up_kernel": _UP.value}
    if _INIT.value:
        config = pretrained.load_pretrained(_INIT.value).config
        fields |= {name: getattr(config, name) for name in READING}
        if corrected and not config.tone_gray:
            del fields["tone_gray"]  # As many units as the network has by default.
    told = {"tone_black": _BLACK.value, "tone_veil": _VEIL.value}
    fields |= {name: value for name, value in told.items() if value is not None}
    half = streams and _HALF.value
    with precision(half):
        network = models.build("neid_grid", **fields)
    tone, mirrored = _INIT.value, streams and _MIRRORED.value
    dropout = 0.0 if corrected else _DROPPED.value
    reader = load(network, tone, _STREAMS.value or tone, mirrored, dropout)
    if taught:
        source = pretrained.load_pretrained(taught)
        teacher = reading(source, source.config, _MIRRORED.value)
    command = command_line(__name__, "experiments.real_pictures.train --data=DIR")
    folder = output.with_name(f"{output.stem}.training")
    with lock.held(folder):
        progress = Progress(folder, network if streams else reader, command)
        samples = collect(data, HELD_OUT.value, _SYNTHETIC.value, unlit=bool(taught))
        samples = {kind: found for kind, found in samples.items() if shares.get(kind)}
        store = Store(samples, streams, _SEED.value, any(sent))
        side = _CROP.value if streams else 0
        counts = _BATCH.value, _STEPS.value, _SEED.value
        gray = GRAY.get(_PART.value, 0.0) if _GRAY.value is None else _GRAY.value
        batches = Batches(store, *counts, shares, side, sent, gray, _TURNED.value)
        save = saving(network, reader, str(output), command)
        if streams:
            trainer = StreamsTrainer(store, reader, network, side)
        elif taught:
            trainer = TaughtTrainer(store, reader, teacher, corrected)
        else:
            trainer = ToneTrainer(store, reader)
        fit(trainer, batches, _RATE.value, save, half, progress)


if __name__ == "__main__":
    run(main)
