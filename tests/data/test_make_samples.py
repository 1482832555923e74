"""The program that makes the samples: they come out the same each time, and its usage."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from neid_tf import pictures

DATA = Path(__file__).parents[2] / "data"


def make(folder, *arguments):
    command = [sys.executable, DATA / "make_samples.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_samples_are_those_of_the_project(tmp_path):
    assert make(tmp_path, "made").returncode == 0
    made = sorted((tmp_path / "made").rglob("*.png"))
    assert [path.stem for path in made] == 2 * ["astronaut", "coffee", "rocket"]
    for path in made:
        stored = DATA / "samples" / path.relative_to(tmp_path / "made")
        np.testing.assert_array_equal(pictures.read(path).pixels, pictures.read(stored).pixels)


def test_usage_is_told_and_nothing_written(tmp_path):
    for arguments in (["--help"], ["a", "b"]):
        done = make(tmp_path, *arguments)
        assert (done.returncode, "make_samples.py [FOLDER]" in done.stderr) == (1, True)
    assert not list(tmp_path.iterdir())
