import json
import subprocess
import sys

import numpy as np
import pytest

import neid_tf
from neid_tf import models
from neid_tf.models import pretrained
from neid_tf.support import files
from tests.conftest import picture


def test_round_trip(small_model, weights_file):
    x = picture(20, 30)[None] / np.float32(255)
    loaded = neid_tf.load_pretrained(str(weights_file))
    assert loaded(x).shape == (1, 40, 60, 3)
    np.testing.assert_allclose(loaded(x), small_model(x)["le"], atol=5e-3)
    assert loaded.card == {"epochs_trained": 0}
    assert pretrained.card(str(weights_file)) == {"epochs_trained": 0}


def test_whole_models_are_cut_on_loading(small_model, tmp_path):
    pretrained.save(small_model, tmp_path / "whole.npz", dtype="float32")
    x = picture(12, 16)[None] / np.float32(255)
    loaded = neid_tf.load_pretrained(str(tmp_path / "whole.npz"))
    np.testing.assert_array_equal(loaded(x), small_model(x)["le"])


def damaged(path, kind):
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("weights")
    elif kind == "other arrays":
        np.savez(path, a=np.zeros(3))
    elif kind == "pickle":
        np.savez(path, header=np.array([{"a": 1}], dtype=object))
    elif kind == "future":
        np.savez(path, header=np.array(json.dumps({"format": 99})))
    elif kind == "fewer":
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name != "w3"}
        np.savez(path, **arrays)
    elif kind == "other shape":
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        np.savez(path, **(arrays | {"w0": np.zeros((1, 2))}))


@pytest.mark.parametrize(
    "kind", ["cut", "empty", "text", "other arrays", "pickle", "future", "fewer", "other shape"]
)
def test_damaged_files(weights_file, kind):
    damaged(weights_file, kind)
    with pytest.raises(pretrained.WeightsError, match=r"weights\.npz"):
        neid_tf.load_pretrained(str(weights_file))


def test_unknown_name():
    with pytest.raises(pretrained.WeightsError, match="nothing: neither"):
        neid_tf.load_pretrained("nothing")


def test_only_packaged_weights_have_an_onnx_file(weights_file):
    assert pretrained.onnx_file().is_file()
    with pytest.raises(pretrained.WeightsError, match=r"weights\.npz: not a name of the package"):
        pretrained.onnx_file(str(weights_file))


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_whole(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", pretrained.names())
def test_packaged_weights(name):
    model = neid_tf.load_pretrained(name)
    assert isinstance(model, models.NEID)
    dark = np.full((1, 50, 75, 3), 0.05, np.float32) * picture(50, 75)[None] / 255
    assert np.asarray(model(dark)).mean() > 5 * dark.mean()
    assert model.card["validation"]["psnr"] > 20
    assert model.card["command"].startswith("neid train")


def test_there_is_a_default():
    assert pretrained.DEFAULT in pretrained.names()


@pytest.mark.parametrize("order", ["import neid_tf, keras", "import keras, neid_tf"])
def test_a_saved_model_loads_once_the_package_was_imported(order, tmp_path):
    from neid_tf import models

    model = models.build("neid_tone", filters=2, depth=1)
    model.save(tmp_path / "model.keras")
    code = f"{order}\nmodel = keras.models.load_model({str(tmp_path / 'model.keras')!r})\n"
    code += "print(model.name, model.count_params())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["neid_tone", str(model.count_params())], done.stderr
