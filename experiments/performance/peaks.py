"""The peak memory of a whole process of ``neid enhance``."""

import subprocess
import sys
from pathlib import Path

# The peak of a child is what the system tells when it has ended.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)
"""


def peak(path: Path, weights: str, *further: str) -> int:
    """Return the bytes that ``neid enhance`` of a picture has at its peak, all in all.

    Args:
        path: of the picture.
        weights: name or path.
        *further: other flags of ``neid enhance``.
    """
    enhance = [sys.executable, "-m", "neid_tf.commands.main", "enhance", str(path)]
    options = [f"--output={path.parent / 'out'}", "--overwrite", f"--weights={weights}", *further]
    command = [sys.executable, "-c", _MEASURE, *enhance, *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)
