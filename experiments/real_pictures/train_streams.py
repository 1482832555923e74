"""Train the streams and the refinement on crops, under a tone that stays as it is.

    python -m experiments.real_pictures.train_streams --data=DIR --from_weights=tone.npz
        --output=all.npz [--from_streams=WEIGHTS] [--channels=32] [--refined_channels=32]
        [--training_steps=N] [--highest_rate=R] [--kind_shares=night=0.2] [--draws_seed=N]

See :mod:`experiments.real_pictures`.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from absl import flags

from experiments import run
from experiments.real_pictures import synthesis
from experiments.real_pictures.pool import Draws, collect
from experiments.real_pictures.train_tone import miniature, parsed_shares
from neid_tf import models
from neid_tf.commands import common
from neid_tf.models import grid, pretrained
from neid_tf.models.layers import area_resize
from neid_tf.pixels.resample import halve
from neid_tf.support.environment import environment
from neid_tf.training import losses
from neid_tf.training.devices import precision

_STREAMS = flags.DEFINE_string("from_streams", "", "Weights that the streams start from.")
_FILTERS = flags.DEFINE_integer("channels", 32, "Channels of the streams.")
_REFINED = flags.DEFINE_integer("refined_channels", 32, "Channels of the refinement.")
_MIRRORED = flags.DEFINE_bool("both_sides", True, "Read the tone off the mirror image as well.")
_CROP = flags.DEFINE_integer("crop_side", 128, "Side of the crops, in pixels of the reference.")
_ALIGN = 32
SHARES = {"lol": 0.4, "dark": 0.26, "lit": 0.07, "same": 0.09, "dimmed": 0.09, "night": 0.07}
SHARES |= {"photo": 0.04, "dull": 0.04, "key": 0.02, "flat": 0.01}
COMPRESSED, JPEG_AT_FULL_SIZE = 0.25, 0.2
SAVE_EVERY = 500


class Batches(keras.utils.PyDataset):
    """Batches of crops, each with its tone and its place in the picture.

    Args:
        samples: what :func:`experiments.real_pictures.pool.collect` returned.
        read: function from thumbnails N×128×128×3 to the tone's parameters.
        shape: pictures in a batch, side of a crop, number of batches.
        seed: of the draws.
        shares: of the kinds.
    """

    def __init__(
        self, samples: dict, read: Callable, shape: tuple, seed: int, shares: dict = SHARES
    ) -> None:
        super().__init__()
        self.count, self.crop, self.steps = shape
        self.draws = Draws(samples, shares, np.random.default_rng(seed))
        self.random = self.draws.random
        self.parameters = {
            kind: [read(area_resize(miniature(s.low)[None], 128))[0] for s in found]
            for kind, found in samples.items()
        }

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> dict:
        drawn = [self._sample() for _ in range(self.count)]
        return {key: np.stack([sample[key] for sample in drawn]) for key in drawn[0]}

    def _sample(self):
        sample, place, reference = self.draws()
        low, high = sample.low, sample.high[reference]
        size = np.array(low.shape[:2])
        corner = self.random.integers(0, (size - self.crop) // _ALIGN + 1) * _ALIGN
        window = tuple(slice(start, start + self.crop) for start in corner)
        box = np.float32([*corner / size, *self.crop / size])
        record = self._halved(sample.kind, low[window]) | {"high": np.float32(high[window]) / 255}
        parameters = np.asarray(self.parameters[sample.kind][place])
        return turned(record, box, parameters, self.random.integers(0, 2, 3))

    def _halved(self, kind, low):
        """Return a crop at full size and halved, one of them compressed at times."""
        if kind in ("lol", "dark", "dimmed") and self.random.random() < COMPRESSED:
            small = np.rint(halve(low, 255) * 255).astype(np.uint8)
            small = np.float32(self._compressed(small, 18)) / 255
            return {"image": small, "picture": np.float32(low) / 255, "sent": np.float32(1)}
        if kind in ("lol", "dark", "dimmed") and self.random.random() < JPEG_AT_FULL_SIZE:
            low = self._compressed(low, 60)
        low = np.float32(low) / 255
        return {"image": halve(low), "picture": low, "sent": np.float32(0)}

    def _compressed(self, pixels, least):
        codec = "JPEG" if self.random.random() < 0.7 else "WEBP"
        return synthesis.compress(pixels, codec, self.random.integers(least, 98))


def turned(record: dict, box: np.ndarray, parameters: np.ndarray, draws: np.ndarray) -> dict:
    """Flip and turn the pictures of a sample, and its box and grid with them.

    Args:
        record: pictures H×W×3 among others.
        box: top, left, height and width of the crop; a flip makes an extent negative.
        parameters: the tone's.
        draws: whether to transpose, to turn upside down, to mirror.
    """
    top, left, height, width = box
    if draws[0]:
        cells = parameters[grid.GLOBAL :].reshape(grid.SIDE, grid.SIDE, grid.BINS)
        cells = cells.transpose(1, 0, 2).reshape(-1)
        parameters = np.concatenate([parameters[: grid.GLOBAL], cells])
        top, left, height, width = left, top, width, height
    if draws[1]:
        top, height = top + height, -height
    if draws[2]:
        left, width = left + width, -width
    turn = {key: _turned(v, draws) if v.ndim == 3 else v for key, v in record.items()}
    return turn | {"box": np.float32([top, left, height, width]), "tone_parameters": parameters}


def _turned(picture, draws):
    picture = picture.transpose(1, 0, 2) if draws[0] else picture
    picture = picture[::-1] if draws[1] else picture
    return np.ascontiguousarray(picture[:, ::-1] if draws[2] else picture)


def loss(y_true: Any, y_pred: Any) -> Any:
    """Return decibels, error at the reference's brightness, structure and chroma, one a picture.

    Args:
        y_true: references, N×h×w×3 in [0, 1].
        y_pred: the network's pictures, likewise.
    """
    ops = keras.ops
    chroma = [p - ops.mean(p, axis=-1, keepdims=True) for p in (y_true, y_pred)]
    off = ops.mean(ops.sqrt(ops.square(chroma[0] - chroma[1]) + 1e-6), axis=(1, 2, 3))
    total = losses.log_mse(y_true, y_pred) + 2.0 * losses.exposure_aligned(y_true, y_pred)
    return total + 0.6 * losses.one_minus_ssim(y_true, y_pred) + 0.5 * off


class Streams:
    """The encoder, the decoder and the refinement of a network, one behind the other."""

    def __init__(self, network) -> None:
        self.parts = [models.as_part(network, part) for part in ("encoder", "decoder", "refiner")]
        found = {id(v): v for part in self.parts for v in part.trainable_variables}
        self.variables = list(found.values())

    def __call__(self, batch: dict) -> tuple:
        """Return LE's picture, and the refined one."""
        encoder, decoder, refiner = self.parts
        encoded = encoder({key: batch[key] for key in ("image", "tone_parameters", "box")})
        gain = encoded.pop("gain")
        decoded = decoder(encoded | {"box": batch["box"]})
        given = {key: batch[key] for key in ("picture", "tone_parameters")}
        return decoded["le"], refiner(given | decoded | {"gain": gain})


def train(network: models.NEID, batches: Batches, rate: float, save: Callable) -> None:
    """Train a network's streams.

    Args:
        network: built in half precision; in the end it has its weights' moving average.
        batches: what it learns from, one epoch.
        rate: the learning rate at its highest.
        save: called in the end and at times before, while the network has the average.
    """
    import tensorflow as tf

    streams, schedule = Streams(network), keras.optimizers.schedules.CosineDecay(rate, len(batches))
    optimizer = keras.optimizers.AdamW(
        schedule, 1e-4, global_clipnorm=1.0, use_ema=True, ema_momentum=0.998,
        ema_overwrite_frequency=None,
    )  # fmt: skip
    optimizer.build(streams.variables)

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            light, refined = streams(batch)
            # Of what was sent small there is no full size: there LE's picture is all.
            each = loss(batch["high"], light) * (0.4 + 0.6 * batch["sent"])
            each += loss(batch["high"], refined) * (1.0 - batch["sent"])
            total = tf.reduce_mean(each)
        optimizer.apply(tape.gradient(total, streams.variables), streams.variables)
        return total

    for index in range(len(batches)):
        total = step({key: tf.constant(value) for key, value in batches[index].items()})
        if (index + 1) % 100 == 0:
            print(f"step {index + 1}: loss {float(total):.4f}", flush=True)
        if (index + 1) % SAVE_EVERY == 0 and index + 1 < len(batches):
            present = [variable.numpy() for variable in streams.variables]
            optimizer.finalize_variable_values(streams.variables)
            save()
            for variable, value in zip(streams.variables, present, strict=True):
                variable.assign(value)
    optimizer.finalize_variable_values(streams.variables)
    save()


def load(network: keras.Model, tone: str, streams: str) -> keras.Model:
    """Give a network the tone of some weights and the streams of others.

    Args:
        network: that gets them.
        tone: weights, by name or path; empty for the network's own.
        streams: likewise.

    Returns:
        A model from thumbnails N×128×128×3 to the parameters of that tone, read off one side.
    """
    thumbnail = keras.Input((128, 128, 3))
    reader = keras.Model(thumbnail, grid.grid_parameters(thumbnail))
    if streams:
        models.load_matching(pretrained.load_pretrained(streams), network)
    models.load_matching(pretrained.load_pretrained(tone) if tone else network, reader)
    models.load_matching(reader, network)  # whatever tone the streams learned under
    return reader


def main(arguments: list) -> None:
    """Train and write the weights of the whole network."""
    del arguments
    from experiments.real_pictures.train_tone import _ALL, _INIT, _RATE, _SEED, _SHARES, _STEPS

    keras.utils.set_random_seed(_SEED.value)
    fields = {
        "filters": _FILTERS.value,
        "refinement": _REFINED.value,
        "mirrored": _MIRRORED.value,
    }
    with precision(True):
        network = models.build("neid_grid", **fields)
    reader = load(network, _INIT.value, _STREAMS.value or _INIT.value)
    samples = collect(common.required(common.DATA), _ALL.value)
    shares = SHARES | parsed_shares(_SHARES.value or [])
    shape = (8, _CROP.value, _STEPS.value)
    batches = Batches(samples, reader.predict_on_batch, shape, _SEED.value, shares)
    card = {"command": " ".join(common.command_line("train_streams")), "environment": environment()}
    refined, output = models.as_part(network, "refined"), common.required(common.OUTPUT)
    train(network, batches, _RATE.value, lambda: pretrained.save(refined, output, card))


if __name__ == "__main__":
    run(main)
