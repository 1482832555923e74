from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from neid_tf.evaluation import niqe
from neid_tf.pixels.samples import luminance

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


def sample(name, side="high"):
    return luminance(cv2.imread(str(SAMPLES / side / f"{name}.png"))[..., ::-1])


@pytest.mark.parametrize(
    ("side", "name", "expected"),
    [
        ("high", "astronaut", 4.0496),
        ("high", "coffee", 4.6252),
        ("high", "rocket", 11.2760),
        ("low", "astronaut", 4.9068),
        ("low", "coffee", 6.3727),
        ("low", "rocket", 11.6146),
    ],
)
def test_niqe_agrees_with_another_implementation(side, name, expected):
    """The values are those of MMagic 1.2.0's ``niqe`` on luminance."""
    assert niqe.niqe(sample(name, side)) == pytest.approx(expected, abs=0.01)


def test_noise_and_blur_are_less_natural():
    photo = sample("astronaut")
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 25, photo.shape), 0, 255)
    assert niqe.niqe(noisy) > niqe.niqe(photo) + 1
    assert niqe.niqe(gaussian_filter(photo, 2)) > niqe.niqe(photo) + 1


def test_niqe_does_not_depend_on_what_exceeds_whole_blocks():
    photo = sample("coffee")
    changed = photo.copy()
    changed[192:], changed[:, 288:] = 0, 255
    assert niqe.niqe(changed) == niqe.niqe(photo)


@pytest.mark.parametrize("size", [(20, 300), (95, 95), (100, 100), (200, 300)])
def test_no_niqe_without_two_blocks_of_texture(size):
    flat = np.full(size, 80.0)
    assert niqe.score(flat) == {"niqe": None, "brightness": 80.0, "contrast": 0.0}


def test_brightness_and_contrast():
    scores = niqe.score(np.array([[10.0, 30.0], [10.0, 30.0]]))
    assert (scores["brightness"], scores["contrast"]) == (20.0, 10.0)


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda y: np.stack([y, y, y], axis=2), r"H×W, not \(\d+, \d+, 3\)"),
        (lambda y: y / 255, "where white is 255"),
        (lambda y: y * 257, "to 64[0-9]+"),
        (lambda y: y - 300, "from -"),
        (lambda y: np.where(y > 100, np.nan, y), "nan"),
        (lambda y: y[:0], r"\(0, "),
    ],
)
def test_what_is_no_luminance_is_refused(convert, message):
    for score in (niqe.niqe, niqe.score):
        with pytest.raises(ValueError, match=message):
            score(convert(sample("rocket")))


def test_black_and_white_pictures_are_scored():
    for value in (0, 1, 255):
        pixels = np.random.default_rng(0).integers(0, 2, (200, 200, 3)) if value == 1 else value
        plane = luminance(np.broadcast_to(np.asarray(pixels, np.uint8), (200, 200, 3)))
        assert niqe.score(plane)["brightness"] == pytest.approx(plane.mean())
