"""Programs that make the tables and figures again, and their recorded results."""

import sys

from absl import app, flags


def run(main):
    """Run a program's main with its flags parsed; a user's mistake is told in one line."""
    try:
        app.run(main)
    except (flags.Error, ValueError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error))
