"""The scores across data sets: on tiny sets of every kind."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import brackets, cross_data
from neid_tf import models, pictures
from neid_tf.models import pretrained

SIZE = (24, 32)
HOME = Path(__file__).resolve().parent.parent


def picture(seed, brightness=1.0):
    pixels = np.random.default_rng(seed).random((*SIZE, 3)) * 200.0 * brightness
    return pixels.astype(np.uint8)


def put(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures.write(path, pictures.Picture(pixels))


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    for name in ("13", "82", "9999"):
        put(root / f"our485/low/{name}.png", picture(int(name), 0.1))
        put(root / f"our485/high/{name}.png", picture(int(name)))
    for scene in ("025", "001"):
        for index, brightness in enumerate((0.1, 0.3, 1.2)):
            put(root / f"sice/{scene}/{index + 1}.png", picture(7, brightness))
    for side, brightness in (("input", 0.5), ("expertC", 1.0)):
        put(root / f"fivek/{side}/a.png", picture(3, brightness))
    for name in cross_data.WITHOUT_REFERENCE:
        put(root / name / "1.png", picture(5, 0.2))
    return root


def test_the_input_control_knows_what_comes_back_as_it_was(data):
    found = cross_data.record(data, cross_data.Method("input", ""))
    assert [row["name"] for row in found["lol"]["images"]] == ["13", "82"]
    assert found["fivek_unchanged"]["mean"] == {
        "ssim": 1.0,
        "brightness": 1.0,
        "brightness_off": 0.0,
    }
    assert [row["name"] for row in found["sice_normal"]["images"]] == ["025/0", "025/1"]
    assert found["lol"]["mean"]["brightness"] == pytest.approx(0.1, abs=0.01)
    assert found["LIME"]["mean"]["chroma"] == found["LIME"]["mean"]["chroma_of_input"]
    assert "sent" not in found


def test_one_half_of_the_reference_is_the_ceiling(data):
    half = cross_data.record(data, cross_data.Method("half_and_back", ""), ["fivek"])
    same = cross_data.record(data, cross_data.Method("input", ""), ["fivek"])
    assert half["fivek"]["mean"]["brightness"] == pytest.approx(1.0, abs=0.02)
    assert half["fivek"]["mean"]["psnr"] > same["fivek"]["mean"]["psnr"]


def test_a_set_that_is_not_there_is_refused(data):
    with pytest.raises(ValueError, match="no set 'Kodak'; there are "):
        cross_data.record(data, cross_data.Method("input", ""), ["Kodak"])


def test_what_is_sent_is_half_as_large_and_gets_smaller_with_quality():
    pixels = picture(1).repeat(4, axis=0).repeat(4, axis=1)
    received, size = cross_data.transmitted(pixels, "PNG", None)
    worse, smaller = cross_data.transmitted(pixels, "JPEG", 20)
    assert received.shape == worse.shape == (48, 64, 3)
    assert smaller < size


def test_the_program_writes_a_record_and_its_table(data, tmp_path):
    (tmp_path / "my data").symlink_to(data)
    data = tmp_path / "my data"
    (tmp_path / "r").mkdir()
    for name, content in (("cut", ""), ("other", "[1]")):  # Other programs'.
        (tmp_path / "r" / f"{name}.json").write_text(content, "utf-8")
    options = ["--method=msr", f"--sheet={tmp_path / 'sheets'}", f"--output={tmp_path}/r/msr.json"]
    command = [sys.executable, "-m", "experiments.cross_data", f"--data={data}", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HOME, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r" / "msr.json").read_text("utf-8"))
    assert (report["method"], report["weights"]) == ("msr", None)
    words = ["python", "-m", "experiments.cross_data", f"--data={data}", "--method=msr"]
    assert shlex.split(report["command"]) == words
    assert set(report["sets"]) >= {"lol", "sice_fused", "fivek", "DICM"}
    assert "| `msr` |" in done.stdout
    assert "low: without 145, 149" in done.stderr
    assert pictures.read(tmp_path / "sheets" / "NPE.png").pixels.shape[0] == 240


def test_a_record_names_the_weights_of_a_rival(data, tmp_path):
    weights, output = tmp_path / "mine.npz", tmp_path / "r" / "glad.json"
    rival = models.inference_model(models.build("glad", filters=2))
    pretrained.save(rival, weights, {"epochs_trained": 0})
    options = [f"--data={data}", "--sets=fivek", "--method=glad", f"--weights={weights}"]
    command = [sys.executable, "-m", "experiments.cross_data", *options, f"--output={output}"]
    subprocess.run(command, check=True, cwd=HOME)
    assert json.loads(output.read_text("utf-8"))["weights"] == str(weights)


def test_the_scenes_held_out_are_40_in_blocks():
    assert len(brackets.held_out_scenes()) == 40


def test_how_bright_black_comes_out():
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, 64:] = 200
    lifted = picture + np.uint8(10)
    found = cross_data.black_in(picture, lifted, lambda pixels: pixels + np.uint8(20))
    assert found["black"] == 10.0
    assert 20.0 <= found["black_sent"] < 24.0  # A JPEG's blocks ring.
    bright = np.full((64, 96, 3), 9, np.uint8)
    assert set(cross_data.black_in(bright, bright, lambda pixels: pixels).values()) == {None}
