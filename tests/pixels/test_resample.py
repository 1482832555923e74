import threading
import time
import tracemalloc

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


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (4, 7), (255, 9), (256, 8), (257, 3), (771, 21)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_halving_any_size_equals_halving_what_is_padded(size, dtype):
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    pixels = (np.random.default_rng(1).random((*size, 3)) * white).astype(dtype)
    half, expected = resample.halve(pixels, white), resample.pad_to_even(pixels)
    np.testing.assert_array_equal(half, resample.halve(expected, white))
    assert half.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_halving_on_several_cores_is_the_same_to_the_bit(dtype, monkeypatch):
    white = 1 if dtype == np.float32 else 255
    pixels = (np.random.default_rng(4).random((401, 555, 3)) * white).astype(dtype)
    monkeypatch.setattr(resample, "usable_cores", lambda: 3)
    alone, threads = resample.halve(pixels, white), set()
    filtered = resample._filtered

    def noted(*arguments):
        threads.add(threading.current_thread().name)
        return filtered(*arguments)

    monkeypatch.setattr(resample, "_filtered", noted)
    monkeypatch.setattr(resample, "_FOR_ONE", 1000)
    np.testing.assert_array_equal(resample.halve(pixels, white), alone)
    assert threads
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.float16, np.float64])
def test_halving_takes_any_numbers(dtype):
    pixels = np.random.default_rng(3).integers(0, 256, (20, 26, 3), np.uint8)
    half = resample.halve(pixels.astype(dtype), 255)
    assert half.dtype == (dtype if np.dtype(dtype).kind == "f" else np.float32)
    atol = 1e-3 if dtype == np.float16 else 1e-6
    np.testing.assert_allclose(half, resample.halve(pixels, 255), atol=atol)


def test_nothing_is_halved_to_nothing():
    assert resample.halve(np.zeros((0, 4, 3), np.uint8), 255).shape == (0, 2, 3)


@pytest.mark.parametrize("size", [(2000, 30000), (100, 100_000), (300, 600), (1, 1), (0, 5)])
def test_bands_are_small(size):
    height, width = size
    bands = resample.bands(height, width)
    assert sum(band.stop - band.start for band in bands) == height
    assert all((band.stop - band.start) * width <= max(32768, width) for band in bands)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 3)])
def test_halving_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="can be halved"):
        resample.halve(np.zeros(shape, np.float32))


def dense_overlaps(length, size):
    """The share of each of `size` cells that each pixel covers, as one matrix."""
    cell = length / size
    low, pixel = cell * np.arange(size)[:, None], np.arange(length)
    overlap = np.minimum(low + cell, pixel + 1.0) - np.maximum(low, pixel)
    return np.maximum(overlap, 0.0) / cell


@pytest.mark.parametrize("shape", [(37, 50), (7, 90), (90, 7), (1, 1), (64, 32), (1, 400)])
@pytest.mark.parametrize("size", [1, 16, 24])
def test_area_means_are_those_of_a_matrix_of_weights(shape, size):
    pixels = np.random.default_rng(0).random((*shape, 3), np.float32)
    rows, columns = (dense_overlaps(length, size) for length in shape)
    expected = np.einsum("rh,hwc,kw->rkc", rows, pixels.astype(float), columns)
    reduced = resample.area_reduce(pixels, size)
    assert (reduced.shape, reduced.dtype) == ((size, size, 3), np.float32)
    np.testing.assert_allclose(reduced, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 40_000), (40_000, 2), (200, 400)])
def test_time_and_memory_do_not_depend_on_the_shape(shape):
    pixels = np.random.default_rng(0).random((*shape, 3), np.float32)
    tracemalloc.start()
    started = time.perf_counter()
    resample.area_reduce(pixels, 384)
    resample.halve(pixels)
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 2.0  # A dense matrix of weights takes many times that.
    assert peak < 2**24 + 8 * pixels.nbytes


@pytest.mark.parametrize("side", ["_ROWS", "_COLUMNS"])
def test_halving_in_blocks_changes_nothing(monkeypatch, side):
    pixels = np.random.default_rng(1).integers(0, 256, (130, 130, 3), np.uint8)
    whole, of_floats = resample.halve(pixels, 255), resample.halve(pixels / np.float32(255))
    monkeypatch.setattr(resample, side, 24)
    np.testing.assert_array_equal(resample.halve(pixels, 255), whole)
    # Of floats, sums may be taken in another order.
    np.testing.assert_allclose(resample.halve(pixels / np.float32(255)), of_floats, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_halving_is_exact(dtype):
    pixels = np.random.default_rng(2).integers(0, np.iinfo(dtype).max + 1, (48, 30, 3), dtype)
    exact = resample.halve(pixels.astype(np.float64), float(np.iinfo(dtype).max))
    np.testing.assert_allclose(resample.halve(pixels, np.iinfo(dtype).max), exact, atol=2e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [(5, 7), (300, 420)])
def test_one_colour_is_halved_to_itself(size, dtype):
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    for level in (0.0, 0.2, 1.0):
        pixels = np.full((*size, 3), level * white, dtype)
        half = resample.halve(pixels, white)
        np.testing.assert_allclose(half, pixels[0, 0, 0] / np.float32(white), atol=2e-7)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (17, 30)])
def test_doubling_is_the_bicubic_of_the_paper(size):
    import tensorflow as tf

    pixels = np.random.default_rng(2).random((*size, 3), np.float32)
    shape = [2 * side for side in size]
    expected = tf.image.resize(pixels, shape, method="bicubic", antialias=True)
    np.testing.assert_allclose(resample.double(pixels), expected, atol=1e-5)
