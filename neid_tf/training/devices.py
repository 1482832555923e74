"""What a run computes on: seed, determinism, devices, precision."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import keras

from neid_tf.models.precision import computing_in
from neid_tf.support.errors import NeidError
from neid_tf.training.config import TrainConfig


def start(config: TrainConfig) -> Any:
    """Seed everything and set determinism and devices of a run.

    Returns:
        A ``tf.distribute`` strategy, or on other backends a stand-in with its ``scope``.

    Raises:
        NeidError: for a strategy or ``deterministic`` on a backend other than TensorFlow.
    """
    keras.utils.set_random_seed(config.sampling.seed)
    if keras.backend.backend() != "tensorflow":
        if config.strategy != "none":
            raise NeidError(f"strategy {config.strategy} needs Keras's TensorFlow backend")
        if config.deterministic:
            raise NeidError("deterministic needs Keras's TensorFlow backend")
        return _OneDevice()
    import tensorflow as tf

    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    return {
        "none": tf.distribute.get_strategy,
        "mirrored": tf.distribute.MirroredStrategy,
        "multiworker": tf.distribute.MultiWorkerMirroredStrategy,
    }[config.strategy]()


class _OneDevice:
    num_replicas_in_sync = 1
    scope = staticmethod(contextlib.nullcontext)


def is_chief(strategy: str) -> bool:
    """Tell whether this process writes: the only one, the chief, or worker 0 where there is none.

    Args:
        strategy: ``TrainConfig.strategy``; with ``multiworker`` the environment's ``TF_CONFIG``
            says which of the workers this process is.

    Raises:
        NeidError: where that can't be read.
    """
    if strategy != "multiworker":
        return True
    try:
        told = json.loads(os.environ.get("TF_CONFIG") or "{}")
        task, cluster = dict(told.get("task", {})), dict(told.get("cluster", {}))
        index = int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError) as error:
        raise NeidError(f"TF_CONFIG tells no cluster and task in JSON: {error}") from error
    kind = task.get("type", "chief")
    first = kind == "worker" and "chief" not in cluster and index == 0
    return kind == "chief" or first


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Let the layers made meanwhile compute in half precision, or in single precision.

    Weights stay in single precision. Under a strategy of several workers, enter that first: this
    asks for the devices, which starts TensorFlow, and workers must have joined by then.
    """
    with computing_in(policy(mixed)):
        yield


def policy(mixed: bool) -> str:
    """Return the name of Keras's precision policy for this machine.

    CPUs compute in bfloat16, if in any half precision, and so do NVIDIA cards since Ampere, as fast
    as in float16 and without losing small gradients; older cards compute in float16.
    """
    if not mixed:
        return "float32"
    has_gpu = keras.distribution.list_devices()[0].startswith("gpu")  # Of one kind, the best.
    return "mixed_float16" if has_gpu and _capability() < _AMPERE else "mixed_bfloat16"


_AMPERE = (8, 0)


def _capability() -> tuple[int, int]:
    """Return the compute capability of the first card; that of none where it is not told."""
    if keras.backend.backend() == "jax":
        import jax

        version = getattr(jax.local_devices()[0], "compute_capability", None)
        return tuple(map(int, version.split("."))) if version else (0, 0)
    import tensorflow as tf

    [first, *_] = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(first).get("compute_capability", (0, 0))
