"""Exports are loaded back by their own runtime, at sizes that they were not traced at."""

import functools
import shutil
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from neid_tf import export, models
from neid_tf.commands import main as commands
from neid_tf.data import augment
from neid_tf.export import onnx as onnx_files
from neid_tf.export import saved_model, signature
from neid_tf.inference import runtimes
from neid_tf.inference.enhance import enhance
from neid_tf.models import pretrained
from neid_tf.support import keras_start
from neid_tf.support.errors import NeidError
from tests.conftest import darkened, picture, write

SIZES = [(3, 13, 21), (1, 1, 1), (2, 32, 20), (1, 67, 50)]
EXACT = 1e-4
"""Far below a level of 8 bits: a wrong border or shift by a pixel is never that small."""


@functools.cache
def lively(name, **fields):
    """An inference model all of whose layers count: the head is not close to zero, nor the tone.

    Tests share it, and leave its weights as they were.
    """
    keras.utils.set_random_seed(5)
    fields = {"filters": 4, "depth": 2, "initializer": "he_normal"} | fields
    model = models.inference_model(models.build(name, **fields))
    if model.config.tone:
        tone = [layer for layer in model.layers if layer.name.startswith("tone_") and layer.weights]
        for kernel, factor in (
            (model.get_layer("le_head").convolution.kernel, 150.0),
            (tone[-1].kernel, 5.0),
        ):
            kernel.assign(kernel * factor)
    return model


def dark(*shape):
    return np.stack([darkened(picture(*shape[1:], seed)) for seed in range(shape[0])])


def expected(model, batch):
    return np.clip(np.asarray(model(batch, training=False)), 0.0, 1.0)


def assert_equal_at(sizes, model, runner):
    for size in sizes:
        batch = dark(*size) / np.float32(255)
        result, reference = runner(batch), expected(model, batch)
        assert result.dtype == np.float32
        assert result.shape == (size[0], size[1] * 2, size[2] * 2, 3)
        np.testing.assert_allclose(result, reference, atol=EXACT)


MODELS = [
    ("neid_tone", {"fusion": "all"}),
    ("le", {}),
    ("neid", {}),
]


@pytest.fixture(scope="module")
def toned():
    return lively("neid_tone")


def test_the_models_here_use_every_part(toned):
    """Otherwise an export that dropped a part would pass."""
    batch = dark(2, 32, 40) / np.float32(255)
    whole = expected(toned, batch)
    assert np.mean((whole > 0.0) & (whole < 1.0)) > 0.5
    for name in ("le_decoder1_conv2", "ff_weights", "tone_dense", "dr_features"):
        weights = toned.get_layer(name).get_weights()
        toned.get_layer(name).set_weights([weights[0] * 0.0, *weights[1:]])
        assert np.abs(expected(toned, batch) - whole).max() > 10.0 * EXACT, name
        toned.get_layer(name).set_weights(weights)


ALONE = """
import sys
sys.modules.update(dict.fromkeys(("neid_tf", "keras", "tf_keras")))
import numpy as np
import tensorflow as tf

folder, given, made = sys.argv[1:]
signatures = tf.saved_model.load(folder).signatures
results = {}
with np.load(given) as batches:
    for name, batch in batches.items():
        image = tf.constant(batch)
        serve = signatures["uint8" if batch.dtype == np.uint8 else "serving_default"]
        results[name] = serve(image=image)["enhanced"].numpy()
np.savez(made, **results)
"""


@pytest.fixture(scope="module")
def saved(toned, tmp_path_factory):
    """The SavedModel of the toned model, in a folder that was not there, and its comparison."""
    path = tmp_path_factory.mktemp("saved") / "out" / "model"
    return path, export.to_saved_model(toned, path)


def test_saved_model_runs_without_keras_and_this_package(toned, saved, tmp_path):
    path, comparison = saved
    assert comparison.difference < EXACT
    assert comparison.psnr > 80.0
    given = {f"u{index}": dark(*size) for index, size in enumerate(SIZES)}
    given |= {f"f{name}": batch / np.float32(255) for name, batch in given.items()}
    np.savez(tmp_path / "given.npz", **given)
    paths = [path, tmp_path / "given.npz", tmp_path / "made.npz"]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, paths)], check=True, cwd=tmp_path)
    with np.load(tmp_path / "made.npz") as made:
        for index in range(len(SIZES)):
            reference = expected(toned, given[f"fu{index}"])
            np.testing.assert_allclose(made[f"fu{index}"], reference, atol=EXACT)
            levels = made[f"u{index}"]
            assert levels.dtype == np.uint8
            np.testing.assert_allclose(levels, reference * 255.0, atol=0.51)
    assert [made.name for made in path.parent.iterdir()] == ["model"]


def test_saved_model_doubles_a_picture_as_the_model_does(toned, saved):
    # At scale 2 the tone is read off the halved picture, not off what is enhanced.
    picture, network = dark(1, 40, 60)[0], runtimes.load(saved[0])
    made, wanted = (enhance(picture, each, scale=2).astype(int) for each in (network, toned))
    assert np.abs(made - wanted).max() <= 1
    itself = network(picture[None] / np.float32(255))[0] * 255.0
    assert np.abs(itself - wanted).max() > 2.0


def served_files(path, contents):
    serve = tf.saved_model.load(str(path)).signatures["encoded"]
    made = serve(image_bytes=tf.constant(contents))["enhanced_bytes"].numpy()
    return [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB) for file in made]


def encoded(pixels, suffix=".png"):
    return cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes()


def test_a_full_disk_is_told_in_a_line(toned, tmp_path, monkeypatch):
    def full(*_):
        message = "{{function_node __wrapped__SaveV2}} /data/a; No space left on device [Op:SaveV2]"
        raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(NeidError, match=r"m: No space left on device \[Op:SaveV2\]$"):
        export.to_saved_model(toned, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_encoded_files_come_back_at_their_own_size(toned, saved):
    pictures = [dark(1, *size)[0] for size in [(31, 40), (20, 33), (1, 1), (24, 16)]]
    results = served_files(saved[0], [encoded(pixels) for pixels in pictures])
    for pixels, result in zip(pictures, results, strict=True):
        assert result.shape == pixels.shape
        np.testing.assert_allclose(result, enhance(pixels, toned).astype(int), atol=1)


@pytest.mark.parametrize("name", ["le", "neid_tone"])
def test_encoded_jpeg_and_gray_png(name, tmp_path):
    model, pixels = lively(name, depth=1), dark(1, 22, 31)[0]
    gray = pixels[..., :1]
    contents = [encoded(pixels, ".jpg"), cv2.imencode(".png", gray)[1].tobytes()]
    export.to_saved_model(model, tmp_path / "m")
    jpeg, png = served_files(tmp_path / "m", contents)
    decoded = tf.io.decode_jpeg(contents[0]).numpy()
    np.testing.assert_allclose(jpeg, enhance(decoded, model).astype(int), atol=1)
    reference = enhance(np.repeat(gray, 3, axis=-1), model)
    np.testing.assert_allclose(png, reference.astype(int), atol=1)
    assert (reference == reference[..., :1]).all() == (name == "neid_tone")


def test_encoded_files_of_the_same_size_model_are_not_halved(tmp_path):
    model, pixels = lively("unet"), dark(1, 15, 22)[0]
    export.to_saved_model(model, tmp_path / "m")
    (result,) = served_files(tmp_path / "m", [encoded(pixels)])
    np.testing.assert_allclose(result, enhance(pixels, model).astype(int), atol=1)
    assert runtimes.load(tmp_path / "m").scale == 1


@pytest.mark.parametrize(("name", "fields"), MODELS)
@pytest.mark.usefixtures("converted_once")
def test_onnx_at_any_size(name, fields, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    model = lively(name, **fields)
    assert export.to_onnx(model, tmp_path / "m.onnx").difference < EXACT
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    sides = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    }
    assert sides["image"] == ["batch", "height", "width", 3]
    assert sides["enhanced"] == ["batch", "enhanced_height", "enhanced_width", 3]
    defaults = {tensor.name for tensor in proto.graph.initializer}
    assert [value.name for value in proto.graph.input if value.name not in defaults] == ["image"]
    assert {operator.domain for operator in proto.opset_import} <= {"", "ai.onnx.ml"}
    assert_equal_at(SIZES, model, runtimes.load(tmp_path / "m.onnx"))


@pytest.mark.parametrize(("name", "fields"), MODELS)
def test_litert_of_built_in_operators(name, fields, tmp_path):
    pytest.importorskip("ai_edge_litert")
    model = lively(name, **fields)
    comparison = export.to_litert(model, tmp_path / "m.tflite", size=(37, 50))
    assert comparison.difference < EXACT
    runner = runtimes.load(tmp_path / "m.tflite")
    assert runner.size == (37, 50)
    assert_equal_at([(1, 37, 50), (2, 37, 50)], model, runner)


def test_litert_int8_keeps_the_tone_in_float(toned, tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    pytest.importorskip("ai_edge_quantizer")
    low = [dark(1, *size)[0] for size in [(96, 128), (50, 71), (96, 128)]]
    low[1] = low[1].astype(np.uint16) * 257
    size = (48, 64)
    comparison = export.to_litert(toned, tmp_path / "8.tflite", size, representative=low)
    assert comparison.psnr > 35.0
    assert comparison.difference > 1e-4, "this is not the float model"
    content = (tmp_path / "8.tflite").read_bytes()
    tensors = interpreter.Interpreter(model_content=content).get_tensor_details()
    integer = [tensor["name"] for tensor in tensors if tensor["dtype"] == np.int8]
    for layer in ("encoder1_conv1", "dr_features", "le_decoder1_conv2", "le_head"):
        assert any(f"/{layer}" in name for name in integer), layer
    assert not [name for name in integer if "/tone" in name or "/thumbnail" in name]


def test_int8_of_one_bright_picture_among_dark_ones(tmp_path):
    """The ranges hold the brightest picture; an average of ranges would cut it off."""
    pytest.importorskip("ai_edge_quantizer")
    model = lively("neid")
    bright = picture(96, 128, seed=9)
    low = [bright, *(dark(4, 96, 128) // 4)]
    export.to_litert(model, tmp_path / "8.tflite", (48, 64), representative=low)
    runner = runtimes.load(tmp_path / "8.tflite")
    batch = np.asarray(augment.halve(bright[None] / np.float32(255)))
    error = np.square(runner(batch) - expected(model, batch)).mean()
    assert -10.0 * np.log10(error) > 35.0


def exporters():
    yield export.to_saved_model, "model", ()
    yield export.to_onnx, "m.onnx", ("tf2onnx", "onnxruntime")
    yield export.to_litert, "m.tflite", ("ai_edge_litert",)


@pytest.mark.parametrize(("write_export", "name", "needs"), exporters())
def test_whole_or_not_at_all(write_export, name, needs, tmp_path, monkeypatch):
    for library in needs:
        pytest.importorskip(library)
    model, path = lively("le", depth=1), tmp_path / name
    write_export(model, path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert before
    other = lively("le", depth=1, filters=6)
    with pytest.raises(ValueError, match=f"{name}: is there already"):
        write_export(other, path)
    with monkeypatch.context() as patch:
        # A conversion that goes wrong: half as bright.
        right = signature.float_function

        def wrong(model, *shape):
            halved = keras.Sequential([model, keras.layers.Rescaling(0.5)])
            return right(halved, *shape)

        right_onnx = onnx_files._network_function

        def wrong_onnx(model):
            compute, shapes = right_onnx(model)
            return lambda given: {name: 0.5 * v for name, v in compute(given).items()}, shapes

        patch.setattr(onnx_files, "_network_function", wrong_onnx)
        patch.setattr(signature, "float_function", wrong)
        patch.setattr(signature, "signatures", lambda m: {"serving_default": wrong(m)})
        with pytest.raises(ValueError, match="off from the Keras model"):
            write_export(other, path, overwrite=True)
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert after == before
    write_export(other, path, overwrite=True)
    runner = runtimes.load(path)
    size = getattr(runner, "size", (9, 15))
    assert_equal_at([(1, *size)], other, runner)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_is_no_export_is_never_replaced(toned, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"x")
    for write_export in (export.to_saved_model, export.to_onnx, export.to_litert):
        with pytest.raises(ValueError, match="holiday: is there already, and no"):
            write_export(toned, tmp_path / "holiday", overwrite=True)
    export.to_saved_model(toned, tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    first = (tmp_path / "real" / "fingerprint.pb").stat().st_ino
    export.to_saved_model(toned, tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "fingerprint.pb").stat().st_ino != first
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "real" / "notes.txt").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"real: holds notes.txt, which is not of a SavedModel"):
        export.to_saved_model(toned, tmp_path / "real", overwrite=True)
    with pytest.raises(ValueError, match="no SavedModel"):
        export.to_saved_model(toned, tmp_path / "holiday" / "beach.jpg", overwrite=True)
    assert (tmp_path / "holiday" / "beach.jpg").read_bytes() == b"x"


def test_failed_move_puts_the_old_folder_back(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"old")
    with pytest.raises(FileNotFoundError), saved_model._new_folder(path):
        pass  # Nothing was written, so there is nothing to rename.
    assert (path / "saved_model.pb").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_other_models_are_refused(small_model, toned, tmp_path):
    with pytest.raises(ValueError, match="part 'inference' is exported, not 'whole'"):
        export.to_onnx(small_model, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="not None"):
        export.to_saved_model(lambda batch: batch, tmp_path / "m")
    with pytest.raises(ValueError, match="at least one representative"):
        export.to_litert(toned, tmp_path / "m.tflite", representative=[])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def neid(capsys):
    """The real program: its exit code, and what it printed to stdout and stderr."""
    import neid_tf.commands.export  # noqa: F401  defines its flags, before they are saved

    def run(*arguments):
        with flagsaver.flagsaver():
            code = commands.main(["neid", "export", *map(str, arguments)])
        return code, *capsys.readouterr()

    flags.FLAGS(["neid"])
    return run


@pytest.fixture
def weights_file(tmp_path):
    """Weights of a network that is soon converted: the command does the same with all."""
    path = tmp_path / "weights.npz"
    pretrained.save(lively("neid", depth=1), path)
    return path


def test_command_writes_a_saved_model(neid, weights_file, tmp_path):
    target = tmp_path / "m"
    arguments = ["--format=saved_model", f"--output={target}", f"--weights={weights_file}"]
    code, out, err = neid(*arguments)
    assert (code, err) == (0, "")
    assert str(target) in out
    assert "MB" in out
    model = pretrained.load_pretrained(weights_file)
    assert_equal_at([(1, 9, 14)], model, runtimes.load(target))
    code, _, err = neid(*arguments)
    assert code == 1
    assert f"{target / 'saved_model.pb'}: is there already" in err
    assert neid(*arguments, "--overwrite")[0] == 0
    mine = shutil.copy(weights_file, target / "mine.npz")
    for weights in (weights_file, mine):
        code, _, err = neid(*arguments[:2], f"--weights={weights}", "--overwrite")
        assert (code, f"{target}: holds mine.npz, which is not of a SavedModel" in err) == (1, True)
    assert mine.is_file()


def test_command_writes_int8(neid, weights_file, tmp_path):
    pytest.importorskip("ai_edge_quantizer")
    for seed in range(3):
        write(tmp_path / "low" / f"{seed}.png", darkened(picture(40, 56, seed)))
    target = tmp_path / "m.tflite"
    arguments = ["--format=litert", "--height=20", "--width=28", f"--output={target}"]
    code, out, _ = neid(
        *arguments,
        f"--weights={weights_file}",
        "--quantize=int8",
        f"--representative={tmp_path / 'low'}",
    )
    assert code == 0
    assert "PSNR" in out
    assert runtimes.load(target).size == (20, 28)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--output=m.onnx"], "--format is missing"),
        (["--format=onnx"], "--output is missing"),
        (["--format=coreml", "--output=m"], "coreml"),
        (["--format=onnx", "--output=m.tflite"], "ends in .onnx"),
        (["--format=litert", "--output=m"], "ends in .tflite"),
        (["--format=litert", "--output=m.tflite", "--height=0"], "height"),
        (["--format=onnx", "--output=m.onnx", "--width=300"], "--width is for"),
        (["--format=litert", "--output=m.tflite", "--quantize=int8"], "--representative"),
        (["--format=litert", "--output=m.tflite", "--representative=x"], "--quantize=int8"),
        (["--format=onnx", "--output=m.onnx", "picture.png"], "picture.png"),
    ],
)
def test_command_used_wrongly(neid, arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = neid(*arguments)
    assert (code, out) == (2, "")
    assert reason in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--format=onnx", "--output=mine.onnx"], "mine.onnx: is there already; --overwrite"),
        (["--format=onnx", "--output=mine.onnx/m.onnx"], "mine.onnx is no folder"),
        (["--format=litert", "--output=m.tflite", "--overwrite"], "m.tflite: is a folder, no file"),
        (["--format=saved_model", "--output=m.tflite"], "m.tflite: is there already, and no Saved"),
        (["--format=saved_model", "--output=mine.onnx"], "mine.onnx is no folder"),
        (["--format=saved_model", "--output=old"], "old/saved_model.pb: is there already"),
        (["--format=onnx", "--output=m.onnx", "--weights=neid_x"], "did you mean neid"),
        (
            ["--format=onnx", "--output=m.onnx", f"--weights={pretrained.rival_file('glad')}"],
            "glad is not exported",
        ),
        (
            ["--format=litert", "--output=8.tflite", "--quantize=int8", "--representative=low"],
            "low: no pictures there",
        ),
    ],
)
def test_command_names_what_fails_before_keras_starts(
    neid, arguments, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras_start, "import_keras", None)
    for name in ("mine.onnx", "old/saved_model.pb", "low/._a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "m.tflite").mkdir()
    code, out, err = neid(*arguments)
    assert (code, out, reason in err) == (1, "", True), err
    assert (tmp_path / "mine.onnx").read_bytes() == b"mine"
    assert {p.name for p in tmp_path.iterdir()} == {"mine.onnx", "old", "low", "m.tflite"}


def test_command_names_what_fails(neid, weights_file, tmp_path):
    target = tmp_path / "m.tflite"
    code, _, err = neid("--format=litert", f"--output={target}", "--weights=nothing.npz")
    assert code == 1
    assert "nothing.npz" in err
    (tmp_path / "low").mkdir()
    representative = ["--quantize=int8", f"--representative={tmp_path / 'low'}"]
    code, _, err = neid("--format=litert", f"--output={target}", *representative)
    assert code == 1
    assert "low: no pictures" in err
    (tmp_path / "low" / "1.png").write_text("not a picture")
    code, _, err = neid("--format=litert", f"--output={target}", *representative)
    assert code == 1
    assert "1.png" in err
    assert not target.exists()


def test_help_of_the_command(neid):
    code, out, _ = neid("--help")
    assert code == 0
    for word in ("--format", "--output", "--weights", "overwrite", "--height", "serving_default"):
        assert word in out
