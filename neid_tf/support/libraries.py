"""Libraries that not every install has: a missing one is named, with what installs it."""

import contextlib

_EXPORT = "'neid_tf[export]'"
INSTALL = {
    "PIL": "pillow",
    "absl": "absl-py",
    "ai_edge_litert": "ai-edge-litert",
    "ai_edge_quantizer": _EXPORT,
    "cv2": "opencv-python-headless",
    "keras": "tensorflow keras",
    "onnx": _EXPORT,
    "skimage": "scikit-image",
    "tensorflow": "tensorflow keras",
    "tf2onnx": _EXPORT,
}
"""Modules, and what pip calls the packages that they take, where that is another name."""


class MissingLibraryError(ValueError):
    """A library that is not installed; the message names it and says what installs it."""

    def __init__(self, purpose, library):
        module = library.partition(".")[0]
        package = INSTALL.get(module, module)
        super().__init__(f"{purpose} needs {library}: pip install {package}")


@contextlib.contextmanager
def needed_by(purpose):
    """Turn an import that fails inside into a :class:`MissingLibraryError`."""
    try:
        yield
    except ImportError as error:
        raise MissingLibraryError(purpose, str(error.name or error)) from error
