"""An install without TensorFlow and Keras, played by a process in which they can't be imported."""

import json
import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neid_tf
from neid_tf import enhance, pictures
from neid_tf.support import libraries
from neid_tf.support.libraries import (
    MissingLibraryError,
    install_command,
    install_extra,
    optional_import,
)
from tests.conftest import darkened, picture, write

WITHOUT = """
import importlib.util
import sys

MISSING = {"tensorflow", "keras", "tensorboard"}
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refusing())
find_spec = importlib.util.find_spec
def found(name, package=None):
    return None if name.partition(".")[0] in MISSING else find_spec(name, package)

importlib.util.find_spec = found
"""
WITHOUT_SCORES = "MISSING |= {'cv2', 'imageio', 'matplotlib', 'networkx', 'scipy', 'skimage'}\n"
"""Neither is there what the extra ``evaluate`` brings, nor what that takes."""
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
    # Nor is loaded what other files take, or a progress bar, which would cost time at the start.
    code = WITHOUT_SCORES + "MISSING |= {'av', 'ssl', 'tifffile', 'tqdm'}\n" + PROGRAM
    result = without_tensorflow("enhance", source, f"--output={tmp_path / 'out'}", code=code)
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
    expected = "neid: enhance: the network in TensorFlow needs keras: "
    expected += install_command("keras")
    assert (result.returncode, result.stderr.splitlines()) == (1, [expected])
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["train", "--validation=none", "--crop=32", "--workdir=w"], "neid train needs keras"),
        (["export", "--format=onnx", "--output=m.onnx"], "neid export needs keras"),
        (
            ["benchmark", "--sections=unet,growth"],
            "neid benchmark --sections=unet,training needs keras",
        ),
    ],
)
def test_other_commands_name_what_is_missing(arguments, missing, pairs_folder):
    if arguments[0] == "train":
        arguments = [*arguments, f"--data={pairs_folder}"]
    result = without_tensorflow(*arguments, cwd=pairs_folder)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"{missing}: {install_command(missing.split()[-1])}" in result.stderr
    assert sorted(path.name for path in pairs_folder.iterdir()) == ["high", "low"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["enhance", "low", "--output=out", "--method=lime"], "enhance: --method=lime"),
        (["evaluate", "--data=.", "--output=r.json"], "neid evaluate"),
        (["compare", "low/1.png", "--output=f.png"], "neid compare"),
    ],
)
def test_scores_figures_and_classical_methods_name_their_extra(arguments, what, pairs_folder):
    result = without_tensorflow(*arguments, code=WITHOUT_SCORES + PROGRAM, cwd=pairs_folder)
    expected = f"neid: {what} needs cv2: {install_extra('evaluate')}"
    assert (result.returncode, result.stderr.splitlines()) == (1, [expected])
    assert sorted(path.name for path in pairs_folder.iterdir()) == ["high", "low"]


@pytest.mark.parametrize("method", ["neid", "bimef", "msr"])
def test_scores_need_no_tensorflow(method, pairs_folder):
    pytest.importorskip("onnxruntime")
    options = [f"--data={pairs_folder}", f"--method={method}", "--output=r.json"]
    result = without_tensorflow("evaluate", *options, cwd=pairs_folder)
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads((pairs_folder / "r.json").read_text())
    assert len(report["images"]) == 6
    assert report["mean"]["psnr"] > report["controls"]["input"]["psnr"]


def test_pictures_without_references_are_scored_without_tensorflow(tmp_path):
    for number in range(2):
        write(tmp_path / "set" / f"{number}.png", picture(200, 210, seed=number))
    result = without_tensorflow(
        "evaluate", "--data=set", "--method=mf", "--output=r.json", cwd=tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads((tmp_path / "r.json").read_text())["mean"]["niqe"] > 0


def test_speed_is_measured_without_tensorflow(tmp_path):
    pytest.importorskip("onnxruntime")
    options = ["--sections=runtimes,cold_start", "--runs=1", "--weights=neid_s", "--output=b.json"]
    sizes = ["--output_height=32", "--output_width=48"]
    code = WITHOUT_SCORES + PROGRAM
    result = without_tensorflow("benchmark", *options, *sizes, cwd=tmp_path, code=code)
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["runtimes"]["reference"] == report["cold_start"]["reference"] == "onnx"
    assert set(report["cold_start"]["seconds"]) == {"onnx", "--help"}
    assert "to onnx" in result.stdout


def test_the_page_needs_no_tensorflow():
    pytest.importorskip("gradio")
    pytest.importorskip("onnxruntime")
    code = "from neid_tf.commands import demo\nprint(demo._network('neid_s').context)"
    result = without_tensorflow(code=code)
    assert (result.returncode, "tone" in result.stdout) == (0, True), result.stderr


def test_figures_need_no_tensorflow(source, tmp_path):
    pytest.importorskip("onnxruntime")
    options = ["--methods=neid,lime,npe", f"--output={tmp_path / 'figure.png'}"]
    result = without_tensorflow("compare", source, *options)
    assert (result.returncode, result.stderr) == (0, "")
    assert pictures.read(tmp_path / "figure.png").pixels.shape[1] > 60


def test_python_says_it_too():
    code = "import neid_tf\ntry: neid_tf.load_pretrained()\nexcept ValueError as e: print(e)"
    result = without_tensorflow(code=code)
    assert result.stdout == f"a Keras model needs keras: {install_command('keras')}\n"


def test_other_libraries_are_named_as_pip_names_them():
    for name, package in (
        ("nothing_", "nothing_"),
        ("PIL", "pillow"),
    ):
        message = f"^x needs {name}: .*pip install {package}$"
        with pytest.raises(MissingLibraryError, match=message), optional_import("x"):
            raise ModuleNotFoundError(name=name)


def test_the_extra_evaluate_brings_what_the_small_install_leaves_out(monkeypatch):
    pytest.importorskip("setuptools")
    root, given = Path(__file__).parents[2], {}
    if not (root / "runtime").exists():
        pytest.skip("tests beside an installed package")
    monkeypatch.setattr("setuptools.setup", given.update)
    runpy.run_path(str(root / "runtime/setup.py"))
    small, extra = given["install_requires"], given["extras_require"]["evaluate"]
    left_out = ["keras", "tensorboard", "tensorflow"]
    lines = (root / "requirements.txt").read_text().splitlines()
    of_both = {line for line in lines if line[0] != "#" and line.partition(">=")[0] not in left_out}
    assert {*small, *extra} == of_both
    assert {line.partition(">=")[0] for line in extra} == {
        *("opencv-python-headless", "scikit-image", "scipy")
    }
    assert not {*small} & {*extra}


METADATA = """Metadata-Version: 2.4
Name: {name}
Version: 1.0
Provides-Extra: demo
Requires-Dist: numpy>=1
Requires-Dist: gradio>=6; extra == "demo"
"""


def installed(folder, monkeypatch, name="neid_tf", url=None):
    """Make a folder look like an environment with one of our distributions."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(METADATA.format(name=name))
    if url:
        (information / "direct_url.json").write_text(json.dumps({"url": url}))
    monkeypatch.setattr(sys, "path", [str(folder)])


def install_in(command):
    """Return what a command hands to pip install."""
    before, _, what = command.partition(" install ")
    assert shlex.split(before)[-1] == "pip"
    return shlex.split(what)


@pytest.mark.parametrize("name", ["neid_tf", "neid_tf_runtime"])
def test_the_hint_names_the_folder_that_was_installed_from(name, tmp_path, monkeypatch):
    folder = tmp_path / "my checkout"
    folder.mkdir()
    (folder / "setup.py").write_text("")
    installed(tmp_path, monkeypatch, name, folder.as_uri())
    assert install_in(install_extra("demo")) == [f"{folder}[demo]"]
    # No extra of that distribution: the packages, not a name that pip would warn of.
    assert install_in(install_command("tf2onnx"))[:2] == ["tensorflow", "keras"]
    (folder / "setup.py").unlink()
    assert install_in(install_extra("demo")) == ["gradio>=6"]


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("C:\\Users\\a\\python.exe", "C:\\Users\\a\\python.exe"),
        ("C:\\my checkout[demo]", '"C:\\my checkout[demo]"'),
        ("gradio>=6", '"gradio>=6"'),
    ],
)
def test_the_hint_is_quoted_for_the_shells_of_windows(word, quoted, monkeypatch):
    monkeypatch.setattr(libraries, "WINDOWS", True)
    assert libraries._quoted(word) == quoted


@pytest.mark.parametrize("url", [None, "https://example.org/neid_tf-1.0-py3-none-any.whl"])
def test_the_hint_names_packages_where_no_folder_is_known(url, tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch, "neid_tf_runtime", url)
    assert install_in(install_command("gradio")) == ["gradio>=6"]
    assert install_in(install_command("ai_edge_litert.interpreter")) == ["ai-edge-litert"]


def test_the_hint_of_a_checkout_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    checkout = Path(neid_tf.__file__).resolve().parents[1]
    expected = [f"{checkout}[video]"] if (checkout / "setup.py").exists() else ["av"]
    assert install_in(install_command("av")) == expected


@pytest.mark.parametrize(
    ("command", "extra"), [("demo", "demo"), ("export", "export"), ("serve", "serve")]
)
def test_help_prints_the_same_hint(command, extra, capsys):
    from neid_tf.commands import main

    assert main.main(["neid", command, "--help"]) == 0
    assert install_extra(extra) in capsys.readouterr().out
