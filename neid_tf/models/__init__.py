"""The models of the paper and the variants beyond it; Keras is imported when one is asked for."""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from neid_tf.models.config import ARCHITECTURES, VARIANTS, ModelConfig, model_config

if TYPE_CHECKING:
    from neid_tf.models.neid import NEID

_HOMES = {
    "NEID": "neid",
    "area_resize": "layers",
    "as_part": "transfer",
    "context_model": "transfer",
    "copy_weights": "transfer",
    "inference_model": "transfer",
    "load_matching": "transfer",
    "tile_model": "transfer",
}
"""The modules, all with Keras, of the names that are imported when they are asked for."""


def build(name: str = "neid", **fields: Any) -> "NEID":
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
    from neid_tf.models.neid import NEID

    return NEID(name=name, **dataclasses.asdict(model_config(name, **fields)))


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'neid_tf.models' has no attribute {name!r}")
    return getattr(importlib.import_module(f"neid_tf.models.{_HOMES[name]}"), name)


__all__ = [
    "ARCHITECTURES",
    "NEID",
    "VARIANTS",
    "ModelConfig",
    "area_resize",
    "as_part",
    "build",
    "context_model",
    "copy_weights",
    "inference_model",
    "load_matching",
    "model_config",
    "tile_model",
]
