"""Training (sections 2.3 and 3.2): configuration, the model with its ``train_step``, the run."""

import dataclasses
import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

from neid_tf import augment, data, models, pretrained, runs
from neid_tf.config import check_fields, config_field
from neid_tf.losses import RECONSTRUCTIONS, Objective
from neid_tf.models.layers import area_resize
from neid_tf.models.neid import THUMBNAIL
from neid_tf.models.tone import ToneCurve


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The parameters of a training run; the defaults are the paper's (section 3.2)."""

    epochs: int = config_field(
        2000, "Epochs; in one, every picture is shown about once.", minimum=1
    )
    batch_size: int = config_field(8, "Pictures in a batch, over all devices together.", minimum=1)
    crop: int = config_field(
        256, "Side of the square crops, in pixels of the reference.", minimum=32
    )
    learning_rate: float = config_field(1e-4, "Learning rate at the start.", minimum=0.0)
    schedule: str = config_field(
        "piecewise",
        "How the learning rate changes: by steps, or along a cosine to zero.",
        choices=("piecewise", "cosine"),
    )
    boundaries: str = config_field(
        "500,1000", "Epochs after which --schedule=piecewise lowers the rate, with commas."
    )
    decay: float = config_field(
        0.1, "Factor of --schedule=piecewise at each boundary.", minimum=0.0
    )
    warmup: float = config_field(
        0.0, "Epochs of linear warm-up for --schedule=cosine.", minimum=0.0
    )
    weight_decay: float = config_field(
        0.0, "Decoupled weight decay (AdamW); 0 is Adam.", minimum=0.0
    )
    clip_norm: float = config_field(
        0.0, "Global gradient norm to clip at; 0 for none.", minimum=0.0
    )
    ema: float = config_field(
        0.0, "Momentum of the weights' moving average, which is what is scored; 0 for none."
    )
    reconstruction: str = config_field(
        "huber", "Loss between LE's output and the reference.", choices=tuple(RECONSTRUCTIONS)
    )
    delta: float = config_field(1.0, "Delta of the Huber loss, in units of white.", minimum=1e-6)
    detail_weight: float = config_field(0.1, "Lambda 1, weight of DR's MSE loss.", minimum=0.0)
    colour_weight: float = config_field(0.1, "Lambda 2, weight of the colour loss.", minimum=0.0)
    structure_weight: float = config_field(0.0, "Weight of 1 - SSIM.", minimum=0.0)
    tone_weight: float = config_field(1.0, "Weight of the toned thumbnail's error.", minimum=0.0)
    exposure: float = config_field(
        0.0, "Inputs are made up to exp(this) times brighter or darker at random.", minimum=0.0
    )
    init: str = config_field(
        "",
        "Weights to start from, a name of the package or a file: all layers that fit. Without "
        "it, and for layers that do not fit, fresh weights.",
    )
    seed: int = config_field(0, "Seed of weights, order, crops, flips and turns.")
    validate_every: int = config_field(20, "Epochs from one validation to the next.", minimum=1)
    checkpoint_every: int = config_field(1, "Epochs from one checkpoint to the next.", minimum=1)
    panel_every: int = config_field(100, "Epochs from one picture panel to the next.", minimum=1)
    mixed_precision: bool = config_field(False, "Compute in half precision where that is safe.")
    jit_compile: bool = config_field(False, "Compile the step with XLA.")
    deterministic: bool = config_field(False, "The same bits from run to run (slower).")
    strategy: str = config_field(
        "none",
        "Devices: one; all of this machine; or all workers that TF_CONFIG names.",
        choices=("none", "mirrored", "multiworker"),
    )

    def __post_init__(self):
        check_fields(self)
        if self.crop % 2:
            raise ValueError(f"crop must be even, not {self.crop}")
        if not 0.0 <= self.ema < 1.0:
            raise ValueError(f"ema must be in [0, 1), not {self.ema}")
        self.boundary_epochs()

    def boundary_epochs(self):
        """Return the boundaries of the piecewise schedule as whole numbers."""
        try:
            return [int(part) for part in self.boundaries.split(",") if part.strip()]
        except ValueError:
            raise ValueError(
                f"boundaries are whole numbers with commas, not {self.boundaries!r}"
            ) from None

    def objective(self):
        """Return the weighted loss, equation 7."""
        names = [field.name for field in dataclasses.fields(Objective)]
        return Objective(**{name: getattr(self, name) for name in names})

    def optimizer(self, steps_per_epoch):
        """Return Adam, or AdamW, on the schedule; with its loss scaled in mixed precision."""
        options = {"global_clipnorm": self.clip_norm or None}
        if self.ema:
            options |= {"use_ema": True, "ema_momentum": self.ema, "ema_overwrite_frequency": None}
        rate = self.rate(steps_per_epoch)
        if self.weight_decay:
            options["weight_decay"] = self.weight_decay
        kind = keras.optimizers.AdamW if self.weight_decay else keras.optimizers.Adam
        made = kind(rate, **options)
        return keras.optimizers.LossScaleOptimizer(made) if self.mixed_precision else made

    def rate(self, steps_per_epoch):
        """Return the learning-rate schedule, by steps."""
        if self.schedule == "cosine":
            warmup = int(self.warmup * steps_per_epoch)
            return keras.optimizers.schedules.CosineDecay(
                0.0 if warmup else self.learning_rate,
                max(self.epochs * steps_per_epoch - warmup, 1),
                warmup_target=self.learning_rate if warmup else None,
                warmup_steps=warmup,
            )
        epochs = self.boundary_epochs()
        rates = [self.learning_rate * self.decay**index for index in range(len(epochs) + 1)]
        steps = [epoch * steps_per_epoch for epoch in epochs]
        return keras.optimizers.schedules.PiecewiseConstantDecay(steps, rates)


class Trainer(keras.Model):
    """A network with the losses of section 2.3, for ``fit``.

    It is fed the batches of :mod:`neid_tf.data` and does the rest on the device: flips, turns,
    halving, the network, the weighted loss. Other Keras backends run it through their own
    ``train_step``.

    Args:
        network: a :class:`neid_tf.models.NEID`, part ``training``.
        objective: the weighted loss.
        exposure: see :class:`TrainConfig`.
    """

    def __init__(self, network, objective, exposure=0.0, **kwargs):
        # The pictures stay in full precision; the network casts them itself.
        super().__init__(dtype="float32", **kwargs)
        self.network, self.objective, self.exposure = network, objective, exposure
        names = ["loss", *self._term_names()]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    @property
    def metrics(self):
        return list(self.trackers.values())

    def _term_names(self):
        blank = {name: np.zeros((1, 11, 11, 3), np.float32) for name in self.network.output}
        return list(self.objective.terms(blank, blank))

    def call(self, batch, training=False):
        """Return the network's outputs and their targets for a batch as it was loaded."""
        low, inputs, targets = self.prepare(batch)
        outputs = self.network(inputs, training=training)
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
        pairs: :class:`neid_tf.pairs.Pairs` to train on, none smaller than the crop.
        validation: pairs to score every ``validate_every`` epochs; may be empty.
        workdir: folder of checkpoints, weights, logs and settings.
        command: the command line, for the card of the weights.

    Returns:
        The trained :class:`neid_tf.models.NEID`, part ``inference``.

    Raises:
        NonFiniteLoss: where a loss term is not a number any more.
        WeightsError: where ``config.init`` cannot be read.
        ValueError: where ``workdir`` holds a run with other settings.
    """
    run = runs.Run(Path(workdir), config, model_name, model_fields, command)
    strategy = runs.start(config)
    with strategy.scope():
        network = models.build(model_name, **model_fields)
        if config.init:
            models.adopt(pretrained.load_pretrained(config.init), network)
        trainer = Trainer(models.rebuild(network, "training"), config.objective(), config.exposure)
        sampling = data.Sampling(
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
    batches = data.batches(pairs, sampling, first * steps, (config.epochs - first) * steps)
    trainer.fit(
        batches,
        initial_epoch=first,
        epochs=config.epochs,
        steps_per_epoch=steps,
        callbacks=[runs.StopOnNonFinite(), runs.Recorder(run, trainer, validation, steps)],
        verbose=(1 if sys.stdout.isatty() else 2) if run.chief else 0,
    )
    return run.finish(trainer)
