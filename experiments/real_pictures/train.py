"""Train the tone, or the streams and the refinement under a tone that stays as it is.

    python -m experiments.real_pictures.train --data=DIR --output=tone.npz --train_part=tone
        [--from_weights=WEIGHTS] [--training_steps=N] [--highest_rate=R] [--kind_shares=lol=0.3]
        [--held_out=lol|none|FILE] [--draws_seed=N] [--pictures_a_batch=N] [--sent_shares=0.2,0.1]
        [--tone_dropout=0.6]
    python -m experiments.real_pictures.train --data=DIR --output=all.npz --train_part=streams
        --from_weights=tone.npz [--from_streams=WEIGHTS] [--channels=32] [--refined_channels=32]
        [--crop_side=128] [the same]

See :mod:`experiments.real_pictures`. Runs on Keras with TensorFlow or with JAX.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import flags
from keras import ops

from experiments import HELD_OUT, run
from experiments.real_pictures.batches import SENT, SHARES, Batches
from experiments.real_pictures.losses import loss, to_exposure, tone_loss, toned
from experiments.real_pictures.pool import collect
from experiments.real_pictures.store import Store
from experiments.record import command_line
from neid_tf import models
from neid_tf.commands import common
from neid_tf.data import augment
from neid_tf.data.batches import ahead
from neid_tf.models import grid, grid_reader, pretrained
from neid_tf.models.layers import area_resize
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError
from neid_tf.training.devices import precision

flags.declare_key_flag("held_out")
_PART = flags.DEFINE_enum("train_part", "tone", ["tone", "streams"], "What is trained.")
_INIT = flags.DEFINE_string("from_weights", "", "Weights to start from; fresh ones if left out.")
_STREAMS = flags.DEFINE_string("from_streams", "", "Weights that the streams start from.")
_STEPS = flags.DEFINE_integer("training_steps", 2400, "Training steps.", lower_bound=1)
_RATE = flags.DEFINE_float("highest_rate", 1e-3, "Learning rate at its highest.", lower_bound=0.0)
_BATCH = flags.DEFINE_integer("pictures_a_batch", 16, "Pictures in a batch.", lower_bound=1)
_SEED = flags.DEFINE_integer("draws_seed", 0, "Seed of weights and draws.")
_SYNTHETIC = flags.DEFINE_integer("synthetic", 360, "Pictures of each synthetic kind.")
_FILTERS = flags.DEFINE_integer("channels", 32, "Channels of the streams.")
_REFINED = flags.DEFINE_integer("refined_channels", 32, "Channels of the refinement.")
_MIRRORED = flags.DEFINE_bool("both_sides", True, "Read the tone off the mirror image as well.")
_DROPPED = flags.DEFINE_float(
    "tone_dropout", 0.3, "Share of the features that the tone goes without, at random.",
    lower_bound=0.0, upper_bound=0.95,
)  # fmt: skip
_CROP = flags.DEFINE_integer("crop_side", 128, "Side of the crops, in pixels of the reference.")
_SHARES = flags.DEFINE_list(
    "kind_shares", None, "Shares of kinds that differ from the usual, as lol=0.3,dark=0.3."
)
_SENT = flags.DEFINE_list(
    "sent_shares",
    [str(share) for share in SENT],
    "How often what can be compressed is: halved before, and at full size.",
)
SIDE, WARMUP, SAVE_EVERY = 64, 200, 500


def parsed_shares(entries: list[str]) -> dict[str, float]:
    """Return the shares that entries ``kind=share`` tell.

    Raises:
        NeidError: for an unknown kind, or a share that is no number from 0 on.
    """
    shares = {}
    for entry in entries:
        kind, _, value = entry.partition("=")
        if kind not in SHARES["tone"] or not re.fullmatch(r"\d*\.?\d+", value):
            kinds = ", ".join(SHARES["tone"])
            raise NeidError(f"--kind_shares: {entry!r}; kinds are {kinds}")
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


class Trainer(keras.Model):
    """What is common to both parts: the pictures, their draws, and ``fit``.

    Args:
        store: the pictures.
        reader: from thumbnails N×128×128×3 to the tone's parameters.
    """

    def __init__(self, store: Store, reader: keras.Model) -> None:
        super().__init__(dtype="float32")
        self.store, self.reader = store, reader
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list:
        """The loss alone."""
        return [self.tracker]

    def build(self, input_shape: Any = None) -> None:
        """All parts are built already."""

    def exposed(self, pictures: Any, batch: dict) -> Any:
        """Change exposure, contrast and white balance as a batch says."""
        power, gain = batch["power"][:, None, None, None], batch["gain"][:, None, None]
        return ops.clip(ops.maximum(pictures, 1e-6) ** power * gain, 0.0, 1.0)

    def seen(self, pictures: Any, side: int, batch: dict) -> Any:
        """Return what a batch shows of whole pictures, side×side cells."""
        cells = area_resize(pictures, side, batch["view"])
        return augment.mirror(cells, batch["mirrored"])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:
        """Return the mean of the losses that :meth:`call` gave."""
        total = ops.mean(y_pred)
        self.tracker.update_state(total)
        return total


class ToneTrainer(Trainer):
    """Trains the tone on thumbnails of whole pictures."""

    def call(self, batch: dict, training: bool = False) -> Any:
        """Return the losses, one a picture, of what :class:`Batches` drew."""
        low = self.exposed(self.store.thumbnails(batch["low"]), batch)
        low, high = self.seen(low, 128, batch), self.store.thumbnails(batch["high"])
        parameters = self.reader(low, training=training)
        return tone_loss(
            parameters, ops.average_pool(low, (2, 2), (2, 2)), self.seen(high, SIDE, batch)
        )


class StreamsTrainer(Trainer):
    """Trains encoder, decoder and refinement on crops; the tone stays as it is.

    What exposure a picture is to have is the tone's to say, which sees all of it: the streams are
    not asked for another.

    Args:
        store: the pictures.
        reader: from thumbnails N×128×128×3 to the tone's parameters.
        network: whose streams are trained.
        side: of the crops, in pixels.
    """

    def __init__(self, store: Store, reader: keras.Model, network: keras.Model, side: int) -> None:
        super().__init__(store, reader)
        reader.trainable, self.side = False, side
        parts = ("encoder", "decoder", "refiner")
        self.encoder, self.decoder, self.refiner = (models.as_part(network, p) for p in parts)

    def call(self, batch: dict, training: bool = False) -> Any:
        """Return the losses, one a picture, of what :class:`Batches` drew."""
        crop, sent = self.store.crops, batch["is_sent"]
        steps = [batch["turns"][:, index] for index in range(3)]
        low = self.exposed(self.store.thumbnails(batch["low"]), batch)
        seen = self.seen(low, 128, batch)
        parameters = self.reader(seen, training=False)
        shown = self.seen(self.store.thumbnails(batch["high"]), SIDE, batch)
        exposure = to_exposure(shown, toned(ops.average_pool(seen, (2, 2), (2, 2)), parameters))
        tone = {"tone_parameters": grid.transposed(parameters, steps[0])}
        picture = self.exposed(crop(batch["source"], batch["corner"], self.side), batch)
        small = crop(batch["sent"], batch["corner"] // 2, self.side // 2, halved=True)
        halved = augment.halve(picture)
        image = ops.where(sent[:, None, None, None], self.exposed(small, batch), halved)
        high = augment.moved(crop(batch["high"], batch["corner"], self.side), steps)
        seen_at = batch["place"], batch["view"], batch["mirrored"]
        box = {"box": augment.box_in_view(*seen_at, steps)}
        encoded = self.encoder({"image": augment.moved(image, steps)} | tone | box)
        gain = encoded.pop("gain")
        decoded = self.decoder(encoded | box)
        full_size = {"picture": augment.moved(picture, steps), "gain": gain}
        refined = self.refiner(full_size | tone | decoded)
        # Of what was sent small there is no full size: there LE's picture is all.
        sent = ops.cast(sent, "float32")
        light = loss(high, decoded["le"], exposure) * (0.4 + 0.6 * sent)
        return light + loss(high, refined, exposure) * (1.0 - sent)


class Keeper(keras.callbacks.Callback):
    """Saves at the ends of epochs, while the weights' moving average is in place."""

    def __init__(self, save: Callable) -> None:
        super().__init__()
        self.save = save

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save the average, and go on from the weights."""
        variables = self.model.trainable_variables
        present = [np.asarray(variable) for variable in variables]
        self.model.optimizer.finalize_variable_values(variables)
        self.save()
        for variable, value in zip(variables, present, strict=True):
            variable.assign(value)
        print(f"epoch {epoch + 1}: loss {logs['loss']:.4f}", flush=True)


def fit(trainer: Trainer, batches: Batches, rate: float, save: Callable) -> None:
    """Train; the trainer has its weights' moving average then.

    Args:
        trainer: of the tone or of the streams.
        batches: what it learns from, one after the other.
        rate: the learning rate at its highest.
        save: called about every :data:`SAVE_EVERY` steps, while the average is in place.
    """
    steps, warmup = len(batches), min(WARMUP, len(batches) // 2)
    most = max(round(steps / SAVE_EVERY), 1)
    epochs = next(count for count in range(most, 0, -1) if steps % count == 0)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(steps - warmup, 1), warmup_target=rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(
        schedule, 1e-4, global_clipnorm=1.0, use_ema=True, ema_momentum=0.998,
        ema_overwrite_frequency=None,
    )  # fmt: skip
    trainer.compile(optimizer=optimizer, loss=None, jit_compile="auto")
    optimizer.build(trainer.trainable_variables)
    trainer.fit(
        ahead(batches), epochs=epochs, steps_per_epoch=steps // epochs, shuffle=False, verbose=0,
        callbacks=[Keeper(save)],
    )  # fmt: skip


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
    thumbnail = keras.Input((128, 128, 3))
    read = grid_reader.grid_parameters(thumbnail, dropout=dropout, mirrored=mirrored)
    reader = keras.Model(thumbnail, read)
    if streams:
        models.load_matching(pretrained.load_pretrained(streams), network)
    models.load_matching(pretrained.load_pretrained(tone) if tone else network, reader)
    models.load_matching(reader, network)  # whatever tone the streams learned under
    return reader


def main(arguments: list) -> None:
    """Train and write the weights of the whole network."""
    del arguments
    keras.utils.set_random_seed(_SEED.value)
    fields = {"filters": _FILTERS.value, "refinement": _REFINED.value, "mirrored": _MIRRORED.value}
    streams = _PART.value == "streams"
    with precision(streams):
        network = models.build("neid_grid", **fields)
    tone, mirrored = _INIT.value, streams and _MIRRORED.value
    reader = load(network, tone, _STREAMS.value or tone, mirrored, _DROPPED.value)
    data = Path(common.required(common.DATA))
    store = Store(collect(data, HELD_OUT.value, _SYNTHETIC.value), streams, _SEED.value)
    shares = SHARES[_PART.value] | parsed_shares(_SHARES.value or [])
    side = _CROP.value if streams else 0
    sent = parsed_sent(_SENT.value)
    batches = Batches(store, _BATCH.value, _STEPS.value, _SEED.value, shares, side, sent)
    command = command_line(__name__, "experiments.real_pictures.train --data=DIR")
    card = {"command": command, "environment": environment()}
    output, refined = common.required(common.OUTPUT), models.as_part(network, "refined")
    trainer = StreamsTrainer(store, reader, network, side) if side else ToneTrainer(store, reader)

    def save():
        models.load_matching(reader, network)
        pretrained.save(refined, output, card)

    fit(trainer, batches, _RATE.value, save)


if __name__ == "__main__":
    run(main)
