"""The learned rivals of Table 1 as models."""

import keras
import numpy as np
import pytest

from neid_tf import models
from neid_tf.inference.enhance import enhance
from neid_tf.models import glad, kind, pretrained
from tests.conftest import picture

every_rival = pytest.mark.parametrize("name", models.RIVALS)


@pytest.fixture(scope="module")
def small():
    """Make each rival with four filters."""
    keras.utils.set_random_seed(3)
    return {name: models.build(name, filters=4) for name in models.RIVALS}


@pytest.mark.parametrize(
    ("name", "count"), [("retinexnet", 444_613), ("glad", 931_523), ("kind", 8_016_008)]
)
def test_parameters_are_the_published_ones(name, count):
    assert models.build(name).count_params() == count


@every_rival
@pytest.mark.parametrize("size", [(1, 1), (13, 22), (33, 17)])
def test_any_size_goes_through(small, name, size):
    x = np.random.default_rng(0).random((2, *size, 3), np.float32)
    outputs = small[name](x)
    assert tuple(outputs["le"].shape) == x.shape
    assert np.isfinite(np.asarray(outputs["le"])).all()
    assert "image" not in outputs


@every_rival
def test_weights_come_back_from_their_file(small, name, tmp_path):
    pretrained.save(models.inference_model(small[name]), tmp_path / "w.npz", {"epochs_trained": 0})
    loaded = pretrained.load_pretrained(tmp_path / "w.npz")
    assert (loaded.name, loaded.config) == (name, small[name].config)
    assert pretrained.architecture(tmp_path / "w.npz") == name
    x = np.random.default_rng(0).random((1, 20, 28, 3), np.float32)
    np.testing.assert_allclose(loaded(x), small[name](x)["le"], atol=2e-3)


def test_a_saved_keras_model_comes_back(small, tmp_path):
    model = models.inference_model(small["kind"])
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).random((1, 20, 28, 3), np.float32)
    back = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(back(x), model(x), atol=1e-5)


def test_pictures_keep_their_size(small):
    dark, model = picture(21, 34) // 4, models.inference_model(small["glad"])
    assert enhance(dark, model).shape == dark.shape
    with pytest.raises(ValueError, match="keeps the size"):
        enhance(dark, model, scale=2)


def test_fields_of_another_kind_of_model_are_refused():
    with pytest.raises(ValueError, match="glad has no field depth"):
        models.build("glad", depth=3)
    with pytest.raises(ValueError, match="part must be one of"):
        models.Rival(architecture="glad", filters=2, part="tile")


def test_retinexnet_multiplies_its_parts(small):
    x = np.random.default_rng(0).random((1, 16, 24, 3), np.float32)
    outputs = {name: np.asarray(value) for name, value in small["retinexnet"](x).items()}
    np.testing.assert_allclose(outputs["le"], outputs["reflectance"] * outputs["relit"], rtol=1e-5)
    for name, channels in (("reflectance", 3), ("illumination", 1)):
        assert outputs[name].shape == (1, 16, 24, channels)
        assert 0 < outputs[name].min() <= outputs[name].max() < 1


def test_kind_multiplies_its_parts_and_takes_a_ratio(small):
    x = np.random.default_rng(0).random((1, 16, 24, 3), np.float32)
    graph = small["kind"].graph
    outputs = {name: np.asarray(value) for name, value in small["kind"](x).items()}
    np.testing.assert_allclose(outputs["le"], outputs["restored"] * outputs["adjusted"], rtol=1e-5)
    assert (outputs["ratio"] == kind.RATIO).all()
    adjust = graph.cut(["illumination", "ratio"], ["adjusted"])
    given = {name: outputs[name] for name in ("illumination", "ratio")}
    np.testing.assert_allclose(adjust(given)["adjusted"], outputs["adjusted"], rtol=1e-5)
    changed = adjust(given | {"ratio": outputs["ratio"] + 3})["adjusted"]
    assert np.abs(changed - outputs["adjusted"]).max() > 1e-4


def test_kind_sees_each_picture_from_black_to_white(small):
    x = np.random.default_rng(0).random((2, 16, 24, 3), np.float32)
    x[1] = 0.1 + 0.2 * x[1]
    stretched = np.asarray(small["kind"](x)["stretched"])
    for one in stretched:
        assert (one.min(), one.max()) == (0.0, pytest.approx(1.0))
    np.testing.assert_allclose(
        stretched[1], (x[1] - x[1].min()) / (x[1].max() - x[1].min()), rtol=1e-4
    )
    assert not np.asarray(small["kind"](np.zeros_like(x))["stretched"]).any()


def test_nearest_pixels():
    x = np.random.default_rng(0).random((1, 10, 7, 3), np.float32)
    found = np.asarray(glad.nearest(x, 4, 9))
    rows, columns = np.arange(4) * 10 // 4, np.arange(9) * 7 // 9
    np.testing.assert_array_equal(found, x[:, rows][:, :, columns])


def test_glad_sees_the_whole_picture(small):
    """A corner depends on the opposite one, far beyond the reach of the detail's convolutions."""
    dark = np.full((1, 96, 96, 3), 0.1, np.float32)
    changed = dark.copy()
    changed[:, 48:, 48:] = 1.0
    corners = [np.asarray(small["glad"](x)["overview"])[0, :8, :8] for x in (dark, changed)]
    assert np.abs(corners[0] - corners[1]).max() > 0
