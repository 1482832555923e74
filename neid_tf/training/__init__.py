"""Losses (section 2.3), training (section 3.2) and its workdir; Keras is imported when needed."""

from typing import Any

__all__ = ["TrainConfig", "Trainer", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'neid_tf.training' has no attribute {name!r}")
    from neid_tf.training import trainer

    return getattr(trainer, name)
