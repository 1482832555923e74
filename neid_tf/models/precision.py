"""In which precision the layers of a network compute: float32, or bfloat16.

With bfloat16 the weights, the tone and what is a picture stay in float32.
"""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def computing_in(policy: str) -> Iterator[None]:
    """Let the layers made meanwhile compute in a precision; weights stay in float32.

    Args:
        policy: ``float32``, ``bfloat16``, or a policy of Keras.
    """
    before = keras.mixed_precision.dtype_policy()
    named = "mixed_bfloat16" if policy == "bfloat16" else policy
    keras.mixed_precision.set_dtype_policy(named)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)
