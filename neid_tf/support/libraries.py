"""Libraries that not every install has: a missing one is named, with what installs it."""

import contextlib
from collections.abc import Iterator

from neid_tf.support.errors import NeidError

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


class MissingLibraryError(NeidError):
    """A library that is not installed; the message names it and says what installs it."""

    def __init__(self, purpose: str, library: str) -> None:
        module = library.partition(".")[0]
        package = INSTALL.get(module, module)
        super().__init__(f"{purpose} needs {library}: pip install {package}")


@contextlib.contextmanager
def optional_import(purpose: str) -> Iterator[None]:
    """Turn an import that fails inside into an error that says what installs the library.

    Args:
        purpose: what needs the library; the message begins with it.

    Raises:
        MissingLibraryError: where a library is missing.
        KeyboardInterrupt: where the user interrupted the import. Libraries of native code tell
            an interrupted import as an ImportError.
    """
    try:
        yield
    except ImportError as error:
        if _was_interrupted(error):
            raise KeyboardInterrupt from error
        raise MissingLibraryError(purpose, str(error.name or error)) from error


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether an error, or what it arose from, is the user's interruption."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
