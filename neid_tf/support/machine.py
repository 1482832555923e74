"""What this machine lends to a process, and whether it is a Windows."""

import contextlib
import math
import os
from pathlib import Path

WINDOWS = os.name == "nt"
"""Whether file names, pipes and shells are those of Windows."""


QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux tells a container which share of the machine's time it has."""


def usable_cores() -> int:
    """Return how many CPU cores this process may use; of the machine where that is not told."""
    # Linux alone has it.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(OSError, ValueError):  # There is none, or it is "max".
        quota, period = QUOTA.read_text("ascii").split()
        cores = min(cores or 1, max(1, math.ceil(int(quota) / int(period))))
    return cores or 1
