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


def need_data(*names: str) -> None:
    """Refuse flags that say what is scored where nothing is, for want of ``--data``.

    Args:
        names: of the flags.

    Raises:
        NeidError: naming the first that was given.
    """
    given = [name for name in names if flags.FLAGS[name].present]
    if given and not common.DATA.value:
        raise NeidError(f"--{given[0]} has no effect without --data")


def run(main: Callable[[list[str]], None]) -> None:
    """Run a program's main with its flags parsed; a user's mistake is told in one line."""
    try:
        app.run(main)
    except (flags.Error, NeidError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{type(error).__name__}: {error}")
