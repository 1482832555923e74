"""An install without TensorFlow and Keras, played by a process in which they can't be imported."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neid_tf
from neid_tf import enhance, pictures
from neid_tf.support.libraries import MissingLibraryError, optional_import
from tests.conftest import darkened, picture, write

WITHOUT = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tensorboard", "skimage"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refusing())
"""
PROGRAM = """
from neid_tf.commands import main
sys.exit(main.main(["neid", *sys.argv[1:]]))
"""


def without_tensorflow(*arguments, code=PROGRAM, cwd=None):
    command = [sys.executable, "-c", WITHOUT + code, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(neid_tf.__file__).parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "dark.png", darkened(picture(47, 60)))


def test_the_packages_weights_need_no_tensorflow(source, tmp_path):
    pytest.importorskip("onnxruntime")
    result = without_tensorflow("enhance", source, f"--output={tmp_path / 'out'}")
    assert (result.returncode, result.stderr) == (0, "")
    made = pictures.read(tmp_path / "out" / "dark.png").pixels
    reference = enhance(pictures.read(source).pixels, neid_tf.load_pretrained())
    np.testing.assert_allclose(made.astype(int), reference, atol=1)


def test_large_pictures_and_scale_2_need_no_tensorflow(source, tmp_path):
    pytest.importorskip("onnxruntime")
    write(source, darkened(picture(300, 420)))
    for options in (["--tile=128"], ["--scale=2", "--strength=0.5"]):
        result = without_tensorflow(
            "enhance", source, f"--output={tmp_path / 'out'}", "--overwrite", *options
        )
        assert (result.returncode, result.stderr) == (0, "")
    assert pictures.read(tmp_path / "out" / "dark.png").pixels.shape == (600, 840, 3)


PACKAGED = Path(neid_tf.__file__).parent / "models" / "weights" / "neid.npz"


@pytest.mark.parametrize("options", [["--runtime=tensorflow"], [f"--weights={PACKAGED}"]])
def test_enhancing_with_tensorflow_names_what_is_missing(options, source, tmp_path):
    result = without_tensorflow("enhance", source, f"--output={tmp_path / 'out'}", *options)
    expected = "neid: enhance: the network in TensorFlow needs keras: pip install tensorflow keras"
    assert (result.returncode, result.stderr.splitlines()) == (1, [expected])
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["evaluate", "--method=bimef", "--output=r.json"], "neid evaluate needs skimage"),
        (["train", "--validation=none", "--crop=32", "--workdir=w"], "neid train needs keras"),
        (["export", "--format=onnx", "--output=m.onnx"], "neid export needs keras"),
        (["benchmark"], "neid benchmark needs keras"),
    ],
)
def test_other_commands_name_what_is_missing(arguments, missing, pairs_folder):
    if arguments[0] in ("evaluate", "train"):
        arguments = [*arguments, f"--data={pairs_folder}"]
    result = without_tensorflow(*arguments, cwd=pairs_folder)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"{missing}: pip install " in result.stderr
    assert sorted(path.name for path in pairs_folder.iterdir()) == ["high", "low"]


def test_python_says_it_too():
    code = "import neid_tf\ntry: neid_tf.load_pretrained()\nexcept ValueError as e: print(e)"
    result = without_tensorflow(code=code)
    assert result.stdout == "a Keras model needs keras: pip install tensorflow keras\n"


def test_other_libraries_are_named_as_pip_names_them():
    for name, package in (
        ("nothing_", "nothing_"),
        ("cv2", "opencv-python-headless"),
        ("onnx.helper", r"'neid_tf\[export\]'"),
    ):
        message = f"^x needs {name}: pip install {package}$"
        with pytest.raises(MissingLibraryError, match=message), optional_import("x"):
            raise ModuleNotFoundError(name=name)
