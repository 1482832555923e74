"""The classical methods: what each paper promises, on small generated pictures."""

import ast
import pathlib

import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter

import neid_tf.baselines
from neid_tf.baselines import METHODS, bimef, crm, dong, get, lime, mf, msr, npe
from neid_tf.baselines._common import expose, solve_smoothing
from neid_tf.baselines.bimef import RATIOS
from neid_tf.baselines.mf import _brightened, _disk, _fuse, _guided_filter, _weights
from neid_tf.baselines.npe import _bi_log, _bright_pass

A, B = -0.3293, 1.1258  # CRM's and BIMEF's camera
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def dark(rng):
    """A dark, colored, textured picture with one bright edge, 64×96."""
    picture = gaussian_filter(rng.random((64, 96, 3)), (2, 2, 0))
    picture = 0.25 * (picture - picture.min()) / np.ptp(picture)
    picture[:, 60:] *= 2
    return picture


def test_registry_holds_the_seven_methods_of_table_1():
    assert set(METHODS) == {"msr", "npe", "dong", "mf", "lime", "crm", "bimef"}
    assert all(get(name) is method for name, method in METHODS.items())
    assert all(method.__name__ == name for name, method in METHODS.items())
    with pytest.raises(ValueError, match=r"'retinex'.*bimef.*npe"):
        get("retinex")


def test_package_imports_only_numpy_scipy_and_opencv():
    allowed = (
        "__future__",
        "collections",
        "cv2",
        "numpy",
        "scipy",
        "neid_tf.baselines",
        "neid_tf.support.errors",
    )
    for path in pathlib.Path(neid_tf.baselines.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert all(name.startswith(allowed) for name in names), (path.name, names)


@every_method
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (2, 3), (37, 53)])
def test_any_size_keeps_shape_and_range(method, size, rng):
    result = method(rng.random((*size, 3), np.float32))
    assert (result.shape, result.dtype) == ((*size, 3), np.float64)
    assert np.isfinite(result).all()
    assert 0 <= result.min() <= result.max() <= 1


@every_method
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (21, 34)])
def test_flat_pictures_and_gray_ones(method, size, rng):
    black, gray, white = (np.full((*size, 3), value) for value in (0.0, 0.3, 1.0))
    np.testing.assert_array_equal(method(black), black)
    np.testing.assert_allclose(method(white), white, atol=0.05)
    assert np.ptp(method(gray)) < 1e-6
    assert method(gray).min() >= 0.3 - 1e-9
    result = method(0.3 * rng.random((*size, 1)).repeat(3, axis=2))
    np.testing.assert_allclose(result, result[..., [1, 2, 0]], atol=1e-9)


@every_method
def test_brightens_the_same_way_twice_and_leaves_its_input_alone(method, dark):
    before = dark.copy()
    result = method(dark)
    assert result.mean() > 1.5 * dark.mean()
    np.testing.assert_array_equal(method(dark), result)
    np.testing.assert_array_equal(dark, before)


@every_method
@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, lambda x: x.transpose(1, 0, 2)])
def test_turned_picture_gives_turned_result(method, turn, dark):
    difference = np.abs(method(turn(dark).copy()) - turn(method(dark)))
    # MF's pyramids start counting at the top left; the solvers stop at a tolerance.
    assert difference.max() < (0.06 if method is mf else 2e-3)
    assert difference.mean() < (0.015 if method is mf else 1e-4)


@every_method
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), "uint8"),
        ([[[0.1, 0.2, 0.3]]], "list"),
        (np.zeros((4, 4)), r"\(4, 4\)"),
        (np.zeros((4, 4, 4)), r"\(4, 4, 4\)"),
        (np.zeros((0, 4, 3)), r"\(0, 4, 3\)"),
        (np.full((4, 4, 3), np.nan), "nan"),
        (np.full((4, 4, 3), 1.5), r"1\.5"),
        (np.full((4, 4, 3), -0.25), r"-0\.25"),
    ],
)
def test_bad_image_raises(method, bad, message):
    with pytest.raises(ValueError, match=message):
        method(bad)


BAD_PARAMETERS = {
    msr: {"sigmas": (), "alpha": 1.0, "clip": 0.5},
    npe: {"patch": 0},
    dong: {"omega": 1.0, "window": 6, "airlight_share": 0},
    mf: {"closing_radius": -1, "guide_radius": -2, "guide_epsilon": 0, "clip_limit": -3},
    lime: {"alpha": -1, "gamma": 1.2, "sigma": 0, "window": 4, "floor": 0},
    crm: {"strength": float("nan"), "max_ratio": 0.5, "a": 0.3, "window": 2},
    bimef: {"mu": -0.5, "ratio": 0.9, "b": -1, "strength": -2},
}


@every_method
def test_bad_parameter_raises(method):
    for name, value in BAD_PARAMETERS[method].items():
        with pytest.raises(ValueError, match=rf"{name} must.*{value}"):
            method(np.full((4, 4, 3), 0.2), **{name: value})


@pytest.mark.parametrize("method", [lime, npe, mf])
def test_channels_keep_their_ratios(method, dark):
    picture = dark + 0.05
    result = method(picture)
    kept = result.max(axis=2) < 1
    gain = (result / picture)[kept]
    assert kept.mean() > 0.9
    np.testing.assert_allclose(gain, gain[:, :1].repeat(3, axis=1), rtol=1e-9)


@pytest.mark.parametrize("method", [bimef, crm, lime])
def test_no_pixel_gets_darker_and_a_fully_lit_picture_stays(method, rng):
    picture = rng.random((40, 31, 3)) ** 2
    assert (method(picture) >= picture - 1e-12).all()
    picture[..., 1] = 1  # the largest channel, hence the illumination, is 1 everywhere
    np.testing.assert_allclose(method(picture), picture, atol=1e-9)


@pytest.mark.parametrize(
    ("method", "name", "values"),
    [
        (bimef, "mu", (0, 0.2, 0.5)),
        (bimef, "ratio", (1, 2, 4, 7)),
        (crm, "max_ratio", (1, 2, 4, 8)),
        (dong, "omega", (0, 0.3, 0.6)),
        (lime, "gamma", (0, 0.4, 0.8)),
    ],
)
def test_strength_starts_at_the_input_and_brightens(method, name, values, dark):
    results = [method(dark, **{name: value}) for value in values]
    np.testing.assert_allclose(results[0], dark, atol=1e-12)
    assert (np.diff([result.mean() for result in results]) > 0.01).all()


def test_solve_smoothing_solves_the_normal_equations(rng):
    height, width, strength = 5, 4, 0.7
    plane, weight_x = rng.random((height, width)), 9 * rng.random((height, width - 1))
    weight_y = 9 * rng.random((height - 1, width))
    steps_x = np.kron(np.eye(height), np.diff(np.eye(width), axis=0))
    steps_y = np.kron(np.diff(np.eye(height), axis=0), np.eye(width))
    system = np.eye(plane.size)
    for steps, weight in ((steps_x, weight_x), (steps_y, weight_y)):
        system += strength * steps.T @ np.diag(weight.ravel()) @ steps
    expected = np.linalg.solve(system, plane.ravel()).reshape(plane.shape)
    solved = solve_smoothing(plane, weight_x, weight_y, strength)
    np.testing.assert_allclose(solved, expected, atol=2e-3)
    assert np.abs(solved - plane).max() > 0.1


def test_exposures_compose_and_brighten(rng):
    picture = rng.random((6, 5, 3))
    twice = expose(expose(picture, 1.7, A, B), 2.3, A, B)
    np.testing.assert_allclose(twice, expose(picture, 1.7 * 2.3, A, B), rtol=1e-9)
    assert (np.diff([expose(0.2, k, A, B) for k in (1, 2, 4, 7)]) > 0.05).all()


@pytest.mark.parametrize(("value", "ratio"), [(0.05, 7), (0.25, 4), (0.5, 2), (1.0, 1)])
def test_crm_exposes_a_flat_picture_by_its_inverse_up_to_the_limit(value, ratio):
    expected = np.exp(B * (1 - ratio**A)) * value ** (ratio**A)
    np.testing.assert_allclose(crm(np.full((9, 8, 3), value)), min(expected, 1), rtol=1e-6)


def test_bimef_takes_the_exposure_of_most_entropy(dark):
    dark = dark[:50, :50]  # the size at which entropy is measured, so that nothing is resampled
    entropies = []
    for ratio in RATIOS:
        levels = np.rint(255 * np.minimum(expose(np.cbrt(dark.prod(axis=2)), ratio, A, B), 1))
        share = np.unique(levels, return_counts=True)[1] / levels.size
        entropies.append(-(share * np.log2(share)).sum())
    assert RATIOS[np.argmax(entropies)] > 1.5
    np.testing.assert_array_equal(bimef(dark), bimef(dark, ratio=RATIOS[np.argmax(entropies)]))
    bright = 1 - 0.4 * dark  # nothing below 0.5: no longer exposure is wanted
    np.testing.assert_allclose(bimef(bright), bright, atol=1e-12)


def test_dong_follows_its_formula_under_a_white_airlight():
    picture = np.array([[[0, 0, 0], [0.05, 0, 0.02], [0.1, 0.3, 0.2], [0.4, 0.1, 1], [1, 1, 1]]])
    transmission = 1 - 0.8 * (1 - picture.max(axis=2, keepdims=True))
    transmission = np.where(transmission < 0.5, 2 * transmission**2, transmission)
    expected = np.minimum(picture / transmission, 1)
    np.testing.assert_allclose(dong(picture, window=1), expected, atol=1e-12)


def test_dong_spares_the_window_around_a_light():
    picture = np.full((15, 15, 3), 0.1)
    picture[7, 7], picture[0, 0] = 0.9, 0
    spared = dong(picture)[..., 0] < dong(picture)[14, 14, 0] - 0.1
    expected = np.zeros((15, 15), bool)
    expected[4:11, 4:11] = expected[0, 0] = True
    expected[7, 7] = False  # the light itself
    np.testing.assert_array_equal(spared, expected)


def test_lime_divides_by_a_map_without_texture(dark):
    initial = dark.max(axis=2) + 0.02
    profile = np.exp(-0.5 * (np.arange(-2, 3) / 2) ** 2)
    kernel = np.outer(profile, profile) / profile.sum() ** 2
    steps = [np.diff(initial, axis=axis) for axis in (1, 0)]
    sums = [correlate(step, kernel, mode="constant") for step in steps]
    weights = [1 / (np.abs(s * step) + 1e-3) for s, step in zip(sums, steps, strict=True)]
    illumination = solve_smoothing(initial, *weights, 0.15)
    expected = np.minimum(dark / illumination[..., None] ** 0.8, 1)
    np.testing.assert_allclose(lime(dark), expected, atol=1e-9)
    np.testing.assert_allclose(lime(dark, alpha=0, gamma=1), dark / initial[..., None], atol=1e-9)
    assert np.diff(illumination, axis=0).std() < 0.5 * steps[1].std()


@pytest.mark.parametrize("color_restoration", [True, False])
def test_msr_matches_gaussian_filters(dark, color_restoration):
    levels = 255 * dark + 1
    blurs = [gaussian_filter(levels, (s, s, 0), mode="reflect", truncate=8) for s in (2, 5)]
    retinex = np.log(levels) - np.mean(np.log(blurs), axis=0) + 0.5
    if color_restoration:
        retinex *= np.log(125 * levels / levels.sum(axis=2, keepdims=True))
    low, high = np.quantile(retinex, [0.01, 0.99], axis=(0, 1))
    expected = np.clip((retinex - low) / (high - low), 0, 1)
    result = msr(dark, sigmas=(2, 5), color_restoration=color_restoration)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_msr_does_not_depend_on_the_exposure_nor_plain_msr_on_the_color_of_light(dark):
    picture, light = dark + 0.2, np.array([1.0, 0.8, 0.5])
    np.testing.assert_allclose(msr(0.7 * picture), msr(picture), atol=0.02)
    plain = [msr(lit, color_restoration=False) for lit in (picture, light * picture)]
    np.testing.assert_allclose(*plain, atol=0.03)


def test_npe_bright_pass_filter_matches_its_definition(rng):
    levels = rng.integers(20, 64, (8, 9))
    levels[0, 0] = 64  # neighbor counts are averaged over ± the brightest level / 32
    pairs, near, patch = (np.zeros((256, 260)), *(np.pad(levels, r, "symmetric") for r in (1, 2)))
    for y, x in np.ndindex(levels.shape):
        np.add.at(pairs, (levels[y, x], np.delete(near[y : y + 3, x : x + 3], 4) + 2), 1)
    affinity = sum(pairs[:, shift : shift + 256] for shift in range(5)) / 5
    result = 255 * _bright_pass(levels / 255, 5)
    for (y, x), level in np.ndenumerate(levels):
        brighter = [other for other in patch[y : y + 5, x : x + 5].ravel() if other >= level]
        weights = affinity[level, brighter] + 1e-3 * (np.array(brighter) == level)
        np.testing.assert_allclose(result[y, x], np.average(brighter, weights=weights), rtol=1e-5)


def test_npe_mapping_keeps_the_order_and_gives_a_log_shaped_histogram():
    # Weighted by log(x + 1), levels that all occur equally often have that shape already.
    even = np.arange(256).repeat(4).reshape(32, 32) / 255
    np.testing.assert_allclose(_bi_log(even), even, atol=1e-9)
    np.testing.assert_allclose(_bi_log(even / 4), even, atol=0.05)
    assert (np.diff(_bi_log(even**2 / 2).ravel()) >= 0).all()
    levels = np.array([[25, 25, 25, 255]]) / 255
    first, weights = _bi_log(levels)[0, 0], np.log1p(levels)
    share = np.log1p(np.arange(0, first, 1 / 255)).sum() / np.log1p(even[:, ::4]).sum()
    np.testing.assert_allclose(share, weights[0, :3].sum() / weights.sum(), atol=0.01)


@pytest.mark.parametrize("size", [(1, 1), (5, 4), (33, 47)])
def test_mf_fusion_reconstructs_and_mixes_by_weight(size, rng):
    version, weight = rng.random(size), rng.random(size)
    np.testing.assert_allclose(_fuse([version] * 2, [weight, 1 - weight]), version, atol=1e-12)
    mixed = _fuse([version, 1 - version], [np.full(size, 0.25), np.full(size, 0.75)])
    np.testing.assert_allclose(mixed, 0.75 - 0.5 * version)


def test_mf_parts(rng, dark):
    np.testing.assert_array_equal(_disk(1), [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    assert mf(dark, clip_limit=20).std() > 1.01 * mf(dark, clip_limit=1).std()
    guide = np.zeros((30, 40))
    guide[:, 20:] = 1
    noisy = guide + 0.1 * rng.standard_normal(guide.shape)
    assert (_guided_filter(guide, noisy, radius=2, epsilon=1e-4) - guide).std() < 0.05
    weights = _weights([np.full((3, 3), value) for value in (0.05, 0.5, 0.98)])
    np.testing.assert_allclose(sum(weights), 1)
    assert weights[1].min() > weights[2].max() > weights[0].max()
    brightened = _brightened(np.array([0.1, 0.3]))  # mean 0.2: λ = 14
    np.testing.assert_allclose(brightened, 2 / np.pi * np.arctan([1.4, 4.2]))
