"""The configuration of a training run (section 3.2); Keras is imported only when it is used."""

import dataclasses
import itertools
from typing import Any

from neid_tf.data.sampling import Sampling
from neid_tf.models import pretrained
from neid_tf.models.config import PHASES, ModelConfig, RivalConfig, phases_to_come
from neid_tf.support.errors import NeidError
from neid_tf.support.fields import check_fields, config_field
from neid_tf.training.objective import Objective


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The parameters of a training run; the defaults are the paper's (section 3.2).

    Attributes:
        objective: the loss.
        sampling: how samples are drawn.
    """

    epochs: int = config_field(
        2000, "Epochs; in one, every picture is shown about once.", minimum=1
    )
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    learning_rate: float = config_field(1e-4, "Learning rate at the start.", minimum=0.0)
    schedule: str = config_field(
        "piecewise",
        "How the learning rate changes: by steps, or along a cosine to zero.",
        choices=("piecewise", "cosine"),
    )
    boundaries: str = config_field(
        "500,1000",
        "Epochs after which --schedule=piecewise lowers the rate, with commas; none for one rate.",
        only=("schedule", ("piecewise",)),
    )
    decay: float = config_field(
        0.1,
        "Factor of --schedule=piecewise at each boundary.",
        minimum=0.0,
        only=("schedule", ("piecewise",)),
    )
    warmup: float = config_field(
        0.0,
        "Epochs of linear warm-up for --schedule=cosine.",
        minimum=0.0,
        only=("schedule", ("cosine",)),
    )
    weight_decay: float = config_field(
        0.0, "Decoupled weight decay (AdamW); 0 is Adam.", minimum=0.0
    )
    clip_norm: float = config_field(
        0.0, "Global gradient norm to clip at; 0 for none.", minimum=0.0
    )
    epsilon: float = config_field(
        1e-7,
        "Adam's epsilon. Gradients much below it hardly move their weights; those of deep levels "
        "and of the detail branch are.",
        minimum=1e-12,
    )
    ema: float = config_field(
        0.0, "Momentum of the weights' moving average, which is what is scored; 0 for none."
    )
    objective: Objective = dataclasses.field(default_factory=Objective)
    train: str = config_field(
        "all",
        "What learns: the whole; the tone alone, without the streams; or the streams, on a tone "
        "that stays as it is (see --init). retinexnet is trained with decom, then relight; kind "
        "with decom, then restoration, then adjust: each starts from the one before by --init.",
        choices=("all", "tone", "streams", "decom", "relight", "restoration", "adjust"),
    )
    init: str = config_field(
        "",
        "Weights to start from, a name of the package or a file: all layers that fit. A layer "
        "that is a whole number of times as wide takes them among fresh channels. For layers "
        "that do not fit, and without it, fresh weights; which those are is printed, and weights "
        "of which next to nothing fits are refused.",
        path=True,
    )
    validate_every: int = config_field(20, "Epochs from one validation to the next.", minimum=1)
    checkpoint_every: int = config_field(1, "Epochs from one checkpoint to the next.", minimum=1)
    panel_every: int = config_field(100, "Epochs from one picture panel to the next.", minimum=1)
    mixed_precision: bool = config_field(
        False,
        "Compute in half precision where that is safe: in bfloat16, or in float16 on GPUs older "
        "than Ampere.",
    )
    jit_compile: bool = config_field(False, "Compile the step with XLA, as JAX always does.")
    deterministic: bool = config_field(False, "The same bits from run to run (slower).")
    strategy: str = config_field(
        "none",
        "Devices: one; all of this machine; or all workers that TF_CONFIG names.",
        choices=("none", "mirrored", "multiworker"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sampling.crop < 32:
            raise NeidError(f"crop must be at least 32, not {self.sampling.crop}")
        if not 0.0 <= self.ema < 1.0:
            raise NeidError(f"ema must be in [0, 1), not {self.ema}")
        if self.warmup >= self.epochs:
            raise NeidError(f"warmup must be shorter than {self.epochs} epochs, not {self.warmup}")
        self.boundary_epochs()

    def check_model(self, model: ModelConfig | RivalConfig) -> None:
        """Check that a model can be trained so.

        Raises:
            NeidError: for crops that the model halves to less than a pixel, a phase that it does
                not have, the tone or the streams of one without a tone, a loss of NEID's for a
                rival, the weight of a term that is not there, or a view of the thumbnail where
                there is none.
        """
        name, view = model.architecture, self.sampling.smallest_view
        if name not in PHASES and self.sampling.crop // model.scale < 2**model.depth:
            least = model.scale * 2**model.depth
            raise NeidError(f"--depth={model.depth} needs --crop={least} at least")
        if not model.tone and view != Sampling().smallest_view:
            raise NeidError(f"--smallest_view={view} has no effect with a model without a tone")
        if name not in PHASES:
            if self.train not in ("all", "tone", "streams"):
                raise NeidError(f"--train={self.train} is a phase of a rival, not of {name}")
            if self.train != "all" and not model.tone:
                raise NeidError(f"--train={self.train} needs a model with a tone (--tone)")
            self._check_terms(model)
        elif self.train not in PHASES[name]:
            known = ", then ".join(f"--train={phase}" for phase in PHASES[name])
            raise NeidError(f"{name} is trained with {known}, not with --train={self.train}")
        elif self.objective != Objective():
            raise NeidError(f"{name} has its own loss, not that of NEID")
        elif self.sampling.exposure:  # Its phases draw what they need from the same number.
            raise NeidError(f"{name} is trained without --exposure")

    def check_fresh(self, model: ModelConfig | RivalConfig) -> None:
        """Check that a model with fresh weights can be trained so.

        Raises:
            NeidError: where a part stays as it is that would have learned nothing.
        """
        phases = PHASES.get(model.architecture, ("tone", "streams"))
        if self.train in phases[1:]:
            before = ", ".join(f"--train={name}" for name in phases[: phases.index(self.train)])
            raise NeidError(f"--train={self.train} goes on from {before}: name weights by --init")

    def check_init(self) -> None:
        """Check that there are weights to start from, and that they can be trained so.

        Raises:
            NeidError: where they can't be read, or where a part stays as it is that has learned
                nothing.
        """
        if not self.init:
            return
        come = phases_to_come(pretrained.architecture(self.init), pretrained.card(self.init))
        first, *later = come or ("",)
        if self.train in later:
            raise NeidError(f"--train={first} comes before --train={self.train} for {self.init}")

    def _check_terms(self, model):
        """Refuse a loss that is not there in the model, or in the part of it that is trained."""
        without = {"detail_weight": "detail"} if not model.has_detail else {}
        without |= {"tone_weight": "tone"} if not model.tone else {}
        for field, part in without.items():
            self._check_idle(field, f"a model without {part}")
        if self.train == "tone":
            if not self.objective.tone_weight:
                raise NeidError("--tone_weight=0 leaves --train=tone nothing to learn from")
            for field in dataclasses.fields(Objective):
                if field.name != "tone_weight":
                    self._check_idle(field.name, "--train=tone")
        if self.train == "streams":
            self._check_idle("tone_weight", "--train=streams")

    def _check_idle(self, field, where):
        value = getattr(self.objective, field)
        if value not in (getattr(Objective(), field), 0.0):
            raise NeidError(f"--{field}={value} has no effect with {where}")

    def boundary_epochs(self) -> list[int]:
        """Return the boundaries of the piecewise schedule as whole numbers.

        Raises:
            ValueError: where one of them is no whole number, or not above the one before.
        """
        try:
            epochs = [int(part) for part in self.boundaries.split(",") if part.strip()]
        except ValueError:
            epochs = [0]
        if any(epoch <= before for before, epoch in itertools.pairwise([0, *epochs])):
            rule = "rising whole numbers from 1 on, with commas"
            raise NeidError(f"boundaries are {rule}, not {self.boundaries!r}")
        return epochs

    def optimizer(self, steps_per_epoch: int, replicas: int = 1) -> Any:
        """Return Adam, or AdamW, on the schedule; with its loss scaled in mixed precision.

        Args:
            steps_per_epoch: batches in an epoch.
            replicas: how many devices compute a batch together. Keras clips on each of them what
                it then adds up, so each clips its share of the reduced gradient at its share of
                ``clip_norm``: see :meth:`neid_tf.training.trainer.Trainer.train_step`.
        """
        import keras

        options = {"global_clipnorm": self.clip_norm / replicas or None, "epsilon": self.epsilon}
        if self.ema:
            options |= {"use_ema": True, "ema_momentum": self.ema, "ema_overwrite_frequency": None}
        rate = self.rate(steps_per_epoch)
        if self.weight_decay:
            options["weight_decay"] = self.weight_decay
        kind = keras.optimizers.AdamW if self.weight_decay else keras.optimizers.Adam
        made = kind(rate, **options)
        return keras.optimizers.LossScaleOptimizer(made) if self.mixed_precision else made

    def rate(self, steps_per_epoch: int) -> Any:
        """Return the learning-rate schedule, a function of the step."""
        from keras.optimizers import schedules

        if self.schedule == "cosine":
            warmup = round(self.warmup * steps_per_epoch)
            return schedules.CosineDecay(
                0.0 if warmup else self.learning_rate,
                max(self.epochs * steps_per_epoch - warmup, 1),
                warmup_target=self.learning_rate if warmup else None,
                warmup_steps=warmup,
            )
        # Keras needs a boundary: where there are none, the end of the run.
        epochs = self.boundary_epochs() or [self.epochs]
        rates = [self.learning_rate * self.decay**index for index in range(len(epochs) + 1)]
        steps = [epoch * steps_per_epoch for epoch in epochs]
        return schedules.PiecewiseConstantDecay(steps, rates)
