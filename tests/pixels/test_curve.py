"""The curve before a codec: it grows, it is undone, and it is chosen from the picture."""

import numpy as np
import pytest

from neid_tf.pixels.curve import Curve

CURVES = (Curve(), Curve(1.0, 2.0), Curve(7.5, 1.0), Curve(40.0, 2.2), Curve(255.0, 8.0))


@pytest.mark.parametrize("curve", CURVES)
def test_what_is_lifted_is_undone(curve):
    dark = np.linspace(0.0, 1.0 / curve.gain, 1000, dtype=np.float32)
    lifted = curve.lifted(dark)
    assert (lifted[0], lifted[-1]) == (0.0, pytest.approx(1.0))
    assert (np.diff(lifted) > 0).all()
    assert np.abs(curve.undone(lifted) / 65535 - dark).max() < 1 / 65535


@pytest.mark.parametrize("curve", CURVES)
def test_levels_are_undone_in_16_bits_as_floats_are(curve):
    levels = np.arange(256, dtype=np.uint8)
    undone = curve.undone(levels)
    assert undone.dtype == np.uint16
    assert (np.diff(undone.astype(int)) >= 0).all()
    np.testing.assert_array_equal(undone, curve.undone(levels / 255))
    np.testing.assert_array_equal(undone, curve.undone(levels.astype(np.uint16) * 257))


@pytest.mark.parametrize(
    ("gain", "gamma"),
    [(0.5, 1.0), (1.0, 0.9), (1.0, 9.0), (np.nan, 2.0), (np.inf, 2.0), (1e6, 2.0)],
)
def test_other_curves_are_refused(gain, gamma):
    with pytest.raises(ValueError, match="must be from 1 to"):
        Curve(gain, gamma)


@pytest.mark.parametrize("brightest", [0.0, 1e-6, 0.013, 0.4, 0.99999, 1.0])
def test_the_brightest_sample_becomes_white_and_nothing_is_cut(brightest):
    pixels = np.full((8, 8, 3), brightest / 2, np.float32)
    pixels[2, 3, 1] = brightest
    curve = Curve.for_picture(pixels)
    assert curve.lifted(pixels).max() == pytest.approx(1.0 if brightest > 1e-4 else 0.0, abs=0.3)
    assert np.abs(curve.undone(curve.lifted(pixels)) / 65535 - pixels).max() < 1 / 65535


def test_the_darker_a_picture_is_the_more_it_is_lifted():
    ramp = np.linspace(0.0, 1.0, 3 * 64 * 48, dtype=np.float32).reshape(64, 48, 3)
    gammas = [Curve.for_picture(ramp**power).gamma for power in (0.8, 1.0, 1.5, 2.0, 4.0)]
    assert (gammas[0], gammas[-1]) == (1.0, 2.0)
    assert gammas == sorted(gammas)
    assert gammas[2] == pytest.approx(1.5, abs=0.1)  # Which has a mean of a half again.
