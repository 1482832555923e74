import cv2
import keras
import numpy as np
import pytest

from neid_tf.models import layers, tone
from tests.conftest import picture


def images(*sizes):
    return [picture(h, w, seed=h)[None] / np.float32(255) for h, w in sizes]


@pytest.mark.parametrize("size", [(24, 36), (23, 37), (8, 8), (5, 3), (1, 1)])
def test_area_resize_averages_equal_cells(size):
    (image,) = images(size)
    cells = np.asarray(layers.area_resize(image, 8))
    assert cells.shape == (1, 8, 8, 3)
    np.testing.assert_allclose(cells.mean((1, 2)), image.mean((1, 2)), atol=2e-6)
    if min(size) >= 8:
        expected = cv2.resize(image[0], (8, 8), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(cells[0], expected, atol=2e-5)


def test_area_resize_of_boxes():
    (image,) = images((32, 32))
    boxes = np.array([[0.25, 0.5, 0.5, 0.25]], np.float32)
    cells = layers.area_resize(image, 4, boxes)
    np.testing.assert_allclose(cells, layers.area_resize(image[:, 8:24, 16:24], 4), atol=1e-5)


@pytest.mark.parametrize("size", [(6, 9), (1, 1), (1, 4)])
def test_bilinear_upsampling_is_keras_own(size):
    (image,) = images(size)
    expected = keras.layers.UpSampling2D(interpolation="bilinear")(image)
    folded = layers.FoldedBilinear()(image)
    np.testing.assert_allclose(layers.DepthToSpace()(folded), expected, atol=1e-6)


def test_depth_to_space_undoes_space_to_depth():
    (image,) = images((6, 10))
    folded = np.asarray(layers.SpaceToDepth()(image))
    # Row 2i + a, column 2j + b, channel c of the picture is channel (2a + b)·3 + c at (i, j).
    np.testing.assert_array_equal(folded[:, 1, 2, 6:9], image[:, 3, 4])
    np.testing.assert_array_equal(layers.DepthToSpace()(folded), image)


def test_sub_pixel_upsampling_is_depth_to_space_of_a_convolution():
    layer = layers.SubPixelUpsampling(3)
    features = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype("float32")
    result = np.asarray(layer(features))
    deep = np.asarray(layer.convolution(features))
    assert result.shape == (2, 8, 10, 3)
    # Row 2i + a, column 2j + b, channel c of the result is channel (2a + b)·3 + c at (i, j).
    np.testing.assert_array_equal(result[:, 1::2, 0::2], deep[..., 6:9])
    np.testing.assert_array_equal(result[:, 0::2, 1::2], deep[..., 3:6])
    layer.folded = True
    np.testing.assert_array_equal(layer(features), deep)
    assert layer.compute_output_shape((2, 4, 5, 6)) == deep.shape


def test_feature_fusing_is_the_weighted_sum():
    rng = np.random.default_rng(1)
    light, detail = rng.normal(size=(2, 2, 3, 4, 5)).astype("float32")
    weights = rng.uniform(size=(2, 5)).astype("float32")
    w = weights[:, None, None]
    fused = layers.FeatureFusing()([light, detail, weights])
    np.testing.assert_allclose(fused, w * detail + (1 - w) * light, atol=1e-6)


def curve(values, parameters):
    gray = np.repeat(np.asarray(values, np.float32), 3).reshape(1, 1, -1, 3)
    return np.asarray(tone.ToneCurve()([gray, np.asarray([parameters], np.float32)]))[0, 0]


def test_tone_curve_is_monotone_and_protects_highlights():
    rng = np.random.default_rng(2)
    for _ in range(20):
        parameters = rng.normal(size=15) * [1.5] * 15
        out = curve(np.linspace(0, 1, 101), np.concatenate([parameters[:6], np.zeros(9)]))
        assert (np.diff(out, axis=0) >= 0).all()
        assert out.max() <= 1 + 1e-5
        np.testing.assert_allclose(out[-1], 1, atol=1e-5)


def test_tone_matrix_keeps_gray_gray():
    parameters = np.random.default_rng(3).normal(size=15)
    parameters[:6] = 0
    out = curve([0.1, 0.5, 1.0], parameters)
    np.testing.assert_allclose(out, out[:, :1].repeat(3, axis=1), atol=1e-5)


def test_neutral_tone_parameters():
    gain, x = np.exp(2.0), np.array([0.05, 0.4])
    expected = gain * x / (1 + (gain - 1) * x)
    np.testing.assert_allclose(curve(x, np.zeros(15))[:, 0], expected, rtol=1e-5)
