"""The models of the paper and the variants beyond it."""

import dataclasses

from neid_tf.models.layers import area_resize
from neid_tf.models.neid import (
    ARCHITECTURES,
    NEID,
    ModelConfig,
    adopt,
    inference_model,
    rebuild,
    transfer,
)

VARIANTS = {name: {"architecture": name} for name in ARCHITECTURES}
"""Fields of every named variant; what is not named here has :class:`ModelConfig`'s default."""

VARIANTS["paper"] = {"architecture": "neid"}
VARIANTS["neid_tone"] = {
    "architecture": "neid",
    "filters": 16,
    "initializer": "he_normal",
    "detail_target": "toned",
    "tone": True,
}


def build(name="neid", **fields):
    """Build a named model with fresh weights.

    Args:
        name: one of :data:`VARIANTS`: ``unet``, ``le``, ``le_dr``, ``neid`` (the paper's four
            architectures, section 2), ``paper`` (the same as ``neid``), or a variant of ours.
        **fields: fields of :class:`ModelConfig` that differ from the variant's.

    Returns:
        A :class:`NEID`: N×h×w×3 in [0, 1] to a dictionary of pictures.

    Raises:
        ValueError: for an unknown name, an unknown field or a bad value.
    """
    return NEID(name=name, **dataclasses.asdict(describe(name, **fields)))


def describe(name="neid", **fields):
    """Return the :class:`ModelConfig` that :func:`build` would build."""
    if name not in VARIANTS:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(VARIANTS)}")
    unknown = set(fields) - set(ModelConfig.__dataclass_fields__)
    if unknown:
        raise ValueError(f"a model has no field {', '.join(sorted(unknown))}")
    return ModelConfig(**(VARIANTS[name] | fields))


__all__ = [
    "ARCHITECTURES",
    "NEID",
    "VARIANTS",
    "ModelConfig",
    "adopt",
    "area_resize",
    "build",
    "describe",
    "inference_model",
    "rebuild",
    "transfer",
]
