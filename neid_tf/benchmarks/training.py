"""Training: what the input pipeline, the step, and both together do a second."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from neid_tf.benchmarks.timing import interleaved, ratios, spread

VARIANTS = {
    "float32": {},
    "xla": {"jit_compile": True},
    "mixed": {"mixed_precision": True},
    "xla_mixed": {"jit_compile": True, "mixed_precision": True},
}
"""How a step can be computed: fields of :class:`neid_tf.training.config.TrainConfig`."""


def rates(
    settings: Any,
    model: str,
    fields: dict[str, Any],
    runs: int,
    variants: Sequence[str] = ("float32",),
    steps: int = 16,
) -> dict[str, Any]:
    """Compare the input pipeline alone, the training step alone, and both together.

    The pairs are generated, of LoL's size; the step alone computes on one batch again and again.

    Args:
        settings: :class:`neid_tf.training.config.TrainConfig`.
        model: name of the model.
        fields: fields that differ from the variant's.
        runs: counted turns.
        variants: of :data:`VARIANTS`; all are timed in turns.
        steps: batches in a turn, so many that starting the pipeline, which a run does once, is
            little of it.

    Returns:
        Dictionary with ``images_per_second`` of the ``pipeline`` and, for each variant, of its
        ``step`` and of both ``together``; the ratio ``pipeline_to_step`` of each variant, and
        ``step_to_float32``, of images a second.
    """
    # More batches than are read ahead while the step computes.
    make = _pipeline(settings, model, fields, 16 * steps)
    calls = {("pipeline", ""): lambda: [None for _ in make(16 * steps)]}
    for name in variants:
        calls |= _calls(settings, name, model, fields, make, steps)
    seconds = interleaved(calls, runs, warmup=1)
    images = {key: (16 if key[0] == "pipeline" else 1) * steps for key in calls}
    speed = {
        key: [images[key] * settings.sampling.batch_size / s for s in values]
        for key, values in seconds.items()
    }
    pipeline = speed.pop(("pipeline", ""))
    each = {name: {key: speed[key, name] for key in ("step", "together")} for name in variants}
    report = {name: {key: spread(v) for key, v in rows.items()} for name, rows in each.items()}
    to_step = {name: ratios(pipeline, rows["step"]) for name, rows in each.items()}
    report = {"images_per_second": {"pipeline": spread(pipeline)} | report}
    report["pipeline_to_step"] = to_step
    if "float32" in variants:
        base = each["float32"]["step"]
        report["step_to_float32"] = {n: ratios(rows["step"], base) for n, rows in each.items()}
    return report


def _pipeline(settings, model, fields, most):
    """Return the function from a number of batches to them."""
    from neid_tf.data import batches
    from neid_tf.models import config as model_config

    tone = model_config.model_config(model, **fields).tone
    dataset = batches.training_dataset(_generated_pairs(), settings.sampling, 0, most, tone)
    return lambda count: itertools.islice(dataset, count)


def _calls(settings, name, model, fields, make, steps):
    """Return the timed functions of a variant."""
    settings = dataclasses.replace(settings, **VARIANTS[name])
    trainer = _trainer(settings, model, fields)
    one = next(make(1))

    def step():
        for _ in range(steps):
            trainer.train_on_batch(one)

    def both():
        for batch in make(steps):
            trainer.train_on_batch(batch)

    return {("step", name): step, ("together", name): both}


def _trainer(settings, model, fields):
    from neid_tf import models
    from neid_tf.training.devices import precision
    from neid_tf.training.trainer import Trainer

    with precision(settings.mixed_precision):
        network = models.as_part(models.build(model, **fields), "training")
        trainer = Trainer(network, settings.objective, settings.sampling.exposure)
    trainer.compile(optimizer=settings.optimizer(1000), jit_compile=settings.jit_compile)
    return trainer


def _generated_pairs(count=16):
    from neid_tf.data.pairs import Pairs

    rng = np.random.default_rng(0)
    high = tuple(rng.integers(0, 256, (400, 600, 3), np.uint8) for _ in range(count))
    return Pairs(tuple(map(str, range(count))), tuple(h // 8 for h in high), high)
