"""The log: a line of JSON for each thing that happens, on stderr."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import sys
from typing import Any


def log(event: str, level: str = "info", **facts: Any) -> None:
    """Write a line.

    Args:
        event: what happened.
        level: ``info``, ``warning`` or ``error``.
        **facts: what else is told; what is None is left out.
    """
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    fields = {name: value for name, value in facts.items() if value is not None}
    line = json.dumps({"time": now, "level": level, "event": event} | fields, default=str)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # Nobody reads it.
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class Handler(logging.Handler):
    """Writes what libraries log, in the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        name, level = record.name.partition(".")[0], record.levelname.lower()
        log(name, level, message=record.getMessage().strip(), traceback=trace)


def take_over() -> None:
    """Let all libraries that log write our lines, of warnings and worse."""
    logging.basicConfig(handlers=[Handler()], level=logging.WARNING, force=True)
