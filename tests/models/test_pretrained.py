import dataclasses
import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import neid_tf
from neid_tf import models
from neid_tf.models import backbone, pretrained
from neid_tf.models.transfer import named_variables
from neid_tf.support import files
from tests.conftest import picture

BEFORE = Path(__file__).parent / "before"


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


def test_arrays_are_stored_by_name_and_the_frozen_features_once(small_model, weights_file):
    with np.load(weights_file) as file:
        names = set(file.files)
    assert {"encoder1_conv1/kernel", "le_head/convolution/bias", "tone_head/kernel"} < names
    assert not names & set(backbone.stored())
    loaded = neid_tf.load_pretrained(weights_file)
    for name, array in backbone.stored().items():
        np.testing.assert_array_equal(named_variables(loaded)[name], array)


def test_files_from_before_have_arrays_by_place(small_model, tmp_path):
    model = models.inference_model(small_model)
    header = {"format": 1, "name": model.name, "part": "inference", "card": {"a": 1}}
    header["config"] = dataclasses.asdict(model.config)
    arrays = {f"w{index}": array for index, array in enumerate(model.get_weights())}
    np.savez_compressed(tmp_path / "old.npz", header=np.array(json.dumps(header)), **arrays)
    loaded = neid_tf.load_pretrained(tmp_path / "old.npz")
    x = picture(12, 16)[None] / np.float32(255)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.card == {"a": 1}


def test_keras_files_from_before_load(tmp_path):
    """Two files of version 0.5.0: with both streams, and without the detail branch's decoder."""
    for part in ("whole", "inference"):
        model = keras.saving.load_model(BEFORE / f"neid_{part}.keras", safe_mode=True)
        assert model.part == part
        x = picture(24, 40)[None] / np.float32(255)
        made = model(x)["le"] if part == "whole" else model(x)
        # Its values go to 3, where float32 itself is off by more than 1e-6 on some processors.
        np.testing.assert_allclose(made, np.load(BEFORE / "made.npy"), rtol=1e-6, atol=1e-6)


def rewritten(path, change):
    """Write a weights file again with a change of its header, or of its arrays."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays.pop("header")))
    change(header, arrays)
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


def rezipped(path, method=zipfile.ZIP_STORED, encrypted=False):
    """Pack a weights file's members in another way."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    if encrypted:
        content = bytearray(path.read_bytes())
        for signature, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
            at = content.find(signature)
            while at >= 0:
                content[at + flags] |= 1
                at = content.find(signature, at + 4)
        path.write_bytes(content)


def claiming(path, shape):
    """Make a weights file whose first array claims a shape that it has no numbers for."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("encoder9_conv1/kernel.npy", stream.getvalue())


def broken(path):
    """Change bytes in the middle of the packed arrays."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("weights"),
    "other arrays": lambda path: np.savez(path, a=np.zeros(3)),
    "pickle": lambda path: np.savez(path, header=np.array([{"a": 1}], dtype=object)),
    "pickled array": lambda path: rewritten(
        path, lambda h, a: a.update({"encoder1_conv1/bias": np.array([{}], dtype=object)})
    ),
    "future": lambda path: rewritten(path, lambda h, a: h.update(format=99)),
    "fewer": lambda path: rewritten(path, lambda h, a: a.pop("encoder1_conv1/kernel")),
    "more": lambda path: rewritten(path, lambda h, a: a.update(further=np.zeros(3))),
    "other shape": lambda path: rewritten(
        path, lambda h, a: a.update({"encoder1_conv1/kernel": np.zeros((1, 2))})
    ),
    "integers": lambda path: rewritten(
        path, lambda h, a: a.update({"encoder1_conv1/bias": np.zeros(4, int)})
    ),
    "not a number": lambda path: rewritten(
        path, lambda h, a: a.update({"encoder1_conv1/bias": np.full(4, np.nan)})
    ),
    "flipped bytes": broken,
    "encrypted": lambda path: rezipped(path, encrypted=True),
    "lzma": lambda path: rezipped(path, zipfile.ZIP_LZMA),
    "bzip2": lambda path: rezipped(path, zipfile.ZIP_BZIP2),
    "list": lambda path: np.savez(path, header=np.array("[1, 2]")),
    "numbers as header": lambda path: np.savez(path, header=np.zeros(3)),
    "no card": lambda path: rewritten(path, lambda h, a: h.pop("card")),
    "no config": lambda path: rewritten(path, lambda h, a: h.pop("config")),
    "config of text": lambda path: rewritten(path, lambda h, a: h["config"].update(filters="4")),
    "unknown field": lambda path: rewritten(path, lambda h, a: h["config"].update(fun=4)),
    "unknown part": lambda path: rewritten(path, lambda h, a: h.update(part="half")),
    "ten million filters": lambda path: rewritten(
        path, lambda h, a: h["config"].update(filters=10**7)
    ),
    "wide": lambda path: rewritten(path, lambda h, a: h["config"].update(filters=1024)),
    "a wide refinement": lambda path: rewritten(
        path, lambda h, a: h["config"].update(tone=True, tone_kind="grid", refinement=10**6)
    ),
    "wide KinD": lambda path: rewritten(
        path, lambda h, a: h.update(part="whole", config={"architecture": "kind", "filters": 256})
    ),
    "deep": lambda path: rewritten(path, lambda h, a: h["config"].update(depth=12)),
    "huge shape": lambda path: claiming(path, (10**6, 10**6)),
    "overflowing shape": lambda path: claiming(path, (2**40, 2**40)),
    "bomb": lambda path: np.savez_compressed(
        path, **(dict(np.load(path)) | {"encoder1_conv1/kernel": np.zeros(2**25, np.float32)})
    ),
    "other features": lambda path: rewritten(path, lambda h, a: h.update(backbone="0" * 16)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files(weights_file, kind):
    DAMAGE[kind](weights_file)
    with pytest.raises(pretrained.WeightsError, match=r"^[^\n]*weights\.npz: [^\n]+$"):
        neid_tf.load_pretrained(str(weights_file))


def test_one_array_as_npy_is_no_weights_file(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "weights.npz")
    for read in (neid_tf.load_pretrained, pretrained.card):
        with pytest.raises(pretrained.WeightsError, match=r"weights\.npz: not a readable"):
            read(tmp_path / "weights.npz")


def test_an_export_is_told_from_weights(tmp_path):
    (tmp_path / "neid.onnx").write_bytes(b"ONNX")
    with pytest.raises(pretrained.WeightsError, match=r"neid\.onnx: .* it is no \.npz file"):
        pretrained.card(tmp_path / "neid.onnx")


def test_want_of_memory_is_told(weights_file, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", full)
    with pytest.raises(pretrained.WeightsError, match=r"\.npz: .*: not enough memory$"):
        neid_tf.load_pretrained(weights_file)


def test_a_large_claim_allocates_nothing(weights_file):
    DAMAGE["ten million filters"](weights_file)
    tracemalloc.start()
    try:
        with pytest.raises(pretrained.WeightsError, match="filters"):
            neid_tf.load_pretrained(weights_file)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e6])
def test_what_is_not_finite_is_not_written(small_model, tmp_path, value):
    model = models.NEID(part="inference", **dataclasses.asdict(small_model.config))
    layer = model.get_layer("le_decoder1_conv1")
    layer.bias.assign(np.full(layer.bias.shape, value))
    path = tmp_path / "weights.npz"
    path.write_bytes(b"before")
    with pytest.raises(pretrained.WeightsError, match=r"weights\.npz: not written: le_decoder1"):
        pretrained.save(model, path)
    assert path.read_bytes() == b"before"


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
    assert model.card["command"].startswith(("neid train", "python -m experiments."))


def test_there_is_a_default():
    assert pretrained.DEFAULT in pretrained.names()


@pytest.mark.parametrize(
    "order",
    [
        "import neid_tf, keras",
        "from neid_tf.models import layers, NEID; import keras",
        "import keras, neid_tf",
    ],
)
def test_a_saved_model_loads_once_the_package_was_imported(order, tmp_path):
    from neid_tf import models

    model = models.build("neid_tone", filters=2, depth=1)
    model.save(tmp_path / "model.keras")
    code = f"{order}\nmodel = keras.models.load_model({str(tmp_path / 'model.keras')!r})\n"
    code += "print(model.name, model.count_params())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["neid_tone", str(model.count_params())], done.stderr
