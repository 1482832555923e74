"""What the programs that measure write: a report in JSON, with the command that it is of."""

import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from neid_tf.commands import common
from neid_tf.support import files


def command_line(module: str, name: str, leave_out: Collection[str] = ("output",)) -> str:
    """Return the command that a program was started with, quoted for a shell.

    Args:
        module: ``__name__`` of the program, whose flags are told.
        name: of its module, as it is called.
        leave_out: flags that are not told.
    """
    own = flags.FLAGS.get_key_flags_for_module(module)
    given = [f.serialize() for f in own if f.present and f.name not in leave_out]
    return " ".join([f"python -m {name}", *map(shlex.quote, given)])


def publish(report: dict[str, Any]) -> None:
    """Print the report of a program, and write it where ``--output`` says."""
    print(save(report), end="")


def save(report: dict[str, Any]) -> str:
    """Write a report where ``--output`` says, and return it as text."""
    if common.OUTPUT.value:
        files.write_json(common.OUTPUT.value, report, indent=2)
    return files.json_bytes(report, indent=2).decode()


def in_folder(records: Path) -> Iterator[tuple[str, dict]]:
    """Yield the name of each record in a folder, and its sets; other programs' files are none.

    Args:
        records: the folder.
    """
    for path in sorted(Path(records).glob("*.json")):
        try:
            told = json.loads(path.read_text("utf-8"))
        except ValueError:
            continue
        if isinstance(told, dict) and "sets" in told:
            yield path.stem, told["sets"]


def table(*rows: Sequence[object]) -> str:
    """Return rows, the first of which are the headings, as a table in Markdown."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def spread(values: dict[str, float], digits: int = 2) -> str:
    """Return a median and its range as text.

    Args:
        values: ``min``, ``median`` and ``max``.
        digits: after the point.
    """
    low, median, high = (f"{values[key]:.{digits}f}" for key in ("min", "median", "max"))
    return f"{median} ({low} to {high})"
