import keras
import numpy as np
import pytest
import tensorflow as tf

from neid_tf import models
from neid_tf.models import grid, pretrained
from neid_tf.models.grid_limits import DeadZone, Shade
from neid_tf.models.grid_reader import OneColour
from neid_tf.support.errors import NeidError
from tests.conftest import picture


def batch(height=24, width=40, count=2):
    return np.stack([picture(height, width, seed) for seed in range(count)]) / np.float32(255)


def small(name, **fields):
    defaults = {"filters": 4, "depth": 2, "initializer": "he_normal"}
    return models.build(name, **(defaults | fields))


@pytest.mark.parametrize(
    ("name", "outputs", "scale"),
    [
        ("unet", {"le"}, 1),
        ("le", {"le"}, 2),
        ("le_dr", {"le", "dr"}, 2),
        ("neid", {"le", "dr"}, 2),
        ("neid_tone", {"le", "dr", "tone"}, 2),
    ],
)
@pytest.mark.parametrize("size", [(16, 24), (17, 23), (1, 1), (3, 5)])
def test_outputs_of_any_size(name, outputs, scale, size):
    result = small(name)(batch(*size))
    assert set(result) == outputs
    for key in outputs - {"tone"}:
        assert result[key].shape == (2, size[0] * scale, size[1] * scale, 3)
        assert np.isfinite(result[key]).all()


@pytest.mark.parametrize("size", [(1, 1), (21, 37), (22, 39), (24, 35)])
def test_sides_that_levels_do_not_halve_are_filled_with_their_last_pixels(size):
    model = small("le", convolutions=1)
    pictures = batch(*size)
    rest = [(0, -side % 4) for side in size]
    filled = np.pad(pictures, [(0, 0), *rest, (0, 0)], mode="edge")
    height, width = (2 * side for side in size)
    expected = model.predict_on_batch(filled)["le"][:, :height, :width]
    np.testing.assert_allclose(model.predict_on_batch(pictures)["le"], expected, atol=1e-6)


def test_parameter_counts_of_the_paper():
    assert models.build("paper").count_params() == 53_197_784
    assert models.inference_model(models.build("paper")).count_params() == 41_002_380
    # The classic U-net of 64 filters with RGB in and out.
    assert models.build("unet").count_params() == 31_031_875


@pytest.mark.parametrize("name", ["neid", "neid_grid"])
def test_convolutions_of_a_level(name):
    def count(convolutions):
        model = small(name, convolutions=convolutions)
        pictures = {"image": batch(16, 16), "picture": batch(32, 32)}
        assert model(pictures if name == "neid_grid" else pictures["image"])  # It runs.
        kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        return sum(layer.kernel_size == (3, 3) for layer in kernels)

    # Two levels of the encoder, the bottleneck, two levels of each decoder; and the refinement.
    assert count(2) - count(1) == count(3) - count(2) == {"neid": 7, "neid_grid": 8}[name]


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_a_step_up_of_one_tap_is_the_same_before_and_behind_the_enlarging(size):
    two, one = small("le"), small("le", up_kernel=1)
    for layer in two.layers:
        weights = layer.get_weights()
        if layer.name.endswith("_up_conv"):
            weights[0][0, 1] = weights[0][1] = 0.0
            one.get_layer(layer.name).set_weights([weights[0][:1, :1], weights[1]])
            layer.set_weights(weights)
        elif weights:
            one.get_layer(layer.name).set_weights(weights)
    pictures = batch(*size)
    np.testing.assert_allclose(one(pictures)["le"], two(pictures)["le"], atol=1e-6)


def test_pruned_model_is_the_light_stream_bit_for_bit():
    for name, fields in [("le_dr", {}), ("neid", {}), ("neid_tone", {"fusion": "all"})]:
        model = small(name, **fields)
        pruned = models.inference_model(model)
        x = batch(21, 34)
        np.testing.assert_array_equal(pruned(x), model(x)["le"])
        assert not [layer.name for layer in pruned.layers if layer.name.startswith("dr_decoder")]


def operations(model, size=64):
    """Count the floating-point operations of a forward pass."""
    from neid_tf.benchmarks.costs import count_operations

    return count_operations(model, size, size)


def test_pruning_saves_the_detail_decoder():
    model = small("neid", filters=8, depth=3)
    pruned = models.inference_model(model)
    saved = model.count_params() - pruned.count_params()
    decoder = sum(
        layer.count_params()
        for layer in model.layers
        if layer.name.startswith(("dr_decoder", "dr_head"))
    )
    assert saved == decoder == 48_084
    assert operations(pruned) < 0.70 * operations(model)
    # Without fusing, the whole detail branch goes: what is left costs what LE alone costs.
    without = models.inference_model(small("le_dr", filters=8, depth=3))
    assert operations(without) == operations(small("le", filters=8, depth=3))


@pytest.mark.parametrize("name", ["unet", "le", "le_dr", "neid", "neid_tone"])
def test_keras_file_round_trip(name, tmp_path):
    model, x = small(name), batch()
    for part in (model, models.inference_model(model)):
        part.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        a, b = (m(x) if m.part == "inference" else m(x)["le"] for m in (part, loaded))
        np.testing.assert_array_equal(a, b)
        assert loaded.config == part.config


@pytest.mark.parametrize("fusion", ["bottleneck", "all"])
def test_context_and_tile_make_the_whole(fusion):
    model = small("neid_tone", fusion=fusion)
    x = batch(20, 28)
    context, tile = models.as_part(model, "context"), models.as_part(model, "tile")
    vectors = {name: np.asarray(v) for name, v in context(x).items()}
    assert set(vectors) == {"tone_parameters", "ff_squeeze"}
    np.testing.assert_allclose(tile({"image": x} | vectors), model(x)["le"], atol=1e-6)


def test_training_part_takes_the_thumbnail_from_outside():
    model = small("neid_tone")
    half, training = batch(), models.as_part(model, "training")
    x = np.concatenate([half, half[:, :, ::-1]], axis=2)  # its own mirror image
    thumbnail = np.asarray(model.get_layer("thumbnail")(x))
    given = training({"image": x, "thumbnail": thumbnail})
    np.testing.assert_allclose(given["le"], model(x)["le"], atol=1e-5)
    other = training({"image": x, "thumbnail": thumbnail[::-1]})
    assert np.abs(np.asarray(other["tone"]) - np.asarray(given["tone"])).max() > 1e-3


def test_training_has_no_dead_zone():
    model = small("neid_grid", mirrored=False, tone_dead_zone=1.0)
    x, training = batch(), models.as_part(model, "training")
    thumbnail = np.asarray(model.get_layer("thumbnail")(x))
    told = {"image": x, "thumbnail": thumbnail, "box": [[0.0, 0.0, 1.0, 1.0]] * len(x)}
    told["picture"] = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    read = training({name: np.asarray(value, np.float32) for name, value in told.items()})
    read = np.asarray(read["tone_parameters"])
    limits = model.config.tone_darkening, model.config.tone_least_lift
    zone, slight = DeadZone(1.0, *limits)([thumbnail, read])
    zone = Shade()([thumbnail, zone, slight])
    given = np.asarray(models.as_part(model, "context")(x)["tone_parameters"])
    np.testing.assert_allclose(given, zone, atol=1e-5)
    assert np.abs(given - read).max() > 1e-3


def test_the_tone_reads_what_is_nearly_black_as_the_field_says():
    x = np.zeros((1, 32, 32, 3), np.float32)
    x[:, 16:] = batch(16, 32)[:1]
    sent = np.maximum(x, np.array([1, 1, 0], np.float32) / 255)
    apart = []
    for level in (0.0, 2.0):
        model = small("neid_grid", tone_black=level, tone_least_lift=0.0, tone_shade=1.0)
        read = models.as_part(model, "tone")
        one, other = (np.asarray(read(pixels)["tone_parameters"]) for pixels in (x, sent))
        apart.append(np.abs(one - other).max())
    assert apart[1] < 0.5 * apart[0]


def test_a_picture_under_a_veil_is_read_as_it_is_without():
    x = np.random.default_rng(0).uniform(0.0, 0.6, (1, 128, 128, 3)).astype(np.float32)
    apart = []
    for share in (0.0, 1.0):
        read = models.as_part(small("neid_grid", tone_veil=share, tone_dead_zone=0.0), "tone")
        one, other = (np.asarray(read(given)["tone_parameters"]) for given in (x, 0.2 + 0.8 * x))
        apart.append(np.abs(np.delete(one - other, grid.VEIL, axis=1)).max())
        assert other[0, grid.VEIL] == pytest.approx(share * (0.2 - 5 / 255), abs=0.01)
    assert apart[1] < 0.25 * apart[0]


def test_the_correction_for_gray_pictures_leaves_those_in_colour():
    model = small("neid_grid", tone_dead_zone=0.0, tone_gray=4)
    read, x = models.as_part(model, "tone"), batch()
    gray = np.repeat(x.mean(axis=-1, keepdims=True), 3, axis=-1)
    shades = [x, gray, gray + 0.005 * (x - gray), gray + 0.1 * (x - gray)]
    before = [np.asarray(read(given)["tone_parameters"]) for given in shades]
    model.get_layer("tone_gray2").set_weights([np.full((4, 128), 9.0), np.full(128, 9.0)])
    after = [np.asarray(read(given)["tone_parameters"]) for given in shades]
    apart = [np.abs(one - other).max() for one, other in zip(before, after, strict=True)]
    assert apart[0] < 1e-6
    assert min(apart[1:3]) > 1e-3
    assert apart[3] < apart[1]


def test_a_picture_with_a_cast_is_of_one_colour_and_one_of_two_colours_is_not():
    gray = np.random.default_rng(0).uniform(0.05, 0.6, (1, 64, 64, 1)).astype(np.float32)
    cast = np.float32([1.5, 1.0, 0.5]) * gray
    level_off = 0.02 * gray + np.float32([0, 1, 2]) / 255  # As a codec's rounding of chroma.
    two = np.where(np.arange(64)[:, None] < 32, cast, np.repeat(gray, 3, axis=-1))
    shares = OneColour()(np.concatenate([np.repeat(gray, 3, axis=-1), cast, level_off, two]))
    np.testing.assert_allclose(np.asarray(shares)[:, 0], [1.0, 1.0, 1.0, 0.0], atol=1e-3)


def test_tone_is_the_mean_for_a_picture_and_its_mirror_image():
    model = small("neid_tone")
    x, training = batch(), models.as_part(model, "training")
    thumbnail = np.asarray(model.get_layer("thumbnail")(x))
    sides = [
        np.asarray(training({"image": x, "thumbnail": side})["tone_parameters"])
        for side in (thumbnail, thumbnail[:, :, ::-1])
    ]
    read = models.as_part(model, "context")
    np.testing.assert_allclose(read(x)["tone_parameters"], np.mean(sides, axis=0), atol=1e-5)
    mirrored = read(x[:, :, ::-1])["tone_parameters"]
    np.testing.assert_allclose(mirrored, read(x)["tone_parameters"], atol=1e-5)
    assert np.abs(sides[0] - sides[1]).max() > 1e-4


def test_every_weight_gets_a_gradient():
    # By chance all units of the fusing vector may be dead.
    keras.utils.set_random_seed(0)
    for name in ("unet", "le", "le_dr", "neid", "neid_tone"):
        model = small(name, fusion="all") if name.startswith("neid") else small(name)
        x = tf.constant(batch(32, 32))
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_mean(tf.square(y - 0.3)) for y in model(x).values())
        for weight, gradient in zip(
            model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
        ):
            assert gradient is not None, f"{name}: {weight.path}"
            assert np.isfinite(gradient).all(), f"{name}: {weight.path}"
            assert np.abs(gradient).max() > 0, f"{name}: {weight.path}"


def test_fusing_follows_the_detail_features():
    """LE's output depends on DR's features in `neid`, and not in `le_dr`."""
    for name, depends in [("le_dr", False), ("neid", True)]:
        model, x = small(name), batch()
        before = np.asarray(model(x)["le"])
        layer = model.get_layer("dr_features")
        layer.set_weights([weight + 0.1 for weight in layer.get_weights()])
        assert (np.abs(np.asarray(model(x)["le"]) - before).max() > 1e-6) == depends


def test_paper_initialiser():
    kernel = models.build("paper").get_layer("encoder_bottleneck_conv2").kernel
    assert abs(float(np.std(kernel)) - 0.02) < 2e-4
    assert not np.any(models.build("le", filters=4).get_layer("encoder1_conv1").bias)


@pytest.mark.parametrize("name", ["neid", "neid_tone"])
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_mixed_precision(name, half):
    keras.mixed_precision.set_global_policy(f"mixed_{half}")
    try:
        model = small(name)
        outputs = model(batch())
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.get_layer("encoder1_conv1").compute_dtype == half
    assert {keras.backend.standardize_dtype(y.dtype) for y in outputs.values()} == {"float32"}
    assert all(np.isfinite(y).all() for y in outputs.values())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"filters": 0}, "filters"),
        ({"fusion": "none"}, "fusion"),
        ({"detail_target": "toned"}, "tone"),
        ({"architecture": "unet", "tone": True}, "unet"),
        ({"width": 3}, "width"),
        ({"tone": "grid"}, "tone must be True or False, not 'grid'"),
        ({"mirrored": "no"}, "mirrored must be True or False, not 'no'"),
        ({"depth": True}, "depth must be an integer, not True"),
        ({"filters": "16"}, "filters must be an integer, not '16'"),
        ({"filters": None}, "filters must be an integer, not None"),
        ({"filters": 8.5}, "filters must be an integer, not 8.5"),
        ({"fusion": 1}, "fusion must be a text, not 1"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        models.build("neid", **fields)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("le", {"fusion": "all"}, "fusion=all has no effect with architecture=le"),
        ("unet", {"detail_target": "reference"}, "detail_target=reference has no effect"),
        ("neid", {"tone_kind": "grid"}, "tone_kind=grid has no effect with tone=False"),
        ("neid", {"mirrored": False}, "mirrored=False has no effect with tone=False"),
        ("neid_tone", {"tone_dead_zone": 0.1}, "tone_dead_zone=0.1 has no effect with tone_kind="),
        ("neid_tone", {"tone_black": 2.0}, "tone_black=2.0 has no effect with tone_kind="),
        ("neid_tone", {"tone_veil": 0.5}, "tone_veil=0.5 has no effect with tone_kind="),
    ],
)
def test_fields_without_effect_are_refused(name, fields, message):
    with pytest.raises(NeidError, match=message):
        models.model_config(name, **fields)


def test_what_a_variant_has_may_lose_its_effect():
    config = models.model_config("neid_tone", architecture="le")
    assert (config.architecture, config.tone, config.detail_target) == ("le", True, "low")
    config = models.model_config("neid_grid", tone=False, detail_target="low", refinement=0)
    assert (config.tone, config.tone_kind, config.tone_dead_zone) == (False, "curve", 0.0)


def test_weights_from_before_may_hold_fields_without_effect(tmp_path):
    source = small("neid_tone", architecture="le")
    pretrained.save(source, tmp_path / "w.npz", {})
    with np.load(tmp_path / "w.npz") as file:
        arrays = dict(file)
    low, toned = (f'"detail_target": "{target}"' for target in ("low", "toned"))
    header = str(arrays["header"])
    assert low in header
    arrays["header"] = np.array(header.replace(low, toned))
    np.savez(tmp_path / "w.npz", **arrays)
    assert pretrained.load_pretrained(tmp_path / "w.npz").config == source.config


def test_unknown_model():
    with pytest.raises(ValueError, match="'nide'"):
        models.build("nide")


@pytest.mark.parametrize("model", ["neid", None, np.sqrt])
def test_a_part_of_what_is_no_network(model):
    with pytest.raises(NeidError, match=r"neid_tf.load_pretrained returns, not ('neid'|None|<)"):
        models.inference_model(model)


def test_unknown_part():
    with pytest.raises(ValueError, match="'half'"):
        models.as_part(small("le"), "half")
    enhancing = pretrained.load_pretrained("neid_s")
    with pytest.raises(NeidError, match=r"layers of whole, such as 'dr_.* are not in inference"):
        models.as_part(enhancing, "whole")  # Its file holds no detail branch.


@pytest.mark.parametrize("fusion", ["bottleneck", "all"])
def test_load_matching_into_a_wider_network_changes_nothing_yet(fusion):
    source = small("neid_tone", filters=8, fusion=fusion)
    target = small("neid_tone", filters=24, fusion=fusion)
    models.load_matching(source, target)
    images = np.random.default_rng(0).random((1, 21, 30, 3)).astype("float32")
    one, other = (model.predict_on_batch(images) for model in (source, target))
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)
    fresh = target.get_layer("encoder1_conv2").get_weights()[0]
    assert (fresh[:, :, :, 1::3] != 0).any()


def test_load_matching_takes_the_refinement_of_a_file(tmp_path):
    fields = {"filters": 4, "refinement": 4, "mirrored": False}
    source, target = (models.build("neid_grid", **fields) for _ in range(2))
    pretrained.save(source, tmp_path / "source.npz")
    models.load_matching(pretrained.load_pretrained(tmp_path / "source.npz"), target)
    for name in ("refine_conv1", "refine_head", "le_head"):
        given, expected = (net.get_layer(name).get_weights()[0] for net in (target, source))
        np.testing.assert_allclose(given, expected, atol=1e-3)


def test_the_refinement_of_another_width_starts_afresh():
    """Its first layer takes 12 channels beside those that are wider: 24 is half of 48 by chance."""
    source, target = (small("neid_grid", filters=width, refinement=4) for width in (12, 36))
    assert "refine_conv1" in models.load_matching(source, target)
    assert models.load_matching(source, small("neid_grid", filters=12, refinement=4)) == []


def test_load_matching_takes_what_fits():
    source, target = small("neid_tone", filters=6), small("neid_tone", fusion="all")
    before = target.get_layer("encoder1_conv1").get_weights()
    models.load_matching(source, target)
    for name in ("tone_dense", "tone_head"):
        for a, b in zip(
            source.get_layer(name).get_weights(), target.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(before, target.get_layer("encoder1_conv1").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="no layer of le fits neid_tone"):
        models.load_matching(small("le", filters=5), target)
