"""Tags of a video that are no UTF-8, as old recorders and broadcasts write them."""

from __future__ import annotations

import codecs
import typing
from collections.abc import Callable

if typing.TYPE_CHECKING:
    import av

NOTE = "its tags are no UTF-8 and taken for Windows-1252"
_ERRORS = "neid_tf.windows-1252"


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """Return text for bytes that are no UTF-8, as a handler of :mod:`codecs` does."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return wrong.decode("windows-1252", "replace"), error.end


codecs.register_error(_ERRORS, _as_windows_1252)


def opened(
    open_with: Callable[..., av.container.InputContainer],
) -> av.container.InputContainer:
    """Open a video; tags that are no UTF-8 do not keep it from being read.

    Args:
        open_with: :func:`av.open`, with all of its arguments but ``metadata_errors``.
    """
    found = None
    try:
        found = open_with()
        found.chapters()
        return found
    except UnicodeDecodeError:
        if found:
            found.close()
        return open_with(metadata_errors=_ERRORS)


def is_foreign(container: av.container.InputContainer) -> bool:
    """Tell whether an open video has tags that are no UTF-8."""
    return container.metadata_errors == _ERRORS
