"""What this machine lends to a process, and whether it is a Windows."""

import os

WINDOWS = os.name == "nt"
"""Whether file names, pipes and shells are those of Windows."""


def usable_cores() -> int:
    """Return how many CPU cores this process may use; of the machine where that is not told."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone has it.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
