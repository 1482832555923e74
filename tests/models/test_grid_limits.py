"""What a tone may not change, and the shade that is lifted where it changes too little."""

import numpy as np
import pytest

from neid_tf.models import grid
from neid_tf.models.grid_limits import DeadZone, LiftedShade, Shade

WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]], np.float32)


def pictures(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def gain(logarithm, exposure=0.0, veil=0.0):
    """Parameters of one gain for all of a picture."""
    values = np.zeros((1, grid.PARAMETERS), np.float32)
    values[:, grid.EXPOSURE], values[:, grid.VEIL] = exposure, veil
    values[:, grid.GLOBAL :] = logarithm - exposure
    return values


def parameters(count=1, seed=1):
    values = np.random.default_rng(seed).normal(0.0, 0.5, (count, grid.PARAMETERS))
    return values.astype(np.float32)


def toned(images, values):
    return np.asarray(grid.toned(images, values, WHOLE.repeat(len(images), axis=0)))


def limited(images, values, *limits):
    """Return what is left of the parameters."""
    return np.asarray(DeadZone(*limits)([images, values])[0])


@pytest.mark.parametrize(("size", "least", "most"), [(0.01, 0.0, 0.05), (1.0, 0.98, 1.0)])
def test_a_dead_zone_leaves_out_small_changes(size, least, most):
    images, values = pictures((2, 32, 32, 3)), size * parameters(2)
    values[:, grid.EXPOSURE] = 1.0  # the guide's exposure, which the cells take back
    values[:, grid.GLOBAL :] += size - 1.0
    changed = [
        np.abs(toned(images, of) - images).mean(axis=(1, 2, 3))
        for of in (values, limited(images, values, 0.08))
    ]
    assert changed[0].min() > 1e-4
    shares = changed[1] / changed[0]
    assert least <= shares.min() <= shares.max() <= most


def test_the_dead_zone_is_measured_by_the_pictures_level():
    pictures_ = np.array([0.1, 0.4], np.float32)[:, None, None, None] * np.ones((1, 8, 8, 3))
    values = np.zeros((2, grid.PARAMETERS), np.float32)
    values[:, grid.GLOBAL :] = 0.1
    result = limited(pictures_.astype(np.float32), values, 0.08)
    level = np.array([0.1, 0.4])
    change = np.exp(0.1) * level / (1 + (np.exp(0.1) - 1) * level) - level
    share = 1 - np.exp(-(change**2) / ((level**2 + 0.01) * 0.08**2))
    np.testing.assert_allclose(result[:, -1], 0.1 * share, rtol=1e-4)


@pytest.mark.parametrize("veil", [0.0, 0.2])
def test_a_tone_that_darkens_is_left_out_and_one_that_brightens_is_not(veil):
    """Of a gain of g, a level x comes to g·x / (1 − x + g·x)."""
    images = np.full((1, 8, 8, 3), 0.6, np.float32)
    for size, least, most in ((-1.0, 0.0, 0.01), (-0.02, 0.9, 1.0), (1.0, 1.0, 1.0)):
        values = gain(size, 0.5, veil)
        result = limited(images, values, 0.0, 0.04)
        assert result[0, grid.VEIL] == np.float32(veil)
        left = result[:, grid.GLOBAL :] + result[:, grid.EXPOSURE]
        assert least <= left.min() / size <= left.max() / size <= most
        np.testing.assert_array_equal(limited(images, values, 0.0, 0.0), values)
    black = np.zeros_like(images)
    assert np.isfinite(limited(black, values, 0.08, 0.04, 0.25)).all()


@pytest.mark.parametrize(
    ("clipped", "dark", "expected"), [(0, 0, 0.0), (3, 0, 0.464), (5, 0, 1.0), (8, 24, 0.0)]
)
@pytest.mark.parametrize("size", [-0.3, -2.0])
def test_what_is_over_exposed_and_has_no_shade_may_be_darkened_a_little(
    clipped, dark, expected, size
):
    """Of 48 cells so many are white, and so many dark; of a darkening at most 0.2 is left."""
    images = np.full((1, 32, 24, 3), 0.6, np.float32)
    images[:, : 4 * clipped, :4] = 1.0
    images.reshape(1, 8, 4, 6, 4, 3)[:, :, :, 6 - dark // 8 :] = 0.1
    whole = -np.log(toned(images, gain(size)).mean() / images.mean())
    share = 0.2 * (1 - np.exp(-whole / 0.2)) / whole
    left = limited(images, gain(size), 0.0, 0.04)[:, grid.GLOBAL :] / size
    np.testing.assert_allclose(left, expected * share, atol=0.01)


@pytest.mark.parametrize(
    ("lift", "veil", "white", "least", "most"),
    [
        (0.1, 0.0, True, 0.0, 0.03),
        (0.26, 0.0, True, 0.61, 0.65),
        (0.5, 0.0, True, 0.999, 1.001),
        (0.1, 0.0, False, 0.35, 0.37),
        (0.26, 0.0, False, 0.74, 0.78),
        (0.1, 0.02, True, 0.3, 0.8),
        (0.1, 0.1, True, 0.999, 1.001),
    ],
)
@pytest.mark.parametrize("darkening", [0.0, 0.04])
def test_a_slight_lift_is_left_out_unless_a_veil_is_taken_off(
    lift, veil, white, least, most, darkening
):
    level, share = 0.3, 1 / 64
    clear = np.full((1, 32, 32, 3), level, np.float32)
    clear[:, :4, :4] = 1.0 if white else level
    mean = share * clear[0, 0, 0, 0] + (1 - share) * level
    after = level + mean * (np.exp(lift) - 1) / (1 - share if white else 1.0)
    size = np.log(after / (1 - after) * (1 - level) / level)
    images = veil + clear * (1 - veil)
    left = limited(images, gain(size, veil=veil), 0.0, darkening, 0.26)[0, -1] / size
    assert least <= left <= most
    assert limited(images, gain(size, veil=veil), 0.0)[0, -1] == np.float32(size)


@pytest.mark.parametrize(("darkening", "left"), [(0.0, 1.0), (0.04, 0.0)])
def test_a_tone_that_may_darken_does_so_under_a_least_lift(darkening, left):
    images = np.full((1, 32, 32, 3), 0.6, np.float32)
    images[:, :2, :8] = 1.0
    share = limited(images, gain(-1.0), 0.0, darkening, 0.26)[0, -1] / -1.0
    assert share == pytest.approx(left, abs=1e-3)


@pytest.mark.parametrize(
    ("level", "bright", "share"),
    [(2, 0, 0.0), (3, 0, 0.0), (5.5, 0, 0.5), (8, 0, 1.0), (1, 9, 1.0), (9, 0, 1.0)],
)
def test_where_there_is_nothing_to_be_seen_nothing_is_lifted(level, bright, share):
    """Of levels of 255; a hundredth of the cells may be brighter."""
    images = np.full((1, 80, 80, 3), level / 255, np.float32)
    images[:, :8, :8] = max(level, bright) / 255
    left = limited(images, gain(2.0, veil=0.01), 0.0, 0.04, 0.31)
    assert left[0, -1] / 2.0 == pytest.approx(share, abs=1e-3)
    assert left[0, grid.VEIL] / 0.01 == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize(("contrast", "share"), [(0.1, 0.0), (0.185, 0.5), (0.3, 1.0)])
def test_what_is_dark_and_not_flat_is_lifted(contrast, share):
    """As a picture of 16 bits may be of which nothing is brighter than a level of 8 bits."""
    images = np.full((1, 32, 32, 3), (1 - contrast) / 255, np.float32)
    images[:, 16:] = (1 + contrast) / 255
    left = limited(images, gain(2.0), 0.0, 0.04, 0.31)
    assert left[0, -1] / 2.0 == pytest.approx(share, abs=1e-2)


def test_what_is_over_exposed_is_not_brightened_slightly():
    images = np.full((1, 32, 32, 3), 0.4, np.float32)
    images[:, :8] = 1.0
    assert limited(images, gain(0.4), 0.0, 0.04, 0.26)[0, -1] < 0.15 * 0.4
    images[:, 8:] = 0.6
    assert -0.4 < limited(images, gain(-0.4), 0.0, 0.04, 0.26)[0, -1] < -0.2


def test_what_a_tone_loses_has_no_step_where_it_begins_to_brighten():
    """Of gains from a little below 1 to a little above, in a picture that is partly clipped."""
    images = 0.6 * np.ones((1, 32, 32, 3), np.float32)
    images[:, :8, :16] = 1.0
    made = []
    for size in np.linspace(-0.1, 0.1, 81):
        values = limited(images, gain(size), 0.0, 0.04, 0.25)
        made.append(toned(images, values).mean())
    assert np.ptp(made) > 0.005
    assert np.abs(np.diff(made)).max() < 0.25 * np.ptp(made)


def half_lit(bright=0.9, dark=0.1, share=0.5):
    """A sky, and what is dark below it."""
    image = np.full((1, 64, 64, 3), dark, np.float32)
    image[:, : round(64 * share)] = bright
    return image


def shaded(image, tone=0.0, most=1.6):
    """Return a picture after limits and shade of a tone of one gain, and after the limits alone."""
    values, slight = DeadZone(0.08, 0.04, 0.25)([image, gain(tone)])
    plain = toned(image, np.asarray(values))
    values = Shade()([image, values, slight])
    return np.asarray(LiftedShade(most)([plain, values])), plain


def test_the_shade_of_a_picture_with_much_light_is_lifted():
    image = half_lit()
    image[:, -4:-2], image[:, -2:] = 0.01, 0.0
    lifted, _ = shaded(image)
    assert 1.4 < lifted[0, 40, 8, 0] / image[0, 40, 8, 0] < 1.6
    np.testing.assert_allclose(lifted[:, :32], image[:, :32], atol=1e-5)
    assert 1.0 < lifted[0, -3, 8, 0] / image[0, -3, 8, 0] < 1.1
    np.testing.assert_array_equal(lifted[:, -2:], 0.0)
    np.testing.assert_allclose(shaded(image, most=1.0)[0], image, atol=1e-5)


def test_shade_keeps_its_hue_and_black_its_place():
    image = half_lit()
    image[:, 32:] = (0.12, 0.06, 0.03)
    image[:, 60:] = (-0.01, 0.0, 0.02)  # What a network makes is not clipped yet.
    lifted, _ = shaded(image, tone=0.0)
    factor = lifted[0, 40, 8] / image[0, 40, 8]
    assert factor.min() > 1.4
    np.testing.assert_allclose(factor, factor[0], rtol=1e-4)
    values = np.zeros((1, grid.PARAMETERS), np.float32)
    values[:, grid.SHADE] = 1.0
    made = np.asarray(LiftedShade(1.6)([image, values]))
    assert made[0, 62, 8, 0] < 0.0 < made[0, 62, 8, 2]


@pytest.mark.parametrize("most", [1.6, 2.0])
def test_brighter_stays_brighter_where_shade_is_lifted(most):
    ramp = np.linspace(0.0, 1.0, 256, dtype=np.float32)[None, None, :, None]
    values = np.zeros((1, grid.PARAMETERS), np.float32)
    values[:, grid.SHADE] = 1.0
    lifted = np.asarray(LiftedShade(most)([ramp * np.ones((1, 4, 1, 3), np.float32), values]))[0, 0]
    steps = np.diff(lifted[:, 0]) * 255
    assert 0.0 < steps.min() < steps.max() < 2.5
    gains = lifted[1:, 0] / ramp[0, 0, 1:, 0]
    assert gains.max() == pytest.approx(most, abs=1e-3)


@pytest.mark.parametrize(
    ("image", "tone"),
    [
        (half_lit(share=1.0), 0.0),
        (half_lit(share=0.0), 0.0),
        (half_lit(share=0.95), 0.0),
        (half_lit(share=0.1), 0.0),
        (half_lit(bright=0.5), 0.0),
        (half_lit(dark=0.4), 0.0),
        (half_lit(bright=0.4, dark=0.02), 2.0),
    ],
)
def test_nothing_else_is_lifted(image, tone):
    """No dark room, no snow, no night with lamps, and nothing that the tone has lifted."""
    np.testing.assert_allclose(*shaded(image, tone), atol=1e-5)
