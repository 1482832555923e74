"""Decoding and encoding without what the libraries print of files they find strange."""

import contextlib
import logging
import threading
import warnings


class Quiet:
    """Keeps the libraries' warnings off stderr while any thread is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._undo.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                for name in ("tifffile", "imagecodecs", "PIL"):
                    logger = logging.getLogger(name)
                    self._undo.callback(logger.setLevel, logger.level)
                    logger.setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._undo.close()


library_warnings_silenced = Quiet()
"""The one for all threads."""
