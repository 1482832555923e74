"""Libraries that not every install has: a missing one is named, with what installs it here."""

import contextlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from neid_tf.support.errors import NeidError
from neid_tf.support.machine import WINDOWS

PACKAGES = {
    "PIL": "pillow",
    "absl": "absl-py",
    "keras": "tensorflow keras",
    "pillow_jxl": "pillow-jxl-plugin",
    "tensorflow": "tensorflow keras",
}
"""Modules, and what pip calls the packages that they take, where that is another name."""
EXTRAS = {
    "ai_edge_litert": "litert",
    "ai_edge_quantizer": "export",
    "av": "video",
    "cv2": "evaluate",
    "fastapi": "serve",
    "gradio": "demo",
    "matplotlib": "plot",
    "onnx": "export",
    "onnxruntime": "onnx",
    "pillow_heif": "heif",
    "pillow_jxl": "jxl",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "rawpy": "raw",
    "rasterio": "geo",
    "ray": "ray",
    "scipy": "evaluate",
    "skimage": "evaluate",
    "starlette": "serve",
    "tf2onnx": "export",
    "uvicorn": "serve",
    "watchfiles": "watch",
}
"""Modules, and the extra of the install that brings them."""
_TOGETHER = {
    "evaluate": "opencv-python-headless scikit-image scipy",
    "export": "tensorflow keras onnx onnxruntime tf2onnx ai-edge-litert ai-edge-quantizer",
    "serve": "fastapi prometheus-client python-multipart uvicorn",
}


class MissingLibraryError(NeidError):
    """A library that is not installed; the message names it and says what installs it."""

    def __init__(self, purpose: str, library: str) -> None:
        super().__init__(f"{purpose} needs {library}: {install_command(library)}")


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


def install_command(library: str) -> str:
    """Return the command that installs a library into the environment of this process.

    Args:
        library: the name of a module, such as ``cv2`` or ``onnx.helper``.
    """
    module = library.partition(".")[0]
    if module in EXTRAS:
        return install_extra(EXTRAS[module])
    return f"{_pip()} install {PACKAGES.get(module, module)}"


def install_extra(extra: str) -> str:
    """Return the command that installs an extra into the environment of this process.

    It names the folder that this package was installed from, if that is still there, and the
    packages of the extra otherwise, so that it works without an index that has this package.

    Args:
        extra: a name from :data:`EXTRAS`, such as ``demo``.
    """
    installed = _distribution()
    folder = _source_folder(installed)
    if folder and (installed is None or extra in _extras_of(installed)):
        return f"{_pip()} install {_quoted(f'{folder}[{extra}]')}"
    return f"{_pip()} install {_packages_of(extra, installed)}"


def _pip():
    """Return how pip is called: that of another environment would be of no use."""
    found = shutil.which("pip")
    here = Path(sys.executable).parent
    return "pip" if found and Path(found).parent == here else f"{_quoted(sys.executable)} -m pip"


def _quoted(word):
    """Return a word as the shell of this machine takes it; those of Windows know double quotes."""
    if not WINDOWS:
        return shlex.quote(word)
    return word if re.fullmatch(r"[\w.:/\\-]+", word) else f'"{word}"'


def _distribution():
    """Return this package's distribution: the full one or that without TensorFlow."""
    import importlib.metadata  # It takes a while, and only a missing library asks for it.

    for name in ("neid_tf", "neid_tf_runtime"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.distribution(name)
    return None


def _source_folder(installed):
    """Return the folder that pip installed from, or that of a checkout that was never installed."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    folder = Path(__file__).resolve().parents[2]
    if installed is not None:
        record = json.loads(installed.read_text("direct_url.json") or "{}")
        parts = urlsplit(record.get("url", ""))
        if parts.scheme != "file":
            return None
        folder = Path(url2pathname(parts.path))
    return folder if (folder / "setup.py").is_file() else None


def _extras_of(installed):
    return installed.metadata.get_all("Provides-Extra") or ()


def _packages_of(extra, installed):
    """Return the packages of an extra as pip takes them."""
    if installed is None or extra not in _extras_of(installed):
        alone = next((name for name, of in EXTRAS.items() if of == extra), extra)
        return _TOGETHER.get(extra) or PACKAGES.get(alone, alone.replace("_", "-"))
    requirements = (line.partition(";") for line in installed.requires or ())
    marked = [what.strip() for what, _, marker in requirements if _is_for(extra, marker)]
    return " ".join(map(_quoted, marked))


def _is_for(extra, marker):
    return marker.replace("'", '"').strip() == f'extra == "{extra}"'
