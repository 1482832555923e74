"""Losses (section 2.3), training (section 3.2) and its workdir; Keras is imported when needed.

:func:`neid_tf.training.train.train` is a whole run.
"""

from typing import Any

from neid_tf.data.sampling import Sampling
from neid_tf.training.config import TrainConfig
from neid_tf.training.objective import Objective

__all__ = ["Objective", "Sampling", "TrainConfig", "Trainer"]


def __getattr__(name: str) -> Any:
    if name != "Trainer":
        raise AttributeError(f"module 'neid_tf.training' has no attribute {name!r}")
    from neid_tf.training.trainer import Trainer

    return Trainer
