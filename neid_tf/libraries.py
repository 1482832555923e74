"""Libraries that not every install has: a missing one is named, with what installs it."""

import contextlib

INSTALL = {
    "tensorflow": "tensorflow keras",
    "keras": "tensorflow keras",
    "tensorboard": "tensorboard",
    "skimage": "scikit-image",
    "scipy": "scipy",
    "onnxruntime": "onnxruntime",
    "ai_edge_litert": "ai-edge-litert",
}
"""Modules, and what pip calls the packages that they take."""


class MissingLibraryError(ValueError):
    """A library that is not installed; the message names it and says what installs it."""

    def __init__(self, purpose, library):
        package = INSTALL.get(library.partition(".")[0], "'neid_tf[export]'")
        super().__init__(f"{purpose} needs {library}: pip install {package}")


@contextlib.contextmanager
def needed_by(purpose):
    """Turn an import that fails inside into a :class:`MissingLibraryError`."""
    try:
        yield
    except ImportError as error:
        raise MissingLibraryError(purpose, str(error.name or error)) from error
