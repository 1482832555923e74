import ast
import itertools
from pathlib import Path

import numpy as np
import pytest

import neid_tf
from neid_tf.pixels import samples

TYPES = (np.uint8, np.uint16, np.float32, np.float64)
LEVELS = np.arange(65536, dtype=np.uint16)


@pytest.mark.parametrize(("source", "target"), itertools.product(TYPES, TYPES))
def test_white_and_black_and_middle_become_each_others(source, target):
    top = samples.white(source)
    ends = np.array([[0, top]], source)
    assert samples.to_type(ends, target).tolist() == [[0, samples.white(target)]]
    assert samples.to_type(ends, target).dtype == target
    ramp = np.linspace(0, top, 200).astype(source)
    exact = ramp.astype(float) / top * samples.white(target)
    error = np.abs(samples.to_type(ramp, target) - exact).max()
    assert error <= (0.5 if np.dtype(target).kind == "u" else 1e-7)


def test_16_bits_are_rounded_to_8_and_8_come_back():
    assert samples.to_type(LEVELS, np.uint8).tolist() == np.floor(LEVELS / 257 + 0.5).tolist()
    small = np.arange(256, dtype=np.uint8)
    for way in (np.uint16, np.float32):
        back = samples.to_type(samples.to_type(small, way), np.uint8)
        assert back.tolist() == small.tolist()
    assert samples.to_type(samples.to_float(LEVELS), np.uint16).tolist() == LEVELS.tolist()


def test_what_has_the_type_already_is_not_copied():
    for dtype in TYPES:
        array = np.zeros((2, 3), dtype)
        assert samples.to_type(array, dtype) is array
    floats = np.zeros(3, np.float32)
    assert samples.to_float(floats) is floats


def test_quantise_clips_and_rounds_and_writes_where_it_is_told():
    values = np.array([-7.0, 0.4, 0.6, 254.5, 1e9])
    assert samples.quantise(values, np.uint8).tolist() == [0, 0, 1, 254, 255]
    out = np.zeros(5, np.uint8)
    assert samples.quantise(values, np.uint8, out) is out
    assert out.tolist() == [0, 0, 1, 254, 255]
    assert samples.quantise(values / 10, np.float32).max() == 1


def test_gray_is_luminance_and_exact_for_gray():
    for dtype in (np.uint8, np.uint16):
        gray = np.repeat(LEVELS.astype(dtype)[:, None, None], 3, axis=2)
        assert (samples.to_gray(gray) == gray[..., :1]).all()
        colours = np.random.default_rng(0).integers(0, samples.white(dtype), (70, 9, 3), dtype)
        expected = np.rint(colours @ np.array([0.299, 0.587, 0.114]))
        np.testing.assert_array_equal(samples.to_gray(colours)[..., 0], expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_over_white(dtype):
    top = samples.white(dtype)
    colours = np.full((40, 5, 3), np.dtype(dtype).type(0.2 * top), dtype)
    alpha = np.repeat(np.linspace(0, top, 40).astype(dtype)[:, None], 5, axis=1)
    seen = samples.over_white(colours, alpha)
    assert seen.dtype == dtype
    assert (seen[0] == top).all()
    assert (seen[-1] == colours[-1]).all()
    assert (np.diff(seen[:, 0, 0].astype(float)) < 0).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint32, bool, np.complex64])
def test_other_types_have_no_white(dtype):
    with pytest.raises(ValueError, match=r"uint8, uint16 or float in \[0, 1\], not"):
        samples.white(dtype)


def test_what_stands_for_white_is_said_once():
    """No module but this one scales samples by 255 or 65535 and rounds them."""
    package = Path(neid_tf.__file__).parent
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        if path.name == "samples.py" or path.parent.name in ("baselines", "models"):
            continue
        numbers = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        assert "iinfo" not in path.read_text("utf-8"), path
        if 65535 in numbers:
            assert path.parent.name in ("pictures", "commands"), path
