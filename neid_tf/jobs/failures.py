"""The list of what could not be done, beside what was written."""

from __future__ import annotations

from collections.abc import Iterable

from neid_tf.jobs import storage
from neid_tf.support.files import json_bytes

NAME = "failures.jsonl"
"""The file in the output folder that tells what could not be done, if anything."""


def row(source: str, target: str | None, reason: str) -> dict:
    """Return an input's line.

    Args:
        source: the input.
        target: what it was to become, or None.
        reason: why it did not.
    """
    return {"input": source, "output": target, "reason": reason}


def record(rows: Iterable[dict], output: str) -> None:
    """Write the list into a folder; without any failures, remove an earlier one.

    Args:
        rows: from :func:`row`.
        output: path or address of the folder.
    """
    place, path = storage.storage_of(output), storage.inside(output, NAME)
    content = b"".join(map(json_bytes, rows))
    if content:
        place.write(path, content)
    else:
        place.remove(path)
