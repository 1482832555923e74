"""Small generated pictures that all tests share."""

import contextlib
import importlib
import os
import socket

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# tf2onnx copies the graph before each step, to go on without one that fails. Here that is a fault.
os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")

import cv2
import numpy as np
import pytest

from neid_tf.commands import main as program
from neid_tf.support.machine import usable_cores

# Flags that are defined while a test has saved them are gone, for good, once it restores them.
for command in program.COMMANDS:
    importlib.import_module(f"neid_tf.commands.{command}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each worker neighbouring tests, which share what a module makes, until one runs out."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Run one test more beside each other than there are cores: some mostly wait."""
    return usable_cores() + 1 if config.option.numprocesses == "auto" else None


LONG = ("tests/test_distribution.py", "tests/models/test_backends.py")
"""Files whose single tests are the longest: at the end, other cores would rest meanwhile."""


def pytest_collection_modifyitems(items):
    """Put the longest first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def picture(height, width, seed=0):
    """Return a smooth, colourful uint8 picture: no two of its channels are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def darkened(bright):
    """Return a low-light version of a picture."""
    return np.rint(255.0 * (bright / 255.0) ** 2.0 * 0.2).astype(np.uint8)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), pixels[..., ::-1]):
        raise OSError(f"cannot write {path}")
    return path


def free_ports(count):
    """Return numbers of ports that nothing listens on."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@contextlib.contextmanager
def flags_restored():
    """Leave absl's flags as they were before any were parsed."""
    from absl import flags

    try:
        yield
    finally:
        flags.FLAGS.unparse_flags()
        for name in list(flags.FLAGS):
            flags.FLAGS[name].unparse()


@pytest.fixture
def neid(capfd):
    """Run ``neid`` in this process, with the flags as they were before: code, stdout, stderr."""

    def run(*arguments):
        capfd.readouterr()
        with flags_restored():
            code = program.main(["neid", *map(str, arguments)])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture
def pairs_folder(tmp_path):
    """A data set of six pairs of two sizes, numbered from 1."""
    return write_pairs(tmp_path / "set")


def write_pairs(folder):
    """Write a data set of six pairs of two sizes, numbered from 1, and return its folder."""
    for number in range(1, 7):
        bright = picture(48, 64 if number % 2 else 56, seed=number)
        write(folder / "high" / f"{number}.png", bright)
        write(folder / "low" / f"{number}.png", darkened(bright))
    return folder


@pytest.fixture(scope="session")
def small_model():
    """An untrained model with all parts: tone, both streams, fusing."""
    import keras

    from neid_tf import models

    keras.utils.set_random_seed(7)
    return models.build("neid_tone", filters=4, depth=2)


@pytest.fixture
def weights_file(small_model, tmp_path):
    from neid_tf import models
    from neid_tf.models import pretrained

    path = tmp_path / "weights.npz"
    pretrained.save(models.inference_model(small_model), path, {"epochs_trained": 0})
    return path
