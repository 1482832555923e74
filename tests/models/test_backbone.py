import keras
import numpy as np
import pytest
import skimage.data

from neid_tf import models
from neid_tf.models import backbone


def thumbnail(picture):
    return models.area_resize(picture[None] / np.float32(255), backbone.SIDE)


def described(thumbnails):
    image = keras.Input((backbone.SIDE, backbone.SIDE, 3))
    model = keras.Model(image, backbone.features(image))
    return [np.asarray(part) for part in model(thumbnails)]


def test_auto_exposure_brings_the_mean_logit_to_gray():
    x = np.random.default_rng(0).uniform(0.02, 0.2, (2, 8, 9, 3)).astype("float32")
    exposed, log_gain = (np.asarray(part) for part in backbone.AutoExposure()(x))
    logits = np.log(exposed / (1 - exposed)).mean((1, 2, 3))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), 0.42, rtol=1e-4)
    added = np.log(exposed / (1 - exposed)) - np.log(x / (1 - x))
    np.testing.assert_allclose(
        added, np.broadcast_to(log_gain[..., None, None], x.shape), atol=1e-3
    )


def test_auto_exposure_of_black_white_and_bright():
    pictures = np.stack([np.full((4, 4, 3), v, np.float32) for v in (0.0, 1.0, 0.7)])
    exposed, log_gain = (np.asarray(part) for part in backbone.AutoExposure()(pictures))
    np.testing.assert_allclose(exposed, pictures, atol=1e-6)
    assert 5 < log_gain[0, 0] < 6
    assert log_gain[1, 0] == log_gain[2, 0] == 0


def test_features_tell_pictures_apart_better_than_exposures():
    """The same scene at two exposures is nearer than two scenes at the same exposure."""
    cat, cup = skimage.data.chelsea(), skimage.data.coffee()
    scenes = [thumbnail(p) ** 2 * share for p in (cat, cup) for share in (0.3, 0.15)]
    values, _ = described(np.concatenate([np.asarray(scene) for scene in scenes]))
    assert values.shape == (4, 861)
    seen = values[:, :800]

    def distance(a, b):
        return np.linalg.norm(seen[a] - seen[b])

    assert distance(0, 1) < 0.5 * distance(0, 2)
    assert distance(2, 3) < 0.5 * distance(1, 3)


def test_features_are_standard_on_dark_pictures():
    values, _ = described(np.asarray(thumbnail(skimage.data.coffee())) ** 2 * 0.1)
    assert np.abs(values).mean() < 3


def test_backbone_is_frozen_and_stored_exactly():
    model = models.build("neid_tone", filters=4, depth=1)
    names = {name.partition("/")[0] for name in backbone.stored()}
    frozen = [layer for layer in model.layers if layer.name in names]
    assert len(frozen) == 46
    for layer in frozen:
        assert not layer.trainable_weights
        for weight in layer.weights:
            np.testing.assert_array_equal(weight, backbone.stored()[weight.path])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_flat_pictures_have_finite_features(value):
    values, log_gain = described(np.full((1, 128, 128, 3), value, np.float32))
    assert np.isfinite(values).all()
    assert np.isfinite(log_gain).all()
