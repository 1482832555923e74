"""NEID: brightens low-light pictures and restores their details in one network."""

import importlib
import os
import typing

from neid_tf.support.registration import register_with_keras
from neid_tf.support.version import __version__

if typing.TYPE_CHECKING:
    from neid_tf import models
    from neid_tf.inference.enhance import enhance
    from neid_tf.models.presets import presets
    from neid_tf.models.pretrained import load_pretrained

__all__ = ["__version__", "enhance", "load_pretrained", "models", "presets"]
_NAMES = {
    "enhance": "neid_tf.inference.enhance",
    "load_pretrained": "neid_tf.models.pretrained",
    "presets": "neid_tf.models.presets",
}
_MODULES = ("inference", "models")

register_with_keras()
# Or ONNX Runtime tells Microsoft how it is used, under a number of this machine that it keeps.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> typing.Any:
    # Imported when they are asked for: NumPy takes a while, and the models need Keras, which
    # takes seconds.
    if name in _MODULES:
        return importlib.import_module(f"neid_tf.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'neid_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
