"""Training (sections 2.3 and 3.2): the model with its ``train_step``, the run."""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

from neid_tf import models
from neid_tf.data import augment
from neid_tf.data.batches import Sampling, training_batches
from neid_tf.models import pretrained
from neid_tf.models.layers import area_resize
from neid_tf.models.neid import THUMBNAIL
from neid_tf.models.tone import ToneCurve
from neid_tf.support.errors import NeidError
from neid_tf.training import workdir as runs
from neid_tf.training.config import TrainConfig
from neid_tf.training.precision import precision

__all__ = ["TrainConfig", "Trainer", "train"]


class Trainer(keras.Model):
    """A network with the losses of section 2.3, for ``fit``.

    It is fed the batches of :mod:`neid_tf.data.batches` and does the rest on the device: flips,
    turns, halving, the network, the weighted loss. Other Keras backends run it through their own
    ``train_step``.

    Args:
        network: a :class:`neid_tf.models.NEID`, part ``training``.
        objective: the weighted loss.
        exposure, train: see :class:`TrainConfig`.

    Raises:
        ValueError: where the tone is to be trained, or kept, of a network that has none.
    """

    def __init__(self, network, objective, exposure=0.0, train="all", **kwargs):
        # The pictures stay in full precision; the network casts them itself.
        super().__init__(dtype="float32", **kwargs)
        self.network, self.objective, self.exposure = network, objective, exposure
        self.forward = network if train == "all" else _partly(network, train)
        names = ["loss", *self._term_names()]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    @property
    def metrics(self):
        return list(self.trackers.values())

    def _term_names(self):
        blank = {name: np.zeros((1, 11, 11, 3), np.float32) for name in self.forward.output}
        return list(self.objective.terms(blank, blank))

    def call(self, batch, training=False):
        """Return the network's outputs and their targets for a batch as it was loaded."""
        low, inputs, targets = self.prepare(batch)
        outputs = self.forward(inputs, training=training)
        if "dr" in outputs:
            targets["dr"] = self._detail_target(low, targets["le"], outputs)
        return {"outputs": outputs, "targets": targets}

    def _detail_target(self, low, high, outputs):
        if self.network.config.detail_target != "toned":
            return low if self.network.config.detail_target == "low" else high
        return ops.stop_gradient(ToneCurve(dtype="float32")([low, outputs["tone_parameters"]]))

    def prepare(self, batch):
        """Turn a batch into the low-light crops, the network's inputs, and its targets."""
        config = self.network.config
        turned = [
            augment.flip_and_turn(augment.to_float(batch[side]), batch["flip"], batch["turns"])
            for side in ("low", "high")
        ]
        low, high = augment.expose(turned[0], batch["exposure"], self.exposure), turned[1]
        image = low if config.scale == 1 else augment.halve(low)
        if not config.tone:
            return low, image, {"le": high}
        views = [_view(batch[f"{side}_mini"], batch) for side in ("low", "high")]
        thumbnail = augment.expose(views[0], batch["exposure"], self.exposure)
        inputs = {"image": image, "thumbnail": thumbnail}
        return low, inputs, {"le": high, "tone": views[1]}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Compute the mean of the total loss, equation 7, and note each term."""
        total = 0.0
        for name, values in self.objective.terms(y_pred["outputs"], y_pred["targets"]).items():
            values = ops.cast(values, "float32")
            self.trackers[name].update_state(values)
            total = total + ops.mean(values)
        self.trackers["loss"].update_state(total)
        return total

    if keras.backend.backend() == "tensorflow":

        def _maybe_symbolic_build(self, iterator=None, data_batch=None):
            """Leave the building to the first step.

            Keras 3.15 builds from a first batch under a strategy, and fails over dictionaries
            with several workers (keras-team/keras issue 20329).
            """

        def train_step(self, data):
            import tensorflow as tf

            batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
            strategy = tf.distribute.get_strategy()
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y_pred=self(batch, training=True))
                scaled = self.optimizer.scale_loss(loss / strategy.num_replicas_in_sync)
            variables = self.network.trainable_variables
            self.optimizer.apply(tape.gradient(scaled, variables), variables)
            results = self.get_metrics_result()
            if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
                # Keras averages over workers along an axis that scalars do not have.
                results = {name: value[None] for name, value in results.items()}
            return results


def _partly(network, train):
    """Keep the other part of a network as it is; return the model of what has a loss then."""
    if not network.config.tone:
        raise NeidError(f"train={train!r} needs a network with a tone (ModelConfig.tone)")
    for layer in network.layers:
        of_tone = layer.name.startswith("tone_")
        layer.trainable = of_tone == (train == "tone") and layer.trainable
        if isinstance(layer, keras.layers.Dropout) and not layer.trainable:
            layer.rate = 0.0
    kept = {"tone", "tone_parameters"} if train == "tone" else set(network.output) - {"tone"}
    return keras.Model(network.input, {name: network.output[name] for name in kept})


def _view(miniatures, batch):
    """Cut thumbnails out of miniatures; some are mirrored, none stands on its head."""
    thumbnails = area_resize(ops.cast(miniatures, "float32"), THUMBNAIL, batch["view"])
    return augment.mirror(thumbnails, batch["mirror"])


def train(config, model_name, model_fields, pairs, validation, workdir, command=()):
    """Train a model, or go on with the run that is in ``workdir``.

    Args:
        config: :class:`TrainConfig`.
        model_name: one of :data:`neid_tf.models.VARIANTS`.
        model_fields: what differs from the variant: fields of ``ModelConfig``.
        pairs: :class:`neid_tf.data.pairs.Pairs` to train on, none smaller than the crop.
        validation: pairs to score every ``validate_every`` epochs; may be empty.
        workdir: folder of checkpoints, weights, logs and settings.
        command: the command line, for the card of the weights.

    Returns:
        The trained :class:`neid_tf.models.NEID`, part ``inference``, in the precision that Keras
        is set to; what is validated is so too.

    Raises:
        NonFiniteLoss: where a loss term is not a number any more.
        WeightsError: where ``config.init`` cannot be read.
        ValueError: where ``workdir`` holds a run with other settings.
    """
    run = runs.Run(Path(workdir), config, model_name, model_fields, command)
    strategy = runs.start(config)
    with strategy.scope(), precision(config.mixed_precision):
        network = models.build(model_name, **model_fields)
        if config.init:
            models.adopt(pretrained.load_pretrained(config.init), network)
        whole = models.rebuild(network, "training")
        trainer = Trainer(whole, config.objective(), config.exposure, config.train)
        sampling = Sampling(
            crop=config.crop,
            batch_size=config.batch_size,
            seed=config.seed,
            thumbnail=trainer.network.config.tone,
        )
        steps = sampling.steps_per_epoch(pairs)
        trainer.compile(
            optimizer=config.optimizer(steps), jit_compile=config.jit_compile, loss=None
        )
        trainer.optimizer.build(trainer.network.trainable_variables)
        first = run.restore(trainer)
    batches = training_batches(pairs, sampling, first * steps, (config.epochs - first) * steps)
    trainer.fit(
        batches,
        initial_epoch=first,
        epochs=config.epochs,
        steps_per_epoch=steps,
        callbacks=[runs.StopOnNonFinite(), runs.Recorder(run, trainer, validation, steps)],
        verbose=(1 if sys.stdout.isatty() else 2) if run.chief else 0,
    )
    return run.finish(trainer)
