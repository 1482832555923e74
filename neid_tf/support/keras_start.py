"""Keeps the start of TensorFlow quiet."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

from neid_tf.support.errors import NeidError


def import_keras(start: bool = True) -> ModuleType:
    """Import Keras and start its backend, without what native code prints meanwhile.

    TensorFlow writes several lines to the process's stderr before its log level counts. They
    are kept back, and shown only if the import fails.

    Args:
        start: whether the backend computes something at once. Where several workers train as
            one they have to join first: TensorFlow refuses to once it has computed anything.
    """
    with native_stderr_held_back():
        try:
            import keras
        except ValueError as error:
            if not (backend := os.environ.get("KERAS_BACKEND")):
                raise
            raise NeidError(f"KERAS_BACKEND={backend}: {error}") from error  # It does not know it.

        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        if start:
            keras.ops.zeros(())
    return keras


@contextlib.contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Keep back what native code writes to stderr; it is shown if an error ends the block."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
