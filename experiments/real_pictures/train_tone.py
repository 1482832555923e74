"""Train the grid of gains on thumbnails of whole pictures.

    python -m experiments.real_pictures.train_tone --data=DIR --output=tone.npz
        [--from_weights=WEIGHTS] [--training_steps=N] [--highest_rate=R] [--all_pairs]
        [--kind_shares=lol=0.3,dark=0.3] [--draws_seed=N]

See :mod:`experiments.real_pictures`.
"""

import re
from typing import Any

import cv2
import keras
import numpy as np
from absl import flags

from experiments import run
from experiments.real_pictures.pool import Draws, collect
from neid_tf import models
from neid_tf.commands import common
from neid_tf.models import grid, pretrained
from neid_tf.models.layers import area_resize
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError

_INIT = flags.DEFINE_string("from_weights", "", "Weights to start from; fresh ones if left out.")
_STEPS = flags.DEFINE_integer("training_steps", 2400, "Training steps.", lower_bound=1)
_RATE = flags.DEFINE_float("highest_rate", 1e-3, "Learning rate at its highest.", lower_bound=0.0)
_BATCH = flags.DEFINE_integer("pictures_a_batch", 16, "Pictures in a batch.", lower_bound=1)
_ALL = flags.DEFINE_bool("all_pairs", False, "Train on LoL's held-out pictures too.")
_SEED = flags.DEFINE_integer("draws_seed", 0, "Seed of weights and draws.")
SHARES = {"lol": 0.4, "dark": 0.26, "lit": 0.06, "same": 0.07, "dimmed": 0.03, "night": 0.05}
SHARES |= {"photo": 0.05, "dull": 0.06, "key": 0.02, "flat": 0.01}
_SHARES = flags.DEFINE_list(
    "kind_shares", None, "Shares of kinds that differ from the usual, as lol=0.3,dark=0.3."
)
MINIATURE, SIDE, WARMUP = 160, 64, 200


def miniature(picture: np.ndarray) -> np.ndarray:
    """Return a picture's mean over 160×160 equal cells, float32 in [0, 1]."""
    size = (MINIATURE, MINIATURE)
    return cv2.resize(picture.astype(np.float32) / 255, size, interpolation=cv2.INTER_AREA)


class Batches(keras.utils.PyDataset):
    """Batches of miniatures: input, reference, view of the picture, whether it is mirrored."""

    def __init__(
        self, samples: dict, count: int, steps: int, seed: int, shares: dict = SHARES
    ) -> None:
        super().__init__()
        self.samples = {
            kind: [(miniature(s.low), [miniature(high) for high in s.high]) for s in found]
            for kind, found in samples.items()
        }
        self.draws = Draws(samples, shares, np.random.default_rng(seed))
        self.random, self.count, self.steps = self.draws.random, count, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple:
        return tuple(map(np.stack, zip(*(self._sample() for _ in range(self.count)), strict=True)))

    def _sample(self):
        sample, place, reference = self.draws()
        low, references = self.samples[sample.kind][place]
        if sample.kind in ("lol", "dark"):
            low = self._exposed(low)
        extent = self.random.uniform(0.7, 1.0, 2)
        view = np.concatenate([self.random.uniform(0.0, 1.0 - extent), extent])
        mirrored = self.random.random() < 0.5
        return low, references[reference], view.astype(np.float32), mirrored

    def _exposed(self, low):
        """Return a picture of another exposure, at times of another contrast and white balance."""
        low = low * np.exp(self.random.uniform(-0.4, 0.4))
        if self.random.random() < 0.3:
            low = low ** np.exp(self.random.uniform(-0.2, 0.2))
        if self.random.random() < 0.3:
            low = low * np.exp(self.random.normal(0.0, 0.05, 3))
        return np.clip(low, 0.0, 1.0).astype(np.float32)


def parsed_shares(entries: list[str]) -> dict[str, float]:
    """Return the shares that entries ``kind=share`` tell.

    Raises:
        NeidError: for an unknown kind, or a share that is no number from 0 on.
    """
    shares = {}
    for entry in entries:
        kind, _, value = entry.partition("=")
        if kind not in SHARES or not re.fullmatch(r"\d*\.?\d+", value):
            raise NeidError(f"--kind_shares: {entry!r}; kinds are {', '.join(SHARES)}")
        shares[kind] = float(value)
    return shares


def toned(images: Any, parameters: Any) -> Any:
    """Return whole pictures after the tone.

    Args:
        images: N×h×w×3 in [0, 1].
        parameters: N×:data:`neid_tf.models.grid.PARAMETERS`.
    """
    whole = keras.ops.zeros_like(parameters[:, :4]) + np.float32([[0, 0, 1, 1]])
    gain = grid.GridGain()([images, parameters, whole])
    return grid.GridTone()([images, gain, parameters])


def loss(parameters: Any, low: Any, high: Any) -> Any:
    """Return the error in decibels, that of the chroma, and how rough the grid is.

    Args:
        parameters: N×:data:`neid_tf.models.grid.PARAMETERS`.
        low: dark pictures, N×h×w×3 in [0, 1].
        high: their references, likewise.
    """
    ops, made = keras.ops, toned(low, parameters)
    error = 0.1 * ops.log(1.0 + ops.mean(ops.square(made - high), axis=(1, 2, 3)) / 1e-3)
    chroma = [picture - ops.mean(picture, axis=-1, keepdims=True) for picture in (made, high)]
    off = ops.mean(ops.sqrt(ops.square(chroma[0] - chroma[1]) + 1e-6), axis=(1, 2, 3))
    cells = parameters[:, grid.GLOBAL :]
    cells = ops.reshape(cells, (-1, grid.SIDE, grid.SIDE, grid.BINS))
    rough = ops.mean(ops.square(cells[:, 1:] - cells[:, :-1]), axis=(1, 2, 3))
    rough = rough + ops.mean(ops.square(cells[:, :, 1:] - cells[:, :, :-1]), axis=(1, 2, 3))
    steps = ops.mean(ops.square(cells[..., 1:] - cells[..., :-1]), axis=(1, 2, 3))
    return ops.mean(error + 0.5 * off + 0.02 * (rough + 0.3 * steps))


def train(reader: keras.Model, batches: Batches, rate: float) -> None:
    """Train a model from thumbnails to parameters; it has its weights' moving average then.

    Args:
        reader: from thumbnails N×128×128×3 to parameters.
        batches: what it learns from, one epoch.
        rate: the learning rate at its highest.
    """
    import tensorflow as tf

    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(len(batches) - WARMUP, 1), warmup_target=rate, warmup_steps=WARMUP
    )
    optimizer = keras.optimizers.AdamW(
        schedule, 1e-4, global_clipnorm=1.0, use_ema=True, ema_momentum=0.998,
        ema_overwrite_frequency=None,
    )  # fmt: skip
    variables = reader.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step(low, high, view, mirrored):
        flip = mirrored[:, None, None, None]
        low, high = area_resize(low, 128, view), area_resize(high, SIDE, view)
        low, high = (tf.where(flip, picture[:, :, ::-1], picture) for picture in (low, high))
        with tf.GradientTape() as tape:
            total = loss(reader(low, training=True), tf.nn.avg_pool2d(low, 2, 2, "VALID"), high)
        optimizer.apply(tape.gradient(total, variables), variables)
        return total

    for index in range(len(batches)):
        total = step(*map(tf.constant, batches[index]))
        if (index + 1) % 200 == 0:
            print(f"step {index + 1}: loss {float(total):.4f}", flush=True)
    optimizer.finalize_variable_values(variables)


def main(arguments: list) -> None:
    """Train, and write the weights of the whole network, of which only the tone's are new."""
    del arguments
    keras.utils.set_random_seed(_SEED.value)
    network = models.build("neid_grid")
    thumbnail = keras.Input((128, 128, 3))
    reader = keras.Model(thumbnail, grid.grid_parameters(thumbnail))
    if _INIT.value:
        models.load_matching(pretrained.load_pretrained(_INIT.value), network)
        models.load_matching(network, reader)
    samples = collect(common.required(common.DATA), _ALL.value)
    shares = SHARES | parsed_shares(_SHARES.value or [])
    train(reader, Batches(samples, _BATCH.value, _STEPS.value, _SEED.value, shares), _RATE.value)
    models.load_matching(reader, network)
    card = {"command": " ".join(common.command_line("train_tone")), "environment": environment()}
    pretrained.save(models.as_part(network, "refined"), common.required(common.OUTPUT), card)


if __name__ == "__main__":
    run(main)
