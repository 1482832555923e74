"""The container file, as far as it can be looked at without building one."""

import json
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Containerfile"


def steps(word):
    """Return what follows each line of the file that begins with a word."""
    lines = FILE.read_text("utf-8").splitlines()
    return [line.removeprefix(word).strip() for line in lines if line.startswith(f"{word} ")]


def test_what_is_copied_is_there_and_is_all_that_the_install_needs():
    copied = [path for step in steps("COPY") for path in shlex.split(step)[:-1]]
    if not (ROOT / "neid_tf").exists():
        pytest.skip("tests beside an installed package")
    for path in copied:
        assert (ROOT / path).exists(), path
    needed = {"setup_common.py", "requirements.txt", "README.md", "runtime", "neid_tf"}
    assert needed <= set(copied)


def test_the_extras_that_it_installs_are_there():
    import runpy

    extras = runpy.run_path(str(ROOT / "setup_common.py"))["EXTRAS"]
    [install] = [step for step in steps("RUN") if "pip install" in step]
    wanted = install.rpartition("[")[2].rstrip('"]').split(",")
    assert {"onnx", "serve"} <= set(wanted) <= set(extras)


def test_it_asks_for_keys_where_others_reach_it(neid):
    [entry], [command] = steps("ENTRYPOINT"), steps("CMD")
    program, *arguments = json.loads(entry) + json.loads(command)
    assert program.endswith("/bin/neid")
    code, _, err = neid(*arguments)
    assert (code, "give keys" in err) == (2, True)
