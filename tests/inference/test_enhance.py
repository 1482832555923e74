import tracemalloc

import cv2
import numpy as np
import pytest

import neid_tf
from neid_tf import models
from neid_tf.data import augment
from neid_tf.inference import methods, tiles
from neid_tf.inference.enhance import Enhancement, adjust, enhance, finished
from neid_tf.inference.network import Network
from tests.conftest import darkened, picture

ALL_THAT_REACHES = 36
"""Pixels of the input around a tile from beyond which nothing comes; a multiple of the step."""


def double(batch):
    """A model that repeats each pixel."""
    return np.asarray(batch).repeat(2, axis=1).repeat(2, axis=2)


@pytest.fixture(scope="module")
def model(small_model):
    return models.inference_model(small_model)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (37, 50), (48, 33)])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_sizes_and_types(model, size, scale, dtype):
    image = darkened(picture(*size)).astype(dtype) * (257 if dtype == np.uint16 else 1)
    result = enhance(image, model, scale=scale)
    assert result.dtype == dtype
    assert result.shape == (size[0] * scale, size[1] * scale, 3)


def test_the_path_is_halve_predict_clip(model):
    image = darkened(picture(36, 50))
    half = augment.halve(image[None].astype(np.float32) / 255)
    expected = np.rint(np.clip(model(half), 0, 1) * 255)[0]
    np.testing.assert_allclose(enhance(image, model), expected, atol=1)
    assert neid_tf.enhance is enhance


def test_odd_sizes_repeat_the_last_row_and_column():
    image = picture(11, 13)
    padded = np.pad(image, [(0, 1), (0, 1), (0, 0)], mode="edge")
    np.testing.assert_array_equal(enhance(image, double), enhance(padded, double)[:11, :13])


def test_scale_2_is_the_model_itself():
    image = picture(6, 9)
    np.testing.assert_array_equal(enhance(image, double, scale=2), double(image[None])[0])


def test_results_are_clipped():
    image = picture(8, 8)
    assert enhance(image, lambda batch: double(batch) + 2.0).min() == 255
    assert enhance(image, lambda batch: double(batch) - 2.0).max() == 0


@pytest.mark.parametrize("scale", [1, 2])
def test_strength(scale):
    image = darkened(picture(24, 30))
    brighter = lambda batch: 1 - (1 - double(batch)) ** 3  # noqa: E731
    means = [
        enhance(image, brighter, scale=scale, strength=strength).mean()
        for strength in (0.0, 0.25, 0.5, 1.0, 1.5, 3.0)
    ]
    assert (np.diff(means) > 0.5).all()
    full = enhance(image, brighter, scale=scale)
    np.testing.assert_array_equal(enhance(image, brighter, scale=scale, strength=1.0), full)
    if scale == 1:
        np.testing.assert_array_equal(enhance(image, brighter, strength=0.0), image)


def test_more_strength_does_not_clip():
    output = np.linspace(0, 1, 11)
    more = adjust(output, output, 3.0)
    assert (np.diff(more) > 0).all()
    assert more[-1] == 1


def test_unet_keeps_the_size():
    unet = models.inference_model(models.build("unet", filters=4, depth=2))
    assert enhance(picture(17, 22), unet).shape == (17, 22, 3)
    with pytest.raises(ValueError, match="scale 2"):
        enhance(picture(17, 22), unet, scale=2)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((4, 4), np.uint8), {}, r"\(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), {}, r"\(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), {}, r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int32), {}, "int32"),
        (np.full((4, 4, 3), 1.5, np.float32), {}, r"in \[0, 1\], not \[1.5, 1.5\]"),
        (np.full((4, 4, 3), np.nan, np.float32), {}, r"in \[0, 1\], not \[nan"),
        (np.zeros((4, 4, 3), np.uint8), {"scale": 3}, "3"),
        (np.zeros((4, 4, 3), np.uint8), {"strength": -1.0}, "-1"),
        (np.zeros((4, 4, 3), np.uint8), {"strength": float("nan")}, "nan"),
    ],
)
def test_bad_arguments(image, options, message):
    with pytest.raises(ValueError, match=message):
        Enhancement(double, **options)(image)


@pytest.mark.parametrize("name", ["le", "neid", "neid_tone"])
def test_tiles_make_the_same_picture(name):
    model = models.inference_model(models.build(name, filters=4, depth=2, initializer="he_normal"))
    batch = picture(150, 330)[None] / np.float32(255)
    tiled = tiles.Tiled(model, tile=96)
    tiled.margin = ALL_THAT_REACHES
    if name != "le":
        whole_context = models.as_part(model, "context").predict_on_batch(batch)
        tiled.whole_context = lambda _: {k: np.asarray(v) for k, v in whole_context.items()}
    np.testing.assert_allclose(tiled(batch), model.predict_on_batch(batch), atol=1e-4)


def test_hardly_anything_comes_from_beyond_the_margin():
    model = neid_tf.load_pretrained("neid_s")
    image = (darkened(picture(300, 400)) * 0.5).astype(np.uint8)
    image += np.random.default_rng(0).integers(0, 8, image.shape, np.uint8)
    made, whole = tiles.Tiled(model, tile=64), tiles.Tiled(model, tile=64)
    whole.margin = ALL_THAT_REACHES
    assert (made.side, made.margin) == (48, 16)
    levels = [neid_tf.enhance(image, network).astype(int) for network in (made, whole)]
    apart = np.abs(levels[0] - levels[1])
    assert apart.max() <= 1
    assert 0 < (apart > 0).mean() < 8e-3  # of tiles an eighth of the usual ones' side


@pytest.mark.parametrize(
    ("height", "width"), [(408, 612), (513, 513), (514, 90), (540, 960), (1500, 2000), (70, 9000)]
)
@pytest.mark.parametrize("side", [24, 384])
def test_tiles_are_alike_and_no_larger_than_a_square(height, width, side):
    margin, step = 20, 4
    tall, wide = tiles.layout(height, width, side, margin, step)
    assert tall % step == wide % step == 0
    largest = min(tall + 2 * margin, height) * min(wide + 2 * margin, width)
    assert largest <= (side + 2 * margin) ** 2
    counts = [-(-height // tall), -(-width // wide)]
    lasts = [height - (counts[0] - 1) * tall, width - (counts[1] - 1) * wide]
    for last, size, count in zip(lasts, (tall, wide), counts, strict=True):
        assert size - last < step * count
    squares = [-(-length // side) for length in (height, width)]
    computed, of_squares = (
        (height + 2 * margin * (down - 1)) * (width + 2 * margin * (across - 1))
        for down, across in (counts, squares)
    )
    assert computed <= of_squares


def test_small_pictures_are_not_tiled(model):
    batch = picture(40, 60)[None] / np.float32(255)
    tiled = tiles.Tiled(model, tile=64)
    np.testing.assert_array_equal(tiled(batch), model.predict_on_batch(batch))


@pytest.mark.parametrize(
    ("size", "atol"), [((500, 500), 1e-5), ((40, 3000), 1e-5), ((900, 1100), 0.02)]
)
def test_tiled_context_is_near_the_whole_pictures(model, size, atol):
    batch = darkened(picture(*size))[None] / np.float32(255)
    tiled = tiles.Tiled(model, tile=64)
    whole = models.as_part(model, "context").predict_on_batch(batch)
    for name, vector in tiled.whole_context(batch).items():
        np.testing.assert_allclose(vector, whole[name], atol=atol)


@pytest.mark.parametrize("size", [(3, 9), (513, 512), (700, 5000), (20, 30_000), (4000, 3000)])
def test_the_sample_is_of_the_whole_picture(size):
    numbers = tiles.sampled(*size)
    assert len(numbers[0]) * len(numbers[1]) <= tiles.SAMPLE**2
    for found, length in zip(numbers, size, strict=True):
        assert (found[0], found[-1]) == (0, length - 1)
        assert (np.diff(found) >= 1).all()
        assert len(found) == length or len(found) > tiles.SAMPLE - 128


@pytest.mark.parametrize("weights", ["neid", "neid_s"])
def test_a_strip_is_the_same_in_tiles(weights):
    network = methods.load_network(weights, "onnx")
    strip = cv2.resize(darkened(picture(300, 400)), (700, 60))
    whole, tiled = (
        Enhancement(made, 1)(strip).astype(int) for made in (network, tiles.Tiled(network, 64))
    )
    assert np.abs(whole - tiled).max() <= 2


@pytest.mark.parametrize("strength", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("scale", [1, 2])
def test_finishing_tile_by_tile_changes_nothing(model, scale, strength):
    image = darkened(picture(151, 118))
    steps = Enhancement(tiles.Tiled(model, tile=32), scale, strength)
    batch = steps.prepare(image)
    context = steps.read_context(batch) if scale == 2 else {}
    output = steps.model.run_with_context(batch, context)[0, : 151 * scale, : 118 * scale]
    expected = finished(output, strength, image, np.empty(output.shape, image.dtype))
    np.testing.assert_array_equal(steps(image), expected)


class Repeating(Network):
    """Stands for a network, and needs hardly any memory."""

    def _run(self, batch, context, box, picture):
        return batch.repeat(2, axis=1).repeat(2, axis=2)


class Reading(Repeating):
    """Notes which of it reads the context: the one for all cores, or the one for a core each."""

    context, beside = ("mean",), 2

    def __init__(self, name="all", told=None):
        self.name, self.told = name, [] if told is None else told

    def on_one_core(self):
        return Reading("one", self.told)

    def _read(self, batch, known):
        self.told.append((self.name, batch.shape[1:3]))
        return {"mean": batch.mean(axis=(1, 2))}


@pytest.mark.parametrize(("height", "reader"), [(200, "all"), (700, "one")])
def test_the_context_of_many_tiles_is_read_in_their_memory(height, reader):
    network = Reading()
    image = np.full((height, 300, 3), 40, np.uint8)
    steps = Enhancement(tiles.Tiled(network, tile=64))
    np.testing.assert_array_equal(steps(image), image)
    [(name, (tall, wide))] = network.told
    assert name == reader
    assert tall * wide <= tiles.SAMPLE**2


@pytest.mark.parametrize(("scale", "strength"), [(1, 1.0), (1, 0.5), (2, 0.5)])
def test_a_large_picture_is_never_in_floating_point_whole(scale, strength):
    image = np.full((1500 // scale, 2000 // scale, 3), 40, np.uint8)
    steps = Enhancement(tiles.Tiled(Repeating(), tile=100), scale, strength)
    batch = steps.prepare(image)
    tracemalloc.start()
    try:
        enhanced = steps.compute(image, batch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(enhanced, double(image[None])[0] if scale == 2 else image)
    assert enhanced.nbytes <= peak < 2 * enhanced.nbytes  # In float32 it is four times as much.


def test_float_in_float_out(model):
    image = picture(20, 30)
    for strength in (1.0, 0.5, 1.5):
        floats = enhance(image / np.float32(255), model, strength=strength)
        assert floats.dtype == np.float32
        expected = enhance(image, model, strength=strength)
        np.testing.assert_allclose(floats * 255, expected, atol=0.51)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 2])
def test_the_model_is_given_single_precision(dtype, scale):
    """Exported networks take no other."""
    image, batches = (darkened(picture(12, 14)) / 255).astype(dtype), []
    enhance(image, lambda batch: double(batches.append(batch) or batch), scale=scale)
    assert [batch.dtype for batch in batches] == [np.float32]
    expected = image.astype(np.float32)
    expected = expected if scale == 2 else augment.halve(expected[None])[0]
    np.testing.assert_allclose(batches[0][0], expected, atol=1e-6)
    assert np.shares_memory(batches[0], image) == (scale == 2 and dtype == np.float32)
