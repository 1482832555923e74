"""A network with a grid of gains and a refinement: its parts, its files, in every runtime."""

import keras
import numpy as np
import pytest
from absl.testing import flagsaver

import neid_tf
from neid_tf import models, pictures
from neid_tf.commands import main
from neid_tf.inference import runtimes
from neid_tf.inference.network import KerasNetwork, NetworkError
from neid_tf.inference.tiles import Tiled
from neid_tf.models import pretrained
from tests.conftest import write


def dark(*shape, seed=0):
    noise = np.random.default_rng(seed).random((*shape, 3)) ** 3
    return (noise * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    """A small network whose tone and refinement do something."""
    keras.utils.set_random_seed(0)
    return telling(models.build("neid_grid", filters=4, refinement=4, tone_gray=0))


def telling(whole, *more):
    """Return a network as it is used, the heads and more of whose layers do something."""
    random = np.random.default_rng(0)
    for layer in whole.layers:
        if layer.name in ("tone_head", "tone_grid", "refine_head", "le_head", *more):
            layer.set_weights([random.normal(0.0, 0.1, w.shape) for w in layer.get_weights()])
    return models.inference_model(whole)


def apart(a, b):
    return int(np.abs(a.astype(int) - b).max())


def test_full_size_detail_comes_back_at_scale_1_alone(model):
    image = dark(34, 52)
    refined = neid_tf.enhance(image, model)
    plain = neid_tf.enhance(image, lambda batch: model.predict_on_batch(batch))
    assert refined.shape == image.shape
    assert apart(refined, plain) > 5
    assert neid_tf.enhance(image, model, scale=2).shape == (68, 104, 3)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (33, 50)])
def test_any_size_is_enhanced(model, shape):
    assert neid_tf.enhance(dark(*shape), model).shape == (*shape, 3)


def test_black_stays_black_in_the_toned_picture(model):
    tone = models.as_part(model, "encoder")
    black = np.zeros((1, 8, 8, 3), np.float32)
    context = KerasNetwork(model).read_context(black)
    given = {"image": black, "box": np.float32([[0, 0, 1, 1]])}
    toned = tone.predict_on_batch(given | {"tone_parameters": context["tone_parameters"]})["toned"]
    assert np.abs(toned).max() == 0.0


def test_a_tile_under_the_whole_context_is_that_of_the_whole(model):
    network, image = KerasNetwork(model), dark(160, 240)
    batch = np.float32(image[None, ::2, ::2]) / 255
    context = network.read_context(batch)
    whole = network.run_with_context(batch, context, None, image[None])
    box = np.float32([[0.0, 0.0, 1.0, 0.5]])
    tile = network.run_with_context(batch[:, :, :60], context, box, image[None, :, :120])
    # Farther than 32 pixels from the cut nothing is different.
    assert np.abs(tile[:, :, :56] - whole[:, :, :56]).max() < 1e-4


def test_tiles_are_near_the_picture_in_one_piece(model):
    image = dark(5, 8).repeat(40, axis=0).repeat(40, axis=1)
    whole, tiled = (neid_tf.enhance(image, n) for n in (model, Tiled(model, 48)))
    assert np.abs(whole.astype(int) - tiled).mean() < 2.0


def as_keras(model):
    return KerasNetwork(model)


def as_onnx(model):
    pytest.importorskip("onnxruntime")
    return runtimes.Onnx(pytest.importorskip("neid_tf.export.onnx").onnx_bytes(model))


@pytest.mark.parametrize("network", [as_keras, as_onnx])
def test_the_refinement_of_a_tile_sees_less_of_its_margin(model, network, monkeypatch):
    network, sizes, results = network(model), [], []
    run, image = network._run, dark(251, 190)
    monkeypatch.setattr(network, "on_one_core", lambda: network)
    monkeypatch.setattr(network, "_run", lambda *a: sizes.append(a[-1].shape) or run(*a))
    for margin in (network.refined_margin, None):
        network.refined_margin = margin
        results.append(neid_tf.enhance(image, Tiled(network, 32)))
    np.testing.assert_array_equal(*results)
    given, all_given = (np.prod(part, axis=1) for part in np.split(np.array(sizes), 2))
    assert given.sum() < 0.8 * all_given.sum()


@pytest.mark.parametrize("sides", [(18, 32), (34, 32)])
def test_a_picture_that_does_not_fit_is_refused(model, sides):
    batch, picture = np.zeros((1, 16, 16, 3), np.float32), np.zeros((1, *sides, 3), np.float32)
    with pytest.raises(NetworkError, match=rf"not what shape .*{sides[0]}, {sides[1]}.* halves to"):
        KerasNetwork(model)(batch, picture)


def test_a_picture_of_the_middle_gives_the_middle(model):
    batch, picture = np.zeros((1, 16, 16, 3), np.float32), np.zeros((1, 24, 28, 3), np.float32)
    assert KerasNetwork(model)(batch, picture).shape == picture.shape


def test_both_runtimes_make_the_same_of_a_picture_in_tiles_with_odd_sides(neid, tmp_path):
    pytest.importorskip("onnxruntime")
    write(tmp_path / "dark.png", dark(251, 389))
    for runtime in ("onnx", "tensorflow"):
        output = f"--output={tmp_path / runtime}.png"
        options = ["--weights=neid_s", "--tile=64", f"--runtime={runtime}"]
        code, _, err = neid("enhance", str(tmp_path / "dark.png"), output, *options)
        assert code == 0, err
    made = [pictures.read(tmp_path / f"{n}.png").pixels for n in ("onnx", "tensorflow")]
    assert made[0].shape == (251, 389, 3)
    assert apart(*made) <= 1


def test_a_file_of_keras_holds_the_refinement(model, tmp_path, monkeypatch):
    image, path = dark(34, 52), tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    assert loaded.part == "inference"
    np.testing.assert_array_equal(neid_tf.enhance(image, loaded), neid_tf.enhance(image, model))
    monkeypatch.setattr(models.NEID, "save_own_variables", lambda *_: None)
    model.save(tmp_path / "before.keras")
    with pytest.raises(ValueError, match="no weights of the refinement, as those of before"):
        keras.models.load_model(tmp_path / "before.keras")


def test_a_file_of_weights_holds_the_refinement(model, tmp_path):
    pretrained.save(model, tmp_path / "w.npz", {"note": 1}, dtype="float32")
    loaded = pretrained.load_pretrained(str(tmp_path / "w.npz"))
    assert loaded.part == "inference"
    assert apart(neid_tf.enhance(dark(20, 30), model), neid_tf.enhance(dark(20, 30), loaded)) == 0


def test_the_network_has_as_many_weights_as_written(model):
    learned = sum(int(np.prod(v.shape)) for v in models.as_part(model, "refined").weights)
    refine = (9 * (4 + 12) * 4 + 4) + (9 * 16 + 4) + (4 * 24 + 24)
    tone = sum(int(np.prod(v.shape)) for v in models.as_part(model, "tone").weights)
    streams = sum(int(np.prod(v.shape)) for v in model.weights) - tone
    assert learned == tone + streams + refine
    assert models.as_part(model, "refined").get_layer("refine_head").output.shape[-1] == 24


@pytest.mark.parametrize("fields", [{"tone_kind": "curve"}, {"tone": False}])
def test_a_refinement_needs_a_grid(fields):
    with pytest.raises(ValueError, match="refinement needs"):
        models.build("neid_grid", **({"detail_target": "low"} | fields))


def test_every_trained_weight_gets_a_gradient(model):
    tf = pytest.importorskip("tensorflow")
    training = models.as_part(models.build("neid_grid", filters=4, refinement=4), "training")
    random = np.random.default_rng(0)
    for layer in training.layers:
        if layer.name.endswith("_head") or layer.name == "tone_grid":
            layer.set_weights([random.normal(0.0, 0.1, w.shape) for w in layer.get_weights()])
    inputs = {
        "image": random.random((2, 16, 16, 3), np.float32),
        "picture": random.random((2, 32, 32, 3), np.float32),
        "thumbnail": random.random((2, 128, 128, 3), np.float32),
        "box": np.float32([[0, 0, 1, 1], [0.1, 0.2, 0.5, 0.4]]),
    }
    with tf.GradientTape() as tape:
        outputs = training(inputs, training=False)
        loss = sum(tf.reduce_mean(tf.square(outputs[n] - 0.5)) for n in ("refined", "dr", "tone"))
    variables = training.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path


def test_onnx_makes_the_same_picture_with_and_without_the_full_size_one(model):
    pytest.importorskip("tf2onnx")
    from neid_tf.export.onnx import onnx_bytes
    from neid_tf.inference.runtimes import Onnx

    network, image = Onnx(onnx_bytes(model)), dark(45, 66)
    assert network.refines
    for scale in (1, 2):
        ours, theirs = (neid_tf.enhance(image, n, scale=scale) for n in (model, network))
        assert apart(ours, theirs) <= 1
    large = dark(140, 220)
    assert apart(*(neid_tf.enhance(large, Tiled(n, 48)) for n in (model, network))) <= 1


def test_a_saved_model_refines(model, tmp_path):
    pytest.importorskip("tensorflow")
    from neid_tf import export
    from neid_tf.inference import runtimes

    export.to_saved_model(model, tmp_path / "saved")
    network, image = runtimes.load(tmp_path / "saved"), dark(21, 30)
    assert network.refines
    assert apart(neid_tf.enhance(image, model), neid_tf.enhance(image, network)) <= 1


@pytest.fixture(scope="module")
def litert_file(model, tmp_path_factory):
    pytest.importorskip("ai_edge_litert")
    from neid_tf import export

    path = tmp_path_factory.mktemp("litert") / "a.tflite"
    export.to_litert(model, path, (24, 30))
    return path


def test_a_litert_file_refines(model, litert_file):
    from neid_tf.inference import runtimes

    network, image = runtimes.load(litert_file), dark(47, 60)
    assert network.refines
    assert apart(neid_tf.enhance(image, model), neid_tf.enhance(image, network)) <= 1
    # At scale 2 the tone is read off the halved picture.
    for small in (image[:24, :30], image[:19, :30]):
        assert_near(model, neid_tf.enhance(small, network, scale=2), small, scale=2)


def test_a_litert_file_corrects_gray_pictures(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from neid_tf import export
    from neid_tf.inference import runtimes

    whole = models.build("neid_grid", filters=4, refinement=4, tone_gray=4)
    plain, image = telling(whole), np.repeat(dark(47, 60)[..., :1], 3, axis=-1)
    before = neid_tf.enhance(image, plain)
    corrected = telling(whole, "tone_gray2")
    export.to_litert(corrected, tmp_path / "a.tflite", (24, 30))
    made = neid_tf.enhance(image, runtimes.load(tmp_path / "a.tflite"))
    expected = neid_tf.enhance(image, corrected)
    assert apart(expected, before) > 10
    assert apart(made, expected) <= 1


def assert_near(model, made, image, scale=1):
    """Check a picture that was continued: no more than the borders at the cut are off."""
    expected = neid_tf.enhance(image, model, scale=scale)
    assert np.abs(made.astype(int) - expected).mean() < 1.0
    assert apart(made[:-16, :-16], expected[:-16, :-16]) <= 6


def test_a_smaller_picture_keeps_its_brightness_in_litert(model, litert_file, tmp_path):
    image = dark(31, 44)
    write(tmp_path / "dark.png", image)
    arguments = ["--runtime=litert", f"--weights={litert_file}", f"--output={tmp_path / 'out.png'}"]
    with flagsaver.flagsaver():
        assert main.main(["neid", "enhance", str(tmp_path / "dark.png"), *arguments]) == 0
    assert_near(model, pictures.read(tmp_path / "out.png").pixels, image)


def test_a_litert_file_of_8_bits_refines(model, litert_file):
    pytest.importorskip("ai_edge_quantizer")
    from ai_edge_litert.interpreter import Interpreter

    from neid_tf.export import litert
    from neid_tf.inference import runtimes

    low = [dark(48, 60), dark(70, 90, seed=1)]
    shown = [litert._at_size(pixels, (24, 30)) for pixels in low]
    content = litert._quantized(litert_file.read_bytes(), shown)
    made = neid_tf.enhance(low[0], runtimes.LiteRT(content))
    assert 0 < apart(made, neid_tf.enhance(low[0], model)) <= 8
    smaller = low[0][:31, :44]
    assert_near(model, neid_tf.enhance(smaller, runtimes.LiteRT(content)), smaller)
    # Programs that ask for no signature get the usual one.
    [given] = Interpreter(model_content=content).get_input_details()
    assert given["name"].startswith("serving_default_image")


@pytest.mark.parametrize("name", pretrained.names())
def test_black_stays_black_with_the_packaged_weights(name):
    packaged = pretrained.load_pretrained(name)
    assert neid_tf.enhance(np.zeros((48, 64, 3), np.uint8), packaged).max() <= 6
    lit = np.zeros((120, 160, 3), np.uint8)
    lit[40:80, 60:100] = 180
    assert neid_tf.enhance(lit, packaged)[:30].max() <= 12
