"""The models of the paper and the variants beyond it."""

import dataclasses

from neid_tf.model_config import ARCHITECTURES, VARIANTS, ModelConfig, describe
from neid_tf.models.layers import area_resize
from neid_tf.models.neid import NEID, adopt, inference_model, rebuild, transfer


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
