"""In which precision the layers of a network compute."""

import contextlib
from collections.abc import Iterator

import keras

PRECISIONS = ("float32", "bfloat16")
"""What a network computes in. With bfloat16 its weights, the tone and pictures stay in float32."""


@contextlib.contextmanager
def computing_in(policy: str) -> Iterator[None]:
    """Let the layers made meanwhile compute in a precision; weights stay in float32.

    Args:
        policy: one of :data:`PRECISIONS`, or a policy of Keras.
    """
    before = keras.mixed_precision.dtype_policy()
    named = "mixed_bfloat16" if policy == "bfloat16" else policy
    keras.mixed_precision.set_dtype_policy(named)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)
