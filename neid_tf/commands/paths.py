"""Flags that are paths: ``~`` at their start is the user's home."""

import os

from absl import flags

# A flag that is defined here belongs to the module that asks for it.
flags.disclaim_key_flags()


def expanded(path: str) -> str:
    """Return a path with ``~`` at its start replaced by the user's home, as a shell does it."""
    return path if os.path.lexists(path) else os.path.expanduser(path)


class _PathParser(flags.ArgumentParser):
    """Takes a path; a shell replaces ``~`` in ``--flag ~/x``, but not in ``--flag=~/x``."""

    def __init__(self, kind: str) -> None:
        self.syntactic_help = kind

    def parse(self, argument: str) -> str:
        return expanded(argument)


def define_path(
    name: str, default: str | None, help: str, kind: str = "a path", **options: object
) -> flags.FlagHolder:
    """Define a flag whose value is a path, or may be one.

    Args:
        name: of the flag.
        default: its value where it is not given; None for none.
        help: what it is for.
        kind: what the help says that the value is.
        **options: of ``absl.flags.DEFINE``.
    """
    serializer = flags.ArgumentSerializer()
    return flags.DEFINE(_PathParser(kind), name, default, help, serializer=serializer, **options)
