"""Table 1's learned rivals through the commands."""

import json

import cv2
import keras
import numpy as np
import pytest

from neid_tf import models
from neid_tf.inference import network
from neid_tf.models import presets, pretrained
from tests.conftest import darkened, picture, write


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Write untrained weights of each rival, with two filters; return their paths."""
    keras.utils.set_random_seed(5)
    folder = tmp_path_factory.mktemp("weights")
    for name in models.RIVALS:
        model = models.inference_model(models.build(name, filters=2))
        pretrained.save(model, folder / f"{name}.npz", {"epochs_trained": 0})
    return {name: folder / f"{name}.npz" for name in models.RIVALS}


@pytest.fixture
def dark(tmp_path):
    return write(tmp_path / "dark.png", darkened(picture(30, 41)))


@pytest.mark.parametrize("method", models.RIVALS)
def test_enhance(neid, weights, dark, tmp_path, method):
    output = tmp_path / "out.png"
    options = [f"--method={method}", f"--weights={weights[method]}", f"--output={output}"]
    assert neid("enhance", dark, *options)[0] == 0
    made = cv2.imread(str(output))[..., ::-1]
    pixels = cv2.imread(str(dark))[..., ::-1]
    found = pretrained.load_pretrained(weights[method])(pixels[None] / np.float32(255))
    np.testing.assert_allclose(made, np.clip(found[0], 0, 1) * 255, atol=0.51)


def test_evaluate_and_compare(neid, weights, pairs_folder, tmp_path):
    report = tmp_path / "r.json"
    options = ["--method=glad", f"--weights={weights['glad']}", f"--output={report}"]
    assert neid("evaluate", f"--data={pairs_folder}", *options)[0] == 0
    found = json.loads(report.read_text())
    assert found["method"] == {"name": "glad", "weights": str(weights["glad"])}
    assert len(found["images"]) == 6
    shown = ",".join(["lime", *(f"{name}={path}" for name, path in weights.items())])
    low = pairs_folder / "low" / "1.png"
    assert neid("compare", low, f"--methods={shown}", f"--output={tmp_path / 'f.png'}")[0] == 0
    assert (tmp_path / "f.png").exists()


def refused(neid, *arguments):
    code, _, said = neid(*arguments)
    assert code
    return said


def test_what_is_refused(neid, weights, dark, tmp_path):
    output = f"--output={tmp_path / 'x.png'}"
    glad = [dark, output, f"--weights={weights['glad']}"]
    assert "weights of glad, --method is kind" in refused(neid, "enhance", *glad, "--method=kind")
    assert "weights of glad, --method is neid" in refused(neid, "enhance", *glad)
    for option in ("--scale=2", "--runtime=onnx"):
        said = refused(neid, "enhance", *glad, "--method=glad", option)
        assert option in said
        assert "glad" in said
    said = refused(neid, "enhance", dark, output, "--method=glad", "--weights=nowhere.npz")
    assert "nowhere.npz" in said
    said = refused(neid, "enhance", dark, output, "--method=glad", "--weights=neid_s")
    assert "--weights=neid_s needs --method=neid, not glad" in said
    onnx = [f"--weights={weights['glad']}", "--format=onnx", f"--output={tmp_path / 'x.onnx'}"]
    assert "glad is not exported" in refused(neid, "export", *onnx)
    assert not (tmp_path / "x.png").exists()


def test_weights_that_lack_a_phase_are_refused(neid, weights, dark, pairs_folder, tmp_path):
    path, output = tmp_path / "kind.npz", f"--output={tmp_path / 'x.png'}"
    model = pretrained.load_pretrained(weights["kind"])
    pretrained.save(model, path, {"settings": {"train": "decom"}})
    said = refused(neid, "enhance", dark, output, "--method=kind", f"--weights={path}")
    assert f"{path}: kind lacks what --train=restoration learns" in said
    options = [f"--data={pairs_folder}", f"--workdir={tmp_path / 'run'}", "--model=kind"]
    said = refused(neid, "train", *options, "--train=adjust", f"--init={path}", "--crop=32")
    assert f"--train=restoration comes before --train=adjust for {path}" in said
    pretrained.save(model, path, {"training": {"settings": {"train": "adjust"}}})
    assert neid("enhance", dark, output, "--method=kind", f"--weights={path}")[0] == 0


def test_large_pictures_are_refused_by_name(neid, weights, dark, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "MOST_WHOLE", 30 * 41 - 1)
    options = ["--method=glad", f"--weights={weights['glad']}"]
    said = refused(neid, "enhance", dark, f"--output={tmp_path / 'x.png'}", *options)
    assert "dark.png" in said
    assert "1,230 pixels: this method takes at most 1,229" in said


def test_weights_that_are_not_in_the_package(neid, dark, tmp_path):
    """KinD's are too large; the message says what makes them."""
    packaged = presets.FOLDER / "rivals" / "kind.npz"
    assert not packaged.is_file()
    said = refused(neid, "enhance", dark, f"--output={tmp_path / 'x.png'}", "--method=kind")
    assert said.count("\n") == 1
    for part in ("kind", "not in the package", "neid train", "docs/rivals.md", "--weights=FILE"):
        assert part in said


def test_train_and_its_flags(neid, pairs_folder, tmp_path):
    options = [f"--data={pairs_folder}", "--filters=2", "--crop=32", "--batch_size=3"]
    options += ["--epochs=1", "--validation=none"]
    first = tmp_path / "first"
    assert neid("train", *options, "--model=glad", f"--workdir={first}")[0] == 0
    assert "--model=glad" in pretrained.card(first / "last.npz")["command"]
    assert pretrained.architecture(first / "last.npz") == "glad"
    options += ["--model=retinexnet", f"--workdir={tmp_path / 'second'}"]
    code, _, said = neid("train", *options)
    assert code == 2
    assert "--train=decom, then --train=relight" in said
    code, _, said = neid("train", *options, "--train=decom", "--depth=3")
    assert code == 2
    assert "retinexnet has no field depth" in said
