"""NEID: brightens low-light pictures and restores their details in one network."""

import importlib

from neid_tf.inference.enhance import enhance
from neid_tf.models.pretrained import load_pretrained
from neid_tf.models.registration import register_with_keras
from neid_tf.support.version import __version__

__all__ = ["__version__", "enhance", "load_pretrained", "models"]

register_with_keras()


def __getattr__(name):
    # The models need Keras, which takes seconds to import: only when they are asked for.
    if name == "models":
        return importlib.import_module("neid_tf.models")
    raise AttributeError(f"module 'neid_tf' has no attribute {name!r}")
