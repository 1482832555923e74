"""The grid of gains: what it keeps, where it is sliced, what it learns."""

import keras
import numpy as np
import pytest

from neid_tf.models import grid, grid_reader
from neid_tf.models.layers import DepthToSpace, SpaceToDepth
from neid_tf.models.refinement import Blend, refine

WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]], np.float32)


def pictures(shape=(1, 24, 36, 3), seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def parameters(count=1, seed=1, grid_only=False):
    values = np.random.default_rng(seed).normal(0.0, 0.5, (count, grid.PARAMETERS))
    if grid_only:
        values[:, : grid.GLOBAL] = 0.0
    return values.astype(np.float32)


def toned(images, values, boxes=WHOLE):
    gain = grid.GridGain()([images, values, boxes])
    return np.asarray(grid.GridTone()([images, gain, values]))


def test_zeros_leave_a_picture_as_it_is():
    images = pictures()
    zeros = np.zeros((1, grid.PARAMETERS), np.float32)
    np.testing.assert_allclose(toned(images, zeros), images, atol=1e-6)


def test_black_stays_black_and_white_white():
    values = parameters()
    for level in (0.0, 1.0):
        images = np.full((1, 8, 8, 3), level, np.float32)
        np.testing.assert_allclose(toned(images, values), images, atol=1e-5)


def test_the_gain_keeps_hue_and_saturation():
    images = pictures() * 0.9 + 0.05
    result = toned(images, parameters(grid_only=True))
    assert np.abs(result - images).max() > 0.1
    ratios = [p / p.max(axis=-1, keepdims=True) for p in (images, result)]
    np.testing.assert_allclose(*ratios, atol=1e-5)


def test_gray_stays_gray_under_the_matrices():
    values = parameters()
    values[:, :3] = 0.0
    gray = np.repeat(pictures((1, 9, 9, 1)), 3, axis=-1)
    result = toned(gray, values)
    np.testing.assert_allclose(result, np.repeat(result[..., :1], 3, axis=-1), atol=1e-5)


def test_a_veil_is_taken_off():
    images = pictures()
    values = np.zeros((1, grid.PARAMETERS), np.float32)
    values[:, grid.VEIL] = 0.25
    clear = np.asarray(grid_reader.Unveiled()([0.25 + 0.75 * images, values[:, [grid.VEIL]]]))
    np.testing.assert_allclose(clear, images, atol=1e-6)
    np.testing.assert_allclose(toned(0.25 + 0.75 * images, values), images, atol=1e-6)
    np.testing.assert_array_equal(toned(0.25 * images, values), np.zeros_like(images))
    values[:, :3] = 0.5  # A white balance is of what is under the veil.
    alone = np.where(np.arange(grid.PARAMETERS) == grid.VEIL, 0.0, values).astype(np.float32)
    np.testing.assert_allclose(toned(0.25 + 0.75 * images, values), toned(images, alone), atol=1e-6)


@pytest.mark.parametrize(
    ("darkest", "brightest", "veil"),
    [
        (0.15, 0.7, 0.15 - 5 / 255),  # gray for black and for white
        (0.15, 0.8, (0.15 - 5 / 255) / 2),
        (0.15, 0.95, 0.0),  # there is white
        (0.015, 0.5, 0.0),  # there is black
        (0.5, 0.52, 0.01),  # a wall
    ],
)
def test_how_much_veil_there_is(darkest, brightest, veil):
    images = np.random.default_rng(0).uniform(darkest, brightest, (1, 128, 128, 3))
    images[:, :2] = darkest
    images[:, 2:4] = brightest
    images = images.astype(np.float32)
    for share in (1.0, 0.5, 0.0):
        found = np.asarray(grid_reader.Veil(share)(images))
        np.testing.assert_allclose(found, [[share * veil]], atol=1e-6)


def test_what_is_nearly_black_is_black_and_has_no_colour():
    levels = np.array([[0, 0, 0], [1, 1, 0], [2, 1, 1], [3, 2, 2], [9, 6, 3], [200, 60, 0]])
    images = np.tile((levels / 255).repeat(3, axis=0), (1, 3, 1, 1)).astype(np.float32)
    read = 255 * np.asarray(grid_reader.Blackened(2.0)(images))[0, 1, 1::3]
    luminance = levels @ [0.299, 0.587, 0.114]
    shares = 1 - np.exp(-((levels.max(axis=1) / 2) ** 2))
    np.testing.assert_allclose(read[:2].max(axis=-1), [0, 0.2], atol=0.01)
    spread = np.ptp(read, axis=-1)
    np.testing.assert_allclose(spread[:3], 0, atol=0.2)
    np.testing.assert_allclose(read @ [0.299, 0.587, 0.114], luminance * shares, atol=1e-3)
    np.testing.assert_allclose(read[4:], levels[4:], atol=1e-3)


def test_noise_about_black_is_read_as_its_mean():
    """What is at 2 levels among what is at 0 is not what is at 2 levels altogether."""
    noise = np.zeros((1, 12, 12, 3), np.float32)
    noise[:, ::3, ::3] = 2 / 255
    pair = np.concatenate([np.full_like(noise, 2 / 255), noise])
    pair[:, 0, 0] = 1.0  # Of a picture without light, less would be taken for black.
    flat, among = 255 * np.asarray(grid_reader.Blackened(1.5)(pair))[:, 6, 6]
    level = (1.5 / 9 + 0.5) / 1.5  # The mean of what is at 1.5 at most, and what is above that.
    np.testing.assert_allclose(flat, 2 * (1 - np.exp(-((2 / 1.5) ** 2))), atol=1e-3)
    np.testing.assert_allclose(among, 2 * (1 - np.exp(-(level**2))), atol=1e-3)


def test_a_picture_that_is_dark_altogether_is_read():
    images = pictures()
    dark, black = images / 400, np.zeros_like(images)
    read = np.asarray(grid_reader.Blackened(1.5)(dark))
    bright = np.asarray(grid_reader.Blackened(255 / 8)(images))
    np.testing.assert_allclose(400 * read, bright, atol=1e-5)
    assert 0.9 < read.mean() / dark.mean() < 1.0
    np.testing.assert_array_equal(np.asarray(grid_reader.Blackened(1.5)(black)), black)


def test_a_codecs_black_is_read_as_black():
    """The tone of a lit thing under a sky of (1, 1, 0) is that of one under (0, 0, 0)."""
    thumbnail = keras.Input((128, 128, 3))
    keras.utils.set_random_seed(0)
    read = keras.Model(thumbnail, grid_reader.grid_parameters(thumbnail))
    black = keras.Model(thumbnail, grid_reader.grid_parameters(thumbnail, black=2.0))
    black.set_weights(read.get_weights())
    lit = np.zeros((1, 128, 128, 3), np.float32)
    lit[:, 80:] = pictures((1, 48, 128, 3))
    sent = np.maximum(lit, np.array([1, 1, 0], np.float32) / 255)
    pair = np.concatenate([lit, sent])
    apart = [float(np.abs(np.subtract(*np.asarray(model(pair)))).max()) for model in (read, black)]
    assert apart[1] < 0.5 * apart[0]


def test_a_tile_takes_its_share_of_the_grid():
    images, values = pictures((1, 40, 60, 3)), parameters()
    whole = toned(images, values)
    box = np.array([[10 / 40, 20 / 60, 24 / 40, 30 / 60]], np.float32)
    tile = toned(images[:, 10:34, 20:50], values, box)
    np.testing.assert_allclose(tile, whole[:, 10:34, 20:50], atol=1e-5)


def test_a_level_of_the_grid_is_for_pixels_of_its_brightness():
    values = np.zeros((1, grid.PARAMETERS), np.float32)
    cells = values[:, grid.GLOBAL :].reshape(1, grid.SIDE, grid.SIDE, grid.BINS)
    cells[..., 0] = 1.0
    images = np.array([0.05, 0.5], np.float32)[None, :, None, None].repeat(3, axis=-1)
    gain = np.asarray(grid.GridGain()([images, values, WHOLE]))[0, :, 0]
    np.testing.assert_allclose(gain, [1.0 - 0.05 * (grid.BINS - 1), 0.0], atol=1e-5)


def test_the_mean_with_the_mirror_image_is_mirrored_back():
    values = np.delete(parameters(count=2), [grid.VEIL, grid.SHADE], axis=1)
    mean = np.asarray(grid_reader.MeanOfMirrored()(np.concatenate([values, mirrored(values)])))
    np.testing.assert_allclose(mean, values, atol=1e-6)


def mirrored(values):
    cells = values[:, grid.VEIL :].reshape(-1, grid.SIDE, grid.SIDE, grid.BINS)[:, :, ::-1]
    return np.concatenate([values[:, : grid.VEIL], cells.reshape(len(values), -1)], axis=1)


@pytest.fixture(scope="module")
def reader():
    keras.utils.set_random_seed(0)
    thumbnail = keras.Input((128, 128, 3))
    return keras.Model(thumbnail, grid_reader.grid_parameters(thumbnail, hidden=8, filters=4))


def test_the_reader_has_as_many_weights_as_written(reader):
    learned = sum(int(np.prod(v.shape)) for v in reader.trainable_variables)
    dense = 861 * 8 + 8 + 8 * 4 + 4 + 8 * 29 + 29
    local = (384 * 4 + 4) + (9 * 16 + 4) + ((4 + 40 + 6) * 4 + 4) + (9 * 16 + 4) + (4 * 8 + 8)
    assert learned == dense + local + 2 * (40 + 80 + 112 + 192)
    assert reader.output_shape == (None, grid.PARAMETERS)


def test_every_weight_of_the_reader_learns(reader):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the tape is TensorFlow's")
    import tensorflow as tf

    images = tf.constant(pictures((2, 128, 128, 3)))
    with tf.GradientTape() as tape:
        values = reader(images, training=False)
        result = toned_tensor(images[:, ::8, ::8], values)
        loss = tf.reduce_mean(tf.square(result - 0.3 * images[:, ::8, ::8, ::-1]))
    gradients = tape.gradient(loss, reader.trainable_variables)
    for variable, gradient in zip(reader.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0.0, variable.path


def toned_tensor(images, values):
    gain = grid.GridGain()([images, values, np.repeat(WHOLE, 2, axis=0)])
    return grid.GridTone()([images, gain, values])


def test_an_enlarged_gain_is_bilinear():
    planes = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    large = np.asarray(DepthToSpace()(grid.EnlargedGain()(planes)))
    assert large.shape == (1, 4, 6, 1)
    np.testing.assert_allclose(large[0, 0, :, 0], [0.0, 0.25, 0.75, 1.25, 1.75, 2.0])


def test_the_tone_of_a_folded_picture_is_that_of_the_picture():
    images, values, boxes = pictures((2, 8, 12, 3)), parameters(2), WHOLE.repeat(2, axis=0)
    gain = np.asarray(grid.GridGain()([images, values, boxes]))
    expected = grid.GridTone()([images, gain, values])
    folded_gain = folded(gain[..., None])
    result = DepthToSpace()(grid.GridTone()([folded(images), folded_gain, values]))
    np.testing.assert_allclose(result, expected, atol=1e-6)


def folded(picture):
    return np.asarray(SpaceToDepth()(picture))


def test_the_blend_goes_from_one_picture_to_the_other():
    enhanced, full = pictures((1, 8, 6, 3)), pictures((1, 8, 6, 3), seed=5)
    difference = folded(full - enhanced)
    for logit, expected in ((40.0, full), (-40.0, enhanced), (0.0, 0.5 * (full + enhanced))):
        numbers = np.zeros((1, 4, 3, 24), np.float32)
        numbers[..., :12] = logit
        blended = DepthToSpace()(Blend()([folded(enhanced), difference, numbers]))
        np.testing.assert_allclose(blended, expected, atol=1e-6)


def test_the_refinement_has_as_many_weights_as_written():
    features, enhanced, toned_full = (keras.Input((None, None, c)) for c in (5, 12, 12))
    model = keras.Model(
        [features, enhanced, toned_full], refine(features, enhanced, toned_full, filters=4)
    )
    assert model.count_params() == (9 * (5 + 12) * 4 + 4) + (9 * 16 + 4) + (4 * 24 + 24)
    given = [pictures((1, 4, 6, 5)), pictures((1, 4, 6, 12)), pictures((1, 4, 6, 12), seed=3)]
    assert model(given).shape == (1, 4, 6, 12)
