"""What a measurement or a training run was made with."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from neid_tf.support.version import __version__


def environment():
    """Describe the machine and the versions a run uses, and the commit of a checkout."""
    described = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    if "keras" in sys.modules:  # a run without it is not made to wait for it
        import keras

        described |= {"keras": keras.__version__, "backend": keras.backend.backend()}
    return described | {"neid_tf": __version__, "commit": _commit()}


def _commit():
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
