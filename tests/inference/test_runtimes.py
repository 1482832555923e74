"""Running exports: without TensorFlow and Keras, and with errors that name the file."""

import importlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver

import neid_tf
from neid_tf import export, models
from neid_tf.commands import main
from neid_tf.inference import methods, runtimes, tiles
from neid_tf.inference.enhance import enhance
from neid_tf.inference.network import KerasNetwork, NetworkError
from neid_tf.models import presets
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import MissingLibraryError, install_command
from tests.conftest import darkened, picture, write
from tests.export.test_export import EXACT, expected, lively


@pytest.fixture(scope="module")
def toned():
    return lively("neid_tone")


@pytest.fixture(scope="module")
def onnx_file(toned, tmp_path_factory):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    export.to_onnx(toned, path)
    return path


@pytest.fixture(scope="module")
def litert_file(toned, tmp_path_factory):
    pytest.importorskip("ai_edge_litert")
    path = tmp_path_factory.mktemp("litert") / "m.tflite"
    export.to_litert(toned, path, size=(24, 30))
    return path


ALONE = """
import sys
sys.modules.update(dict.fromkeys(("tensorflow", "keras")))
import numpy as np
import neid_tf
from neid_tf.inference import runtimes

model, given, made = sys.argv[1:]
np.save(made, neid_tf.enhance(np.load(given), runtimes.load(model)))
"""


@pytest.mark.parametrize("kind", ["onnx_file", "litert_file"])
def test_enhances_without_tensorflow(kind, toned, tmp_path, request):
    path, pixels = request.getfixturevalue(kind), darkened(picture(47, 60))
    np.save(tmp_path / "given.npy", pixels)
    paths = [path, tmp_path / "given.npy", tmp_path / "made.npy"]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, paths)], check=True)
    made = np.load(tmp_path / "made.npy").astype(int)
    np.testing.assert_allclose(made, enhance(pixels, toned), atol=1)


@pytest.mark.parametrize("size", [(24, 30), (61, 97), (200, 150)])
def test_onnx_on_one_core_gives_the_same_bits(onnx_file, size):
    pixels = darkened(picture(*size))[None] / np.float32(255)
    model = tiles.Tiled(runtimes.load(onnx_file, threads=3), tile=128)
    alone = model.on_one_core()
    assert (alone.tile, alone.side) == (model.tile, model.side) == (128, 96)
    made = model(pixels)
    np.testing.assert_array_equal(alone(pixels), made)
    assert alone.network.on_one_core() is alone.network


def continued():
    """Two pictures of 21×30, and what they are continued to where 24×30 are taken."""
    batch = np.stack([darkened(picture(21, 30, seed)) for seed in (1, 2)]) / np.float32(255)
    return batch, np.concatenate([batch, batch[:, :17:-1]], axis=1)


def test_litert_continues_a_smaller_picture_and_keeps_its_tone(toned, litert_file):
    runner = runtimes.load(litert_file, threads=1)
    batch, mirrored = continued()
    tone = models.as_part(toned, "tone")(batch)
    encoded = models.as_part(toned, "encoder")({"image": tf.constant(mirrored)} | tone)
    whole = np.clip(models.as_part(toned, "decoder")(encoded), 0.0, 1.0)
    np.testing.assert_allclose(runner(batch), whole[:, :42], atol=EXACT)
    assert np.abs(expected(toned, mirrored) - whole).max() > 0.1


def test_litert_files_that_are_given_no_thumbnail_continue_all(tmp_path):
    """As those from before are, and those of networks without a tone."""
    pytest.importorskip("ai_edge_litert")
    model = lively("neid", depth=1)
    export.to_litert(model, tmp_path / "m.tflite", size=(24, 30))
    runner = runtimes.load(tmp_path / "m.tflite")
    batch, mirrored = continued()
    np.testing.assert_allclose(runner(batch), expected(model, mirrored)[:, :42], atol=EXACT)


def test_litert_names_the_size_it_would_need(litert_file):
    runner = runtimes.load(litert_file)
    with pytest.raises(ValueError, match=r"24×30 .* not 25×30: .* --height=25 --width=30"):
        runner(np.zeros((1, 25, 30, 3), np.float32))


@pytest.mark.parametrize("kind", ["onnx_file", "litert_file"])
def test_batches_are_checked(kind, request):
    runner = runtimes.load(request.getfixturevalue(kind))
    assert runner.scale == 2
    for shape in [(24, 30, 3), (1, 24, 30, 4), (0, 24, 30, 3), (1, 0, 30, 3)]:
        with pytest.raises(ValueError, match="N, height, width, 3"):
            runner(np.zeros(shape, np.float32))
    doubles = np.full((1, 24, 30, 3), 0.1)
    np.testing.assert_array_equal(runner(doubles), runner(doubles.astype(np.float32)))


def onnx_model(path, *steps):
    """Write an ONNX model from ``steps[0]``'s input to ``enhanced``: (operator, inputs, fields)."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    names = [f"step{index}" for index in range(len(steps) - 1)] + ["enhanced"]
    nodes = [
        onnx.helper.make_node(operator, inputs, [name], **fields)
        for (operator, inputs, fields), name in zip(steps, names, strict=True)
    ]
    small, zero = (
        onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [1], [value])
        for name, value in (("small", 1e-20), ("zero", 0.0))
    )
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", "h", "w", 3])
        for name in (steps[0][1][0], "enhanced")
    ]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], [small, zero])
    opset = [onnx.helper.make_opsetid("", 15)]
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    return path


def test_onnx_runtime_keeps_no_number_of_this_machine(tmp_path):
    """Nor does it tell others how it is used; it does both where nobody forbids it."""
    pytest.importorskip("onnxruntime")
    dark, bright = write(tmp_path / "a.png", darkened(picture(20, 30))), tmp_path / "b.png"
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    kept |= {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    command = [sys.executable, "-m", "neid_tf.commands.main", "enhance", str(dark)]
    command += [f"--output={bright}", "--weights=neid_s", "--runtime=onnx"]
    subprocess.run(command, env=kept, check=True)
    assert list(home.rglob("*")) == []


def test_onnx_flushes_denormals(tmp_path):
    """They make convolutions many times slower. TensorFlow would flush them in this process."""
    steps = [("Mul", ["image", "small"], {}), ("Mul", ["step0", "small"], {})]
    path = onnx_model(tmp_path / "m.onnx", *steps)
    code = "import sys, numpy; from neid_tf.inference import runtimes as r; "
    code += "x = numpy.ones((1, 8, 8, 3), 'float32'); "
    code += "print(r.load(sys.argv[1])(x).max() == 0.0)"
    command = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(command, check=True, capture_output=True).stdout.strip() == b"True"


@pytest.mark.parametrize(
    "step", [("AveragePool", ["image"], {"kernel_shape": [2, 2]}), ("Identity", ["pixels"], {})]
)
def test_models_of_others_are_refused(step, tmp_path):
    path = onnx_model(tmp_path / "m.onnx", step)
    with pytest.raises(runtimes.ModelFileError, match=r"m\.onnx: cannot be run as onnx"):
        runtimes.load(path)


def told(proto):
    """Return the metadata of an ONNX file by their names."""
    return {entry.key: entry for entry in proto.metadata_props}


@pytest.mark.parametrize(
    ("name", "value"),
    [("step", "0"), ("step", "1000000"), ("step", "four"), ("step", ""), ("margin", "-4")],
)
def test_what_tiles_cannot_have_is_refused(name, value, onnx_file, tmp_path):
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(onnx_file)
    told(proto)[f"neid_tf_{name}"].value = value
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(runtimes.ModelFileError, match=r"m\.onnx: cannot be run as onnx"):
        runtimes.load(tmp_path / "m.onnx")


def renamed(graph, names):
    """Give values of an ONNX graph, and of the graphs in it, other names."""
    for value in (*graph.input, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            renamed(attribute.g, names)


def test_the_margin_of_tiles_is_told_by_an_onnx_file(onnx_file):
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(onnx_file)
    assert runtimes.Onnx(proto.SerializeToString()).margin == 20
    told(proto)["neid_tf_margin"].value = "10"
    network = runtimes.Onnx(proto.SerializeToString())
    assert (network.margin, tiles.Tiled(network).margin) == (10, 12)  # a multiple of the step
    proto.metadata_props.remove(told(proto)["neid_tf_margin"])
    assert runtimes.Onnx(proto.SerializeToString()).margin == 20


@pytest.mark.parametrize(("depth", "convolutions", "margin"), [(2, 1, 16), (2, 2, 20), (1, 2, 20)])
def test_the_margin_is_as_far_as_the_convolutions_see(depth, convolutions, margin):
    model = models.build("le", filters=4, depth=depth, convolutions=convolutions)
    assert KerasNetwork(models.inference_model(model)).margin == margin


def test_onnx_files_from_before_name_the_context_otherwise(onnx_file):
    onnx = pytest.importorskip("onnx")
    proto, new = onnx.load(onnx_file), runtimes.load(onnx_file)
    assert new.context == ("tone_parameters", "ff_squeeze")
    renamed(proto.graph, {f"given_{name}": f"told_{name}" for name in new.context})
    old = runtimes.Onnx(proto.SerializeToString())
    assert old.context == new.context
    batch = darkened(picture(20, 24))[None] / np.float32(255)
    context = {name: array[..., ::-1] for name, array in new.read_context(batch).items()}
    made = new.run_with_context(batch, context)
    np.testing.assert_array_equal(old.run_with_context(batch, context), made)
    assert np.abs(made - new(batch)).max() > 1e-3


def test_an_onnx_file_of_unsound_weights_makes_no_black_picture(tmp_path):
    steps = [("Div", ["image", "zero"], {}), ("Clip", ["step0"], {})]
    runner = runtimes.load(onnx_model(tmp_path / "m.onnx", *steps))
    with pytest.raises(NetworkError, match="not finite"):
        enhance(np.zeros((8, 9, 3), np.uint8), runner)


def test_unsound_weights_fail_a_picture_by_its_name(tmp_path, capsys):
    steps = [("Div", ["image", "zero"], {}), ("Clip", ["step0"], {})]
    model = onnx_model(tmp_path / "unsound.onnx", *steps)
    write(tmp_path / "dark.png", darkened(picture(9, 12)) // 255)
    arguments = ["neid", "enhance", str(tmp_path / "dark.png"), f"--weights={model}"]
    with flagsaver.flagsaver():
        code = main.main([*arguments, f"--output={tmp_path / 'bright.png'}"])
    assert code == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if "not finite" in line]
    assert "dark.png" in line
    assert not (tmp_path / "bright.png").exists()


def test_the_module_is_no_function():
    assert callable(neid_tf.enhance)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("neid_tf.enhance")


@pytest.mark.parametrize(
    ("name", "library"), [("m.onnx", "onnxruntime"), ("m.tflite", "ai_edge_litert")]
)
def test_damaged_and_missing_files_are_named(name, library, tmp_path):
    pytest.importorskip(library)
    path = tmp_path / name
    with pytest.raises(runtimes.ModelFileError, match=f"{name}: cannot be run"):
        runtimes.load(path)
    for content in (b"", b"not a model" * 50):
        path.write_bytes(content)
        with pytest.raises(runtimes.ModelFileError, match=f"{name}: cannot be run"):
            runtimes.load(path)


FITTING = {
    "neid_s": ("tensorflow", "onnx", "tensorrt"),
    "a.npz": ("tensorflow",),
    "a.onnx": ("onnx", "tensorrt"),
    "a.tflite": ("litert",),
    "saved": ("saved_model",),
    "renamed": ("onnx", "tensorrt", "litert"),
    **dict.fromkeys(("", "missing", "empty", "b.npz", "b.onnx", "b.tflite"), ()),
}
"""The runtimes of weights; an export may have any name where its runtime is said."""


@pytest.fixture
def weights_of_each_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("saved", "empty"):
        (tmp_path / folder).mkdir()
    for name in ("a.onnx", "a.tflite", "saved/saved_model.pb", "renamed"):
        (tmp_path / name).write_bytes(b"an export")
    (tmp_path / "a.npz").write_bytes((presets.FOLDER / "neid_s.npz").read_bytes())
    monkeypatch.setattr(methods.keras_start, "import_keras", lambda: pytest.fail("a long import"))


@pytest.mark.parametrize("runtime", ["auto", *methods.RUNTIMES])
@pytest.mark.parametrize("weights", FITTING)
@pytest.mark.usefixtures("weights_of_each_kind")
def test_what_is_refused_is_refused_before_it_is_loaded(weights, runtime):
    of_auto = FITTING[weights] if weights != "renamed" else ()
    if runtime in FITTING[weights] or (runtime == "auto" and of_auto):
        methods.check("neid", weights, runtime=runtime)
        return
    refusals = []
    for refuse in (
        lambda: methods.check("neid", weights, runtime=runtime),
        lambda: methods.load_network(weights, runtime),
    ):
        with pytest.raises(NeidError) as refused:
            refuse()
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]


def test_other_paths_and_runtimes_are_named(tmp_path):
    with pytest.raises(runtimes.ModelFileError, match="cannot be run as saved_model"):
        runtimes.load(tmp_path)
    (tmp_path / "m.onnx").write_bytes(b"")
    for name, runtime, reason in (
        ("", "onnx", "it is a folder$"),
        ("", "saved_model", "it is a folder without saved_model.pb$"),
        ("m.onnx", "saved_model", "it is no folder$"),
        ("m.onnx", "litert", "it is for onnx$"),
        ("none.onnx", "onnx", "there is no such file$"),
    ):
        with pytest.raises(runtimes.ModelFileError, match=reason):
            runtimes.check(tmp_path / name, runtime)
    with pytest.raises(runtimes.ModelFileError, match=r"m\.npz: not a folder"):
        runtimes.load(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="not 'openvino'"):
        runtimes.load(tmp_path, runtime="openvino")


@pytest.mark.parametrize(
    ("name", "library"),
    [("m.onnx", "onnxruntime"), ("m.tflite", "ai_edge_litert"), ("m", "tensorflow")],
)
def test_a_missing_runtime_is_named(name, library, tmp_path, monkeypatch):
    if name == "m":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(b"x")
    for module in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    remedy = re.escape(install_command(library))
    with pytest.raises(MissingLibraryError, match=rf"needs {library}.*: {remedy}$"):
        runtimes.load(tmp_path / name)
