"""The phases in which the learned rivals of Table 1 are trained, and their losses."""

import json
import shutil

import keras
import numpy as np
import pytest
from keras import ops

from neid_tf import models
from neid_tf.data import pairs
from neid_tf.models import pretrained
from neid_tf.models.config import PHASES
from neid_tf.support.fields import unflatten
from neid_tf.training import TrainConfig, phases, rival_trainer
from neid_tf.training import rival_losses as losses
from neid_tf.training import train as training
from tests.conftest import picture, write_pairs

EVERY_PHASE = [(rival, phase) for rival, found in phases.PHASES.items() for phase in found]
TRAINED = [("retinexnet", "decom"), ("retinexnet", "relight"), ("kind", "decom")]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return pairs.load_pairs(write_pairs(tmp_path_factory.mktemp("pairs")))


def config(train, **fields):
    values = {"crop": 32, "batch_size": 4, "epochs": 6, "learning_rate": 3e-3}
    values |= {"train": train, "validate_every": 6, "panel_every": 6}
    return unflatten(TrainConfig, values | fields)


def run(settings, loaded, workdir, model):
    held = loaded.select(lambda name: name == "6")
    rest = loaded.select(lambda name: name != "6")
    return training.train(settings, model, {"filters": 4}, rest, held, workdir, ["neid", "train"])


def history(workdir):
    return [json.loads(line) for line in (workdir / "history.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(loaded, tmp_path_factory):
    """Train in some of the phases, Retinex-Net's second from its first; return the folders."""
    folder, done = tmp_path_factory.mktemp("runs"), {}
    for which in TRAINED:
        rival, phase = which
        init = str(done["retinexnet", "decom"] / "last.npz") if phase == "relight" else ""
        done[which] = folder / f"{rival}_{phase}"
        run(config(phase, init=init), loaded, done[which], rival)
    return done


@pytest.mark.parametrize("which", TRAINED, ids="-".join)
def test_a_run_learns(runs, which):
    rows, phase = history(runs[which]), phases.PHASES[which[0]][which[1]]
    assert rows[-1]["loss"] < rows[0]["loss"]
    for row in rows:
        assert row["loss"] == pytest.approx(sum(row[name] for name in phase.names), rel=1e-4)
    assert ("psnr" in rows[0]) == phase.tells_psnr
    assert ("validation_psnr" in rows[-1]) == phase.enhances


def test_a_phase_changes_its_own_layers_alone(runs):
    before, after = (
        pretrained.load_pretrained(runs["retinexnet", phase] / "last.npz")
        for phase in ("decom", "relight")
    )
    for layer in after.layers:
        if layer.weights:
            both = zip(before.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True)
            same = all(np.array_equal(a, b) for a, b in both)
            assert same == layer.name.startswith("decom"), layer.name


@pytest.mark.parametrize("which", EVERY_PHASE, ids="-".join)
def test_a_step_of_every_phase_lowers_the_loss(which):
    import tensorflow as tf

    rival, phase = which
    keras.utils.set_random_seed(1)
    trainer = rival_trainer.RivalTrainer(models.build(rival, filters=4), phase)
    rng = np.random.default_rng(0)
    batch = {side: rng.integers(0, 256, (3, 64, 64, 3), np.uint8) for side in ("low", "high")}
    batch |= {"flip": np.ones(3, bool), "turns": np.int32([0, 1, 2])}
    batch["exposure"] = np.float32([0.2, 0.9, 0.4])

    def loss():
        outputs = trainer(batch)
        terms = trainer.objective.terms(outputs["outputs"], outputs["targets"])
        assert set(terms) == set(trainer.objective.names)
        assert all(tuple(value.shape) == (3,) for value in terms.values())
        return sum(ops.mean(value) for value in terms.values())

    with tf.GradientTape() as tape:
        first = loss()
    variables, learns = trainer.network.trainable_variables, trainer.objective.learns
    assert variables
    assert all(variable.path.startswith(learns) for variable in variables)
    gradients = tape.gradient(first, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0 or "bias" in variable.path, variable.path
    keras.optimizers.Adam(1e-4).apply(gradients, variables)
    assert float(loss()) < float(first)


def test_a_run_goes_on(runs, loaded, tmp_path, capfd):
    """A run that is asked for another epoch has its weights, its optimizer and its place."""
    first, second = runs["retinexnet", "decom"], tmp_path / "second"
    shutil.copytree(first, second)
    with pytest.raises(ValueError, match="learning_rate was"):
        run(config("decom", epochs=7, learning_rate=0.0), loaded, second, "retinexnet")
    capfd.readouterr()
    run(config("decom", epochs=7), loaded, second, "retinexnet")
    assert "--train=decom makes no pictures: the " in capfd.readouterr().err
    rows = history(second)
    assert rows[:6] == history(first)
    assert rows[6]["epoch"] == 7
    assert rows[6]["loss"] < rows[0]["loss"]


def test_what_a_rival_does_not_have_is_refused(loaded, tmp_path):
    with pytest.raises(ValueError, match="--train=decom, then --train=relight, not with --train=a"):
        run(config("all"), loaded, tmp_path, "retinexnet")
    with pytest.raises(ValueError, match="goes on from --train=decom, --train=restoration: name w"):
        config("adjust").check_fresh(models.model_config("kind"))
    with pytest.raises(ValueError, match="glad has its own loss"):
        run(config("all", colour_weight=0.5), loaded, tmp_path, "glad")
    with pytest.raises(ValueError, match="glad is trained without --exposure"):
        run(config("all", exposure=0.5), loaded, tmp_path, "glad")
    assert not list(tmp_path.iterdir())


def test_the_phases_that_are_offered_are_there():
    assert {name: tuple(of) for name, of in phases.PHASES.items()} == PHASES


def test_kind_is_trained_on_stretched_pictures():
    dark = picture(12, 15) // 5 + 3
    found = rival_trainer.stretched(dark)
    assert found.dtype == np.uint16
    least, largest = dark.min(), dark.max()
    np.testing.assert_allclose(found / 65535, (dark - least) / (largest - least), atol=1e-5)
    assert not rival_trainer.stretched(np.full((2, 2, 3), 7, np.uint8)).any()


@pytest.mark.parametrize("phase", phases.PHASES["kind"])
def test_kinds_crops_are_not_stretched_once_more(phase):
    """A crop half as bright as another gives something else, though not if it were stretched."""
    keras.utils.set_random_seed(4)
    given = phases.PHASES["kind"][phase].prepare(models.build("kind", filters=4))
    low, high, draws = array(2, 16, 16, 3), array(2, 16, 16, 3, seed=1), np.float32([0.1, 0.9])
    found = [next(iter(given(gain * low, high, draws)[0].values())) for gain in (1.0, 0.5)]
    assert np.abs(np.asarray(found[0]) - np.asarray(found[1])).max() > 1e-4


def array(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def grads(x):
    """Return NumPy's differences of N×H×W×1, black beyond the border."""
    padded = np.pad(x, [(0, 0), (0, 1), (0, 1), (0, 0)])
    return np.abs(padded[:, :-1, 1:] - x), np.abs(padded[:, 1:, :-1] - x)


def scaled(x):
    """Return NumPy's differences from their least at 0 to their largest at 1."""
    return [(d - d.min()) / (d.max() - d.min() + 1e-4) for d in grads(x)]


def mean(x):
    return x.mean(axis=(1, 2, 3))


def gray(x):
    return (x * np.float32([0.2989, 0.587, 0.114])).sum(-1, keepdims=True)


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-6)


def test_absolute_errors():
    a, b = array(2, 7, 9, 3), array(2, 7, 9, 3, seed=1)
    close(losses.absolute(a, b), mean(np.abs(a - b)))
    weights = np.float32([0.29891, 0.58661, 0.11448])
    close(losses.weighted_absolute(a, b), mean(np.abs(a - b) * weights))


def test_smoothness_of_retinexnet():
    light, surface = array(2, 7, 9, 1), array(2, 7, 9, 3, seed=1)

    def filtered(x):
        padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=np.nan)
        parts = [padded[:, i : i + 7, j : j + 9] for i in range(3) for j in range(3)]
        return np.nanmean(parts, axis=0)

    expected = sum(
        mean(a * np.exp(-10 * filtered(b)))
        for a, b in zip(grads(light), grads(gray(surface)), strict=True)
    )
    close(losses.smoothness(light, surface), expected)


def test_smoothness_of_kind():
    low, high, image = array(2, 7, 9, 1), array(2, 7, 9, 1, seed=1), array(2, 7, 9, 3, seed=2)
    sums = [a + b for a, b in zip(scaled(low), scaled(high), strict=True)]
    close(losses.mutual_smoothness(low, high), sum(mean(x * np.exp(-10 * x)) for x in sums))
    both = zip(scaled(low), scaled(gray(image)), strict=True)
    expected = sum(mean(a / np.maximum(b, 0.01)) for a, b in both)
    close(losses.relative_smoothness(low, image), expected)


def test_white_light_costs_kind_more_than_the_light_of_each_crop():
    """What costs nothing is where the decomposition ends."""
    crops = array(4, 16, 16, 3) * np.float32([0.1, 0.3, 0.6, 1.0]).reshape(4, 1, 1, 1)
    white = np.ones((4, 16, 16, 1), np.float32)
    costs = [
        losses.relative_smoothness(light, crops)
        for light in (white, white * crops.max((1, 2, 3), keepdims=True))
    ]
    assert np.mean(costs[1]) < 0.8 * np.mean(costs[0])


def test_error_of_gradients():
    a, b = array(2, 7, 9, 3), array(2, 7, 9, 3, seed=1)
    both = zip(scaled(gray(a)), scaled(gray(b)), strict=True)
    close(losses.gradient_error(a, b), sum(mean((x - y) ** 2) for x, y in both))
    close(losses.gradient_error(a[..., :1], a[..., :1]), [0, 0])
