"""The models of the paper and the variants beyond it; Keras is imported when one is asked for."""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from neid_tf.models.config import (
    ARCHITECTURES,
    RIVALS,
    VARIANTS,
    ModelConfig,
    RivalConfig,
    model_config,
)

if TYPE_CHECKING:
    from neid_tf.models.neid import NEID
    from neid_tf.models.rivals import Rival

_HOMES = {
    "NEID": "neid",
    "Rival": "rivals",
    "area_resize": "layers",
    "as_part": "transfer",
    "copy_weights": "transfer",
    "inference_model": "transfer",
    "load_matching": "transfer",
}
"""The modules, all with Keras, of the names that are imported when they are asked for."""


def build(name: str = "neid", **fields: Any) -> "NEID | Rival":
    """Build a named model with fresh weights.

    Args:
        name: one of :data:`VARIANTS`: ``unet``, ``le``, ``le_dr``, ``neid`` (the paper's four
            architectures, section 2), ``paper`` (the same as ``neid``), a variant of ours, or one
            of :data:`RIVALS`.
        **fields: fields of :class:`ModelConfig`, or for a rival of :class:`RivalConfig`, that
            differ from the variant's.

    Returns:
        A :class:`NEID`, or a :class:`Rival`: N×h×w×3 in [0, 1] to a dictionary of pictures.

    Raises:
        ValueError: for an unknown name, an unknown field or a bad value.
    """
    return made(model_config(name, **fields), name=name)


def made(config: ModelConfig | RivalConfig, **options: Any) -> "NEID | Rival":
    """Make the model of a configuration with fresh weights.

    Args:
        config: what it is made of.
        **options: ``part`` and ``name`` of the model.
    """
    home, name = ("rivals", "Rival") if isinstance(config, RivalConfig) else ("neid", "NEID")
    kind = getattr(importlib.import_module(f"neid_tf.models.{home}"), name)
    return kind(**options, **dataclasses.asdict(config))


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'neid_tf.models' has no attribute {name!r}")
    return getattr(importlib.import_module(f"neid_tf.models.{_HOMES[name]}"), name)


__all__ = [
    "ARCHITECTURES",
    "NEID",
    "RIVALS",
    "VARIANTS",
    "ModelConfig",
    "Rival",
    "RivalConfig",
    "area_resize",
    "as_part",
    "build",
    "copy_weights",
    "inference_model",
    "load_matching",
    "made",
    "model_config",
]
