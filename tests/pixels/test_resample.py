import numpy as np
import pytest

from neid_tf.data import augment
from neid_tf.pixels import resample
from tests.conftest import picture


@pytest.mark.parametrize("size", [(2, 2), (2, 8), (4, 6), (64, 50), (130, 16)])
def test_halving_equals_the_one_of_training(size):
    pixels = np.random.default_rng(1).random((*size, 3), np.float32)
    half = resample.halve(pixels)
    assert half.dtype == np.float32
    reference = np.asarray(augment.halve(pixels[None]))[0]
    np.testing.assert_allclose(half, reference, rtol=0.0, atol=1e-6)


def test_halving_overshoots_are_clipped():
    pixels = np.zeros((16, 16, 3), np.float32)
    pixels[:, 8:] = 1.0
    half = resample.halve(pixels)
    assert half.min() == 0.0
    assert half.max() == 1.0
    np.testing.assert_allclose(half, np.asarray(augment.halve(pixels[None]))[0], atol=1e-6)


def test_taps():
    expected = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    np.testing.assert_allclose(resample.bicubic_taps(), expected, atol=1e-15)


def test_pad_to_even():
    image = picture(5, 6)
    padded = resample.pad_to_even(image)
    assert padded.shape == (6, 6, 3)
    np.testing.assert_array_equal(padded[5], image[4])
    assert resample.pad_to_even(image[None, :, :5]).shape == (1, 6, 6, 3)


@pytest.mark.parametrize("shape", [(3, 4, 3), (4, 5, 3), (4, 4), (1, 4, 4, 3)])
def test_halving_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="even size can be halved"):
        resample.halve(np.zeros(shape, np.float32))
