import numpy as np
import pytest
import tensorflow as tf

from neid_tf.data import augment
from tests.conftest import picture


@pytest.mark.parametrize("size", [(46, 70), (2, 2), (4, 64)])
def test_halve_is_the_antialiased_bicubic(size):
    images = np.stack([picture(*size, seed) for seed in range(3)]) / np.float32(255)
    shape = (size[0] // 2, size[1] // 2)
    expected = tf.image.resize(images, shape, method="bicubic", antialias=True)
    np.testing.assert_allclose(augment.halve(images), np.clip(expected, 0, 1), atol=1e-6)


def test_halve_in_a_graph_of_unknown_size():
    function = tf.function(augment.halve, input_signature=[tf.TensorSpec((None, None, None, 3))])
    images = picture(18, 30)[None] / np.float32(255)
    np.testing.assert_allclose(function(images), augment.halve(images), atol=1e-6)


def test_halve_needs_even_sizes():
    with pytest.raises(ValueError, match="17"):
        augment.halve(np.zeros((1, 17, 20, 3), np.float32))


def test_flips_and_turns_are_numpys():
    images = np.random.default_rng(0).uniform(size=(8, 6, 6, 3)).astype("float32")
    flips, turns = np.arange(8) >= 4, np.arange(8) % 4
    result = np.asarray(augment.flip_and_turn(images, flips, turns))
    for image, upside_down, turn, got in zip(images, flips, turns, result, strict=True):
        expected = np.rot90(image[::-1] if upside_down else image, turn)
        np.testing.assert_array_equal(got, expected)


def test_mirror():
    images = np.random.default_rng(0).uniform(size=(2, 5, 6, 3)).astype("float32")
    result = augment.mirror(images, np.array([False, True]))
    np.testing.assert_array_equal(result, [images[0], images[1][:, ::-1]])


def test_a_view_holds_its_crop():
    random = np.random.default_rng(0)
    place, view = (np.empty((200, 4), np.float32) for _ in range(2))
    for boxes in (place, view):
        boxes[:, 2:] = random.uniform(0.05, 1.0, (200, 2))
        boxes[:, :2] = random.random((200, 2)) * (1.0 - boxes[:, 2:])
    moved = np.asarray(augment.view_with(place, view))
    ends = [boxes[:, :2] + boxes[:, 2:] for boxes in (place, moved)]
    assert (moved[:, :2] <= place[:, :2] + 1e-6).all()
    assert (ends[0] <= ends[1] + 1e-6).all()
    assert (moved[:, :2] >= -1e-6).all()
    assert (ends[1] <= 1 + 1e-6).all()
    np.testing.assert_array_equal(moved[:, 2:], np.maximum(place[:, 2:], view[:, 2:]))
    held = (view[:, :2] <= place[:, :2]) & (ends[0] <= view[:, :2] + view[:, 2:])
    held = held.all(axis=1)
    assert held.any()
    np.testing.assert_allclose(moved[held], view[held], atol=1e-6)


def test_expose():
    images = np.full((3, 2, 2, 3), 0.5, np.float32)
    result = np.asarray(augment.expose(images, np.float32([0.0, 0.5, 1.0]), 0.4))[:, 0, 0, 0]
    np.testing.assert_allclose(result, [0.5 * np.exp(-0.4), 0.5, 0.5 * np.exp(0.4)], rtol=1e-5)
    assert augment.expose(images, np.zeros(3), 0.0) is images
    assert np.asarray(augment.expose(images * 2, np.float32([0, 0.5, 1]), 2.0)).max() == 1


def test_to_float():
    assert float(augment.to_float(np.array([255], np.uint8))[0]) == 1
    assert float(augment.to_float(np.array([65535], np.uint16))[0]) == 1
    assert float(augment.to_float(np.array([0.25], np.float32))[0]) == 0.25
