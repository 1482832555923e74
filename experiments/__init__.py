"""Programs that make the tables and figures again, and their recorded results."""

import sys
from collections.abc import Callable

from absl import app, flags

from neid_tf.commands import common
from neid_tf.support.errors import NeidError

HELD_OUT = common.define_path(
    "held_out", "lol", "LoL's pictures that are held out: lol (by scene), none or a list's file.",
    kind="a name or a path",
)  # fmt: skip


def run(main: Callable[[list[str]], None]) -> None:
    """Run a program's main with its flags parsed; a user's mistake is told in one line."""
    try:
        app.run(main)
    except (flags.Error, NeidError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{type(error).__name__}: {error}")
