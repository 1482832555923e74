"""The precision that networks are made to compute in."""

import contextlib

import keras


@contextlib.contextmanager
def precision(mixed):
    """Let the layers made meanwhile compute in half precision, or in single precision.

    Weights stay in single precision. Under a strategy of several workers, enter that first: this
    asks for the devices, which starts TensorFlow, and workers must have joined by then.
    """
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy(mixed))
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def policy(mixed):
    """Return the name of Keras's precision policy for this machine.

    CPUs compute in bfloat16, if in any half precision, and graphics cards of every age in float16.
    """
    if not mixed:
        return "float32"
    has_gpu = keras.distribution.list_devices()[0].startswith("gpu")  # Of one kind, the best.
    return "mixed_float16" if has_gpu else "mixed_bfloat16"
