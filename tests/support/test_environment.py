import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from neid_tf.support import environment as module
from neid_tf.support.environment import environment

FILE = Path(module.__file__)


def test_versions_and_graphics_cards(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda device: {"device_name": f"a {device}"}
    )
    described = environment()
    assert described["numpy"] == np.__version__
    assert described["tensorflow"] == tf.__version__
    assert described["onnxruntime"] == importlib.metadata.version("onnxruntime")
    assert described["gpus"] == ["a GPU"]


def described_from(site, **told):
    """Return the commit that a copy of the package in a folder tells."""
    target = site / "neid_tf" / "support"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("environment", "errors", "keras_start", "version"):
        shutil.copy(FILE.with_name(f"{name}.py"), target)
    for folder in (target, target.parent):
        (folder / "__init__.py").touch()
    script = "from neid_tf.support.environment import environment; print(environment()['commit'])"
    command = [sys.executable, "-c", script]
    run = subprocess.run(
        command,
        cwd=site,
        env={"PYTHONPATH": str(site)} | told,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_the_commit_is_the_packages_own(tmp_path):
    def git(*arguments):
        name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        command = ["git", "-C", str(tmp_path), *name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "another project")
    site = tmp_path / ".venv" / "lib"
    assert described_from(site) == "None"
    assert described_from(site, NEID_TF_COMMIT="a1b2") == "a1b2"
    git("add", "-f", ".")
    git("commit", "-q", "-m", "its own")
    commit = git("rev-parse", "--short=12", "HEAD")
    assert described_from(site, NEID_TF_COMMIT="a1b2").startswith(commit)
