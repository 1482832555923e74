"""Saved models load once this package was imported: Keras is told of our classes when it starts.

``import neid_tf`` does not import Keras, which takes seconds. So where Keras comes later, the
modules that register classes with it are imported right after it.
"""

import importlib
import sys

_REGISTERING = ("neid_tf.models.neid", "neid_tf.models.rivals")


def register_with_keras() -> None:
    """Register the classes of saved models now, if Keras is there, or as soon as it is imported."""
    if sys.modules.get("keras"):
        _import_all()
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


def _import_all():
    # A module of ours that imports Keras itself is not there yet for the others to import.
    if not any(_is_being_imported(name) for name in list(sys.modules)):
        for name in _REGISTERING:
            importlib.import_module(name)


def _is_being_imported(name):
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return name.startswith("neid_tf.models.") and getattr(spec, "_initializing", False)


class _KerasFinder:
    """Finds Keras as others do, and lets what registers classes follow its import."""

    def __init__(self):
        self._asks = False

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras" or self._asks:
            return None
        from importlib.util import find_spec  # Few import Keras, and all would wait for this.

        self._asks = True
        try:
            spec = find_spec(fullname)
        finally:
            self._asks = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader:
    """Loads Keras with its own loader, then imports what registers classes."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _import_all()
