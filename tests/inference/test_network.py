"""The one interface of networks: what any model becomes, and what goes wrong named in one line."""

import types

import numpy as np
import pytest

from neid_tf import models
from neid_tf.inference.enhance import Enhancement, enhance
from neid_tf.inference.network import FunctionNetwork, KerasNetwork, NetworkError, as_network
from neid_tf.inference.tiles import Tiled
from neid_tf.pixels.samples import to_float
from neid_tf.support.errors import NeidError
from neid_tf.video.frames import Enhancer, Frame
from tests.conftest import darkened, picture


def double(batch):
    return np.asarray(batch).repeat(2, axis=1).repeat(2, axis=2)


def test_what_becomes_of_models(small_model):
    network = as_network(small_model)
    assert isinstance(network, KerasNetwork)
    assert (network.scale, network.step, network.tileable) == (2, 4, True)
    assert network.context == ("tone_parameters", "ff_squeeze")
    assert as_network(network) is network
    function = as_network(double)
    assert isinstance(function, FunctionNetwork)
    assert (function.scale, function.context, function.tileable) == (2, (), False)
    assert as_network(models.build("unet", filters=2, depth=1)).scale == 1


def test_a_function_of_scale_1():
    image = darkened(picture(7, 9))
    keeping = FunctionNetwork(lambda batch: batch, scale=1)
    np.testing.assert_array_equal(enhance(image, keeping), image)
    with pytest.raises(ValueError, match="scale 2"):
        enhance(image, keeping, scale=2)


def test_parts_are_views_on_the_same_weights(small_model):
    network = KerasNetwork(small_model)
    ours = {id(variable) for variable in small_model.variables}
    for model in (network.model, network._part("context"), network._part("tile")):
        assert {id(variable) for variable in model.weights} <= ours


def test_a_model_is_not_traced_anew_for_each_picture():
    model, image = models.build("neid", filters=2, depth=1), darkened(picture(20, 24))
    part = as_network(model)._part
    for scale in (1, 2, 1, 2):
        enhance(image, model, scale)
    for name in ("inference", "context", "tile"):
        assert part(name).predict_function.experimental_get_tracing_count() == 1, name


def test_networks_of_a_model_in_training_have_its_latest_weights():
    model = models.as_part(models.build("neid", filters=2, depth=1), "training")
    image = darkened(picture(20, 24))
    before = enhance(image, model)
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    assert np.abs(enhance(image, model).astype(int) - before).max() > 10


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


ResourceExhaustedError.__module__ = "tensorflow.python.framework.errors_impl"
FAILURES = {
    "memory": (MemoryError(), "not enough memory"),
    "runtime": (RuntimeError("CUDA fell over\nat line 3"), "CUDA fell over$"),
    "library": (ResourceExhaustedError("OOM when allocating"), "OOM when allocating"),
}


def failing(error):
    def fail(batch):
        raise error

    return fail


@pytest.mark.parametrize("kind", FAILURES)
def test_a_library_that_fails_is_told_in_one_line(kind):
    error, message = FAILURES[kind]
    image = darkened(picture(20, 24))
    for call in (
        lambda: enhance(image, failing(error)),
        lambda: enhance(image, Tiled(failing(error), tile=4)),
        lambda: Enhancer(failing(error))([Frame(image, 0, 1, 0.0)]),
    ):
        with pytest.raises(NetworkError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is error


def test_a_fault_of_a_function_stays_what_it_is():
    with pytest.raises(ZeroDivisionError):
        enhance(darkened(picture(20, 24)), lambda batch: 1 // 0)


WRONG = {
    "four times the size": lambda batch: double(double(batch)),
    "the same size": lambda batch: batch,
    "one channel": lambda batch: double(batch)[..., :1],
    "no batch": lambda batch: double(batch)[0],
    "nothing": lambda batch: None,
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("scale", [1, 2])
def test_another_shape_is_refused(kind, scale):
    image = darkened(picture(19, 24))
    for call in (
        lambda: enhance(image, WRONG[kind], scale),
        lambda: Enhancement(WRONG[kind], scale, 0.5)(image),
        lambda: enhance(image, Tiled(WRONG[kind], tile=4), scale),
        lambda: Enhancer(WRONG[kind], scale)([Frame(image, 0, 1, 0.0)]),
    ):
        with pytest.raises(NetworkError, match=r"gave an array of shape .*, not \(1, \d+, \d+, 3"):
            call()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_what_is_no_number_is_no_picture(value, strength):
    """One pixel in the last tile is enough."""

    def unsound(batch):
        output = double(batch)
        output[:, -1, -1, 1] = value
        return output

    image = darkened(picture(20, 24))
    for model in (unsound, Tiled(unsound, tile=4)):
        for scale in (1, 2):
            with pytest.raises(NetworkError, match="not finite"):
                Enhancement(model, scale, strength)(image)
    with pytest.raises(NetworkError, match="not finite"):
        Enhancer(unsound, strength=strength)([Frame(image, 0, 1, 0.0)])


@pytest.mark.parametrize(
    "strength", [-0.1, 8.1, 130.0, 1030.0, float("inf"), float("nan"), "1", None, True]
)
def test_strength_is_bounded(strength):
    for make in (Enhancement, Enhancer):
        message = f"strength must be a number from 0 to 8, not {strength!r}"
        with pytest.raises(NeidError, match=message):
            make(double, 1, strength)
    brightest = enhance(darkened(picture(9, 8)), double, strength=8.0)
    assert brightest.mean() > 200


@pytest.mark.parametrize("scale", [0, 3, 1.0, "1", None, True])
def test_scale_is_1_or_2(scale):
    for make in (Enhancement, Enhancer):
        with pytest.raises(NeidError, match=f"scale must be the integer 1 or 2, not {scale!r}"):
            make(double, scale)


@pytest.mark.parametrize("model", ["neid", None, 7])
def test_what_is_no_model(model):
    with pytest.raises(NeidError, match=rf"load_pretrained\(name\) returns.*, not {model!r}"):
        enhance(darkened(picture(9, 8)), model)


@pytest.mark.parametrize("name", ["unet", "le", "neid", "neid_tone"])
def test_values_beyond_white_are_white(name):
    """0 to 255 in place of 0 to 1, the commonest mistake, gives white and no overflow."""
    model = models.inference_model(models.build(name, filters=4, depth=1, initializer="he_normal"))
    levels = picture(16, 24)[None].astype(np.float32)
    levels[0, 0, 0] = -3.0
    np.testing.assert_array_equal(model(levels), model(np.clip(levels, 0.0, 1.0)))


def test_networks_are_given_box_and_full_size_picture():
    """What a tile covers of the whole, and the picture in full for a network that refines."""
    calls = []

    class Noting(FunctionNetwork):
        context, refines, tileable = ("tone",), True, True

        def _read(self, batch, known):
            return {"tone": np.zeros((len(batch), 2), np.float32)}

        def _run(self, batch, context, box, picture):
            calls.append(types.SimpleNamespace(batch=batch, box=box, picture=picture))
            return double(batch)

    image = darkened(picture(79, 146))
    Enhancement(Tiled(Noting(double), tile=16))(image)
    assert len(calls) == 4
    for call in calls:
        top, left, height, width = call.box[0] * [40, 73, 40, 73]
        assert call.batch.shape == (1, round(height), round(width), 3)
        assert call.picture.shape == (1, 2 * round(height), 2 * round(width), 3)
        expected = np.pad(image, [(0, 1), (0, 0), (0, 0)], mode="edge")
        expected = expected[2 * round(top) :, 2 * round(left) : 2 * round(left + width)]
        np.testing.assert_array_equal(call.picture[0], expected)
    calls.clear()
    tall = darkened(picture(375, 46))
    Enhancement(Tiled(Noting(double), tile=16))(tall)
    # Of a picture of odd sides, only the tiles at its end are copies.
    shared = [np.shares_memory(call.picture, tall) for call in calls]
    assert shared == [call.box[0, 0] + call.box[0, 2] < 1.0 for call in calls]
    assert True in shared
    calls.clear()
    Enhancement(Noting(double), scale=2)(image)
    assert calls[0].picture is None
    Enhancer(Noting(double))([Frame(image, 0, 1, 0.0)])
    np.testing.assert_array_equal(calls[-1].picture[0, :79], image)


def test_a_network_that_does_not_refine_needs_no_full_size_picture():
    model = models.build("le", filters=2, depth=1, initializer="he_normal")
    network, pixels = KerasNetwork(models.inference_model(model)), picture(16, 24)
    batch = to_float(darkened(pixels))[None, ::2, ::2]
    np.testing.assert_array_equal(network(batch, pixels[None]), network(batch))


def test_a_picture_is_as_bright_at_both_scales(small_model):
    """Noise looks like light to the network: at scale 2 its context is that of scale 1."""
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 25, (60, 80, 3))
    image = np.clip(darkened(picture(60, 80)) / 3 + noise, 0, 255).astype(np.uint8)
    read = []

    class Reading(KerasNetwork):
        def _run(self, batch, context, box, picture):
            if context:
                read.append({name: np.asarray(array) for name, array in context.items()})
            return super()._run(batch, context, box, picture)

    network = Reading(small_model)
    half = Enhancement(network).prepare(image)
    Enhancement(network, scale=2)(image)
    Enhancement(Tiled(network), scale=2, strength=0.5)(image)
    Enhancer(network, scale=2, smoothing=0)([Frame(image, 0, 1, 0.0)])
    assert len(read) == 3
    for context in read:
        for name, array in network.read_context(half).items():
            np.testing.assert_allclose(context[name], array, atol=1e-4)
