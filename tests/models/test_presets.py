"""The trained networks of the package, as data."""

import dataclasses

import pytest

import neid_tf
from neid_tf.inference import methods
from neid_tf.models import VARIANTS, model_config, presets, pretrained
from neid_tf.models.weights_file import WeightsFile


def test_every_weights_file_is_of_a_preset():
    files = {entry.name for entry in presets.FOLDER.iterdir() if entry.name.endswith(".npz")}
    assert {preset.weights for preset in neid_tf.presets()} == files
    assert pretrained.names()[0] == pretrained.DEFAULT


@pytest.mark.parametrize("preset", neid_tf.presets(), ids=lambda preset: preset.name)
def test_a_preset_says_what_its_file_holds(preset):
    assert preset.architecture in VARIANTS
    with WeightsFile(presets.FOLDER / preset.weights) as file:
        assert model_config(preset.architecture, **preset.fields) == file.config
    assert preset.scores["psnr"] > 20
    assert 0.1 < preset.megabytes < 50
    assert preset.parameters > 10_000
    assert preset.seconds > 0
    for text in dataclasses.astuple(preset):
        assert text


def test_weights_help_prints_the_table(neid):
    for command in ("enhance", "export"):
        code, shown, _ = neid(command, "--weights=help")
        assert code == 0
        for preset in neid_tf.presets():
            [row] = [line for line in shown.splitlines() if line.split(" ")[0] == preset.name]
            assert f"{preset.scores['psnr']:.2f} dB" in row
            assert f"{preset.megabytes:.1f} MB" in row


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(pretrained.WeightsError, match="did you mean neid_s") as caught:
        neid_tf.load_pretrained("neid-s")
    assert str(caught.value).startswith("neid-s: neither a weights file")
    with pytest.raises(pretrained.WeightsError) as caught:
        neid_tf.load_pretrained("quite_another")
    assert "mean" not in str(caught.value)


@pytest.mark.parametrize("name", presets.FORMER)
def test_names_from_before_go_on_working(name):
    assert pretrained.card(name) == pretrained.card(presets.FORMER[name])
    assert pretrained.onnx_file(name) == pretrained.onnx_file(presets.FORMER[name])
    assert methods.choose_runtime(name) == methods.choose_runtime(presets.FORMER[name])
