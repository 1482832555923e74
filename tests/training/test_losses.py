import numpy as np
import pytest
import tensorflow as tf
from skimage.color import rgb2hsv

from neid_tf.training import losses
from neid_tf.training.objective import Objective
from tests.conftest import picture

REFERENCE = np.stack([picture(16, 24, 1), picture(16, 24, 2)]) / np.float32(255)
PREDICTION = np.clip(REFERENCE[::-1] * 0.6 + 0.2, 0.01, 0.99)


@pytest.mark.parametrize("delta", [0.05, 0.3, 1.0])
def test_huber(delta):
    a = np.abs(REFERENCE - PREDICTION)
    expected = np.where(a <= delta, a**2 / 2, delta * a - delta**2 / 2).mean((1, 2, 3))
    assert (a > 0.05).any()
    np.testing.assert_allclose(losses.huber(REFERENCE, PREDICTION, delta), expected, rtol=1e-5)


def test_huber_with_delta_one_is_half_the_squared_error():
    half = 0.5 * np.asarray(losses.mse(REFERENCE, PREDICTION))
    np.testing.assert_allclose(losses.huber(REFERENCE, PREDICTION, 1.0), half, rtol=1e-6)


def test_mse():
    expected = ((REFERENCE - PREDICTION) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(losses.mse(REFERENCE, PREDICTION), expected, rtol=1e-5)


def test_log_mse():
    error = np.square(REFERENCE - PREDICTION).mean((1, 2, 3))
    expected = 0.1 * np.log(1 + error / 1e-3)
    np.testing.assert_allclose(losses.log_mse(REFERENCE, PREDICTION), expected, rtol=1e-5)
    np.testing.assert_array_equal(losses.log_mse(REFERENCE, REFERENCE), 0)


def test_charbonnier():
    expected = np.sqrt((REFERENCE - PREDICTION) ** 2 + 1e-6).mean((1, 2, 3))
    np.testing.assert_allclose(losses.charbonnier(REFERENCE, PREDICTION), expected, rtol=1e-5)


def test_aligned_is_the_error_at_the_references_brightness():
    gain = REFERENCE.mean((1, 2, 3)) / PREDICTION.mean((1, 2, 3))
    expected = losses.charbonnier(REFERENCE, PREDICTION * gain[:, None, None, None])
    np.testing.assert_allclose(losses.exposure_aligned(REFERENCE, PREDICTION), expected, rtol=1e-5)
    nothing = losses.charbonnier(REFERENCE, REFERENCE)
    np.testing.assert_allclose(
        losses.exposure_aligned(REFERENCE, REFERENCE * 1.3), nothing, rtol=1e-4
    )


def test_aligned_is_finite_for_black():
    black = np.zeros_like(REFERENCE)
    assert np.isfinite(losses.exposure_aligned(REFERENCE, black)).all()
    np.testing.assert_allclose(
        losses.exposure_aligned(black, REFERENCE), (REFERENCE / 2).mean((1, 2, 3)), rtol=1e-2
    )


def test_colour_is_equations_4_to_6():
    def cosine(a, b):
        return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())

    expected = []
    for true, predicted in zip(REFERENCE, PREDICTION, strict=True):
        a, b = rgb2hsv(true), rgb2hsv(predicted)
        expected.append(sum(1 - cosine(a[..., c], b[..., c]) for c in (0, 1)))
    np.testing.assert_allclose(losses.colour(REFERENCE, PREDICTION), expected, atol=2e-3)


FLAT = {
    "black": [0, 0, 0],
    "gray": [0.5, 0.5, 0.5],
    "white": [1, 1, 1],
    "red": [1, 0, 0],
    "beyond": [1.5, -0.5, 0.3],
}


@pytest.mark.parametrize("name", FLAT)
def test_colour_is_finite_with_its_gradient(name):
    prediction = tf.constant(np.broadcast_to(np.float32(FLAT[name]), REFERENCE.shape))
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        value = losses.colour(REFERENCE, prediction)
    assert np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, prediction)).all()


def test_colour_of_equal_pictures_is_nothing():
    for flat in list(FLAT.values())[:4]:
        image = np.broadcast_to(np.float32(flat), REFERENCE.shape)
        np.testing.assert_allclose(losses.colour(image, image), 0, atol=1e-5)


def test_colour_moves_towards_the_reference():
    """A step down the gradient takes the hue and saturation nearer."""
    prediction = tf.Variable(PREDICTION)
    with tf.GradientTape() as tape:
        before = tf.reduce_sum(losses.colour(REFERENCE, prediction))
    gradient = tape.gradient(before, prediction)
    after = losses.colour(REFERENCE, prediction - 1e-2 * gradient / tf.norm(gradient))
    assert float(tf.reduce_sum(after)) < float(before)


def pictures(**names):
    return {name: tf.constant(value) for name, value in names.items()}


def test_total_is_equation_7():
    outputs = pictures(le=PREDICTION, dr=PREDICTION * 0.5)
    targets = pictures(le=REFERENCE, dr=REFERENCE * 0.2)
    terms = Objective().terms(outputs, targets)
    assert list(terms) == ["huber", "colour", "detail"]
    total = sum(np.asarray(value) for value in terms.values())
    expected = (
        np.asarray(losses.huber(REFERENCE, PREDICTION))
        + 0.1 * np.asarray(losses.mse(REFERENCE * 0.2, PREDICTION * 0.5))
        + 0.1 * np.asarray(losses.colour(REFERENCE, PREDICTION))
    )
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_weights_of_the_terms():
    outputs = pictures(le=PREDICTION, dr=PREDICTION, tone=PREDICTION)
    targets = pictures(le=REFERENCE, dr=REFERENCE, tone=REFERENCE)
    one = Objective("charbonnier", structure_weight=1.0, tone_weight=1.0)
    two = Objective("charbonnier", structure_weight=2.0, tone_weight=3.0, colour_weight=0)
    one, two = one.terms(outputs, targets), two.terms(outputs, targets)
    np.testing.assert_allclose(2 * one["structure"], two["structure"], rtol=1e-6)
    np.testing.assert_allclose(3 * one["tone"], two["tone"], rtol=1e-6)
    assert "colour" in one
    assert "colour" not in two


@pytest.mark.parametrize("name", [*losses.RECONSTRUCTIONS, "exposure_aligned", "colour"])
def test_pictures_of_other_shapes_are_refused(name):
    for other in (PREDICTION[..., :1], PREDICTION[:, :1], PREDICTION[:1], PREDICTION[0]):
        with pytest.raises(ValueError, match="one size"):
            getattr(losses, name)(REFERENCE, other)
