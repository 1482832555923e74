"""Decoding and encoding without what the libraries print of files they find strange."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import warnings

from neid_tf.pictures.marks import SAMPLE_TAGS

_LIBRARIES = ("tifffile", "imagecodecs", "PIL", "rasterio")
_WARNERS = r"(tifffile|imagecodecs|PIL|rasterio|pillow_\w+|rawpy|numpy|neid_tf\.pictures)(\.|$)"
# What is said of sound files: text that is not ASCII, a nodata value that is not of the samples'
# type, lengths that are left out, which are looked at by themselves.
_HARMLESS = (
    *("coercing invalid ASCII", "GDAL_NODATA", "estimating ByteCounts", "read_utf8"),
    *("missing data ByteCounts", "missing ByteCounts", "incorrect StripByteCounts count (1 != "),
)
_OF_TAG = re.compile(r"TiffTag (\d+) @")


class _Complaints(logging.Handler):
    """Keeps what the libraries say instead of printing it, for each thread its own."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.of_thread = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.name == "tifffile" and not _is_harmless(text):
            self.said().append(text)

    def said(self) -> list[str]:
        if not hasattr(self.of_thread, "texts"):
            self.of_thread.texts = []
        return self.of_thread.texts


def _is_harmless(text: str) -> bool:
    """Tell whether what is said of a file leaves its samples as they are."""
    tag = _OF_TAG.search(text)
    # Of a tag that can't be read a note tells.
    beside = tag is not None and int(tag[1]) not in SAMPLE_TAGS
    return beside or any(words in text for words in _HARMLESS)


class Quiet:
    """Keeps the libraries' warnings off stderr while any thread is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = contextlib.ExitStack()
        self._complaints = _Complaints()

    def __enter__(self) -> None:
        self._complaints.said().clear()
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._undo.enter_context(warnings.catch_warnings())
                # Theirs alone: other threads go on, and what is said to users must come through.
                warnings.filterwarnings("ignore", module=_WARNERS)
                for name in _LIBRARIES:
                    self._take_over(logging.getLogger(name))

    def _take_over(self, logger: logging.Logger) -> None:
        self._undo.callback(logger.setLevel, logger.level)
        self._undo.callback(setattr, logger, "propagate", logger.propagate)
        self._undo.callback(logger.removeHandler, self._complaints)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(self._complaints)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._undo.close()

    def complaints(self) -> list[str]:
        """Return what decoders have said in this thread since it went in: signs of damage."""
        return list(self._complaints.said())


library_warnings_silenced = Quiet()
"""The one for all threads."""
