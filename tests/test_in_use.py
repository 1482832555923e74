"""Scores of pictures as people have them: on tiny sets of every kind."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import camera, cross_data, in_use
from tests.test_cross_data import put

HOME = Path(__file__).resolve().parent.parent


def smooth(seed, brightness=1.0, size=(64, 80)):
    noise = np.random.default_rng(seed).uniform(0.0, 20.0, (*size, 3))
    ramp = np.linspace(60.0, 200.0, size[1])[None, :, None]
    return np.minimum((ramp + noise) * brightness, 255.0).astype(np.uint8)


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    for index, brightness in enumerate((0.2, 0.9, 1.4)):
        put(root / f"photographs/{index}.png", smooth(index, brightness, (400, 500)))
        put(root / f"sice/025/{index}.png", smooth(9, brightness))
    put(root / "our485/low/13.png", smooth(1, 0.1))
    put(root / "our485/high/13.png", smooth(1))
    for side, brightness in (("input", 0.5), ("expertC", 1.0)):
        put(root / f"fivek/{side}/a.png", smooth(3, brightness))
    return root


def run(*options):
    command = [sys.executable, "-m", "experiments.in_use", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, cwd=HOME, check=False)


def test_the_program_writes_a_record_and_its_table(data, tmp_path):
    output = tmp_path / "r" / "msr.json"
    output.parent.mkdir()
    done = run(f"--data={data}", "--method=msr", f"--output={output}")
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text("utf-8"))
    assert report["command"] == f"python -m experiments.in_use --data={data} --method=msr"
    found = report["sets"]
    assert found["finished"]["pictures"] == [1, 0, 0, 2]
    assert found["finished"]["brightness_off"][1] is None
    assert [row["name"] for row in found["over"]["images"]] == ["025/0"]
    assert found["backlit"]["mean"]["psnr"] > 0
    assert set(in_use.KINDS) == {name[4:] for name in found if name in _plain()}
    assert "| `msr` |" in done.stdout
    assert run().returncode == 0


def _plain():
    return {f"lol_{kind}" for kind in in_use.KINDS}


def test_the_inputs_themselves_come_back_as_they_were(data):
    found = in_use.sets(data, cross_data.Method("input", ""))
    told = found["finished"]()
    assert (told["darker"], told["brightness_off"]) == (0, [0.0, None, None, 0.0])
    plain, framed = found["lol_none"]()["mean"], found["lol_white_frame"]()["mean"]
    assert plain == framed
    assert found["lol_white_frame_jpeg"]()["mean"] != plain


def test_a_set_that_is_there_in_part_is_refused_before_any_is_scored(data):
    (data / "fivek" / "expertC" / "a.png").unlink()
    with pytest.raises(ValueError, match="expertC"):
        in_use.sets(data, cross_data.Method("input", ""))


def test_a_method_that_darkens_is_told(data):
    method = cross_data.Method("input", "")
    method.enhance = lambda pixels: pixels // 2
    assert in_use.sets(data, method)["finished"]()["darker"] == 3


def test_a_camera_gives_a_darker_picture_of_the_same_colours_with_coarse_noise():
    scene = np.full((128, 160, 3), (200, 120, 60), np.uint8)
    dark = camera.taken(scene, 3, 0).astype(float)
    expected = scene[0, 0] * 2 ** (-3 / 2.2)
    np.testing.assert_allclose(dark.mean(axis=(0, 1)), expected, rtol=0.04)
    colour = dark[..., 0] - dark[..., 2]
    colour -= colour.mean()
    assert colour.std() > 1.0
    assert (colour[:, 1:] * colour[:, :-1]).mean() > 0.3 * colour.var()
    assert (camera.taken(scene, 3, 1) != dark).any()


def test_pictures_by_a_camera_are_scored_against_the_scene(data):
    found = in_use.sets(data, cross_data.Method("input", ""))
    less, least = (found[f"fivek_camera_{stops}"]()["mean"] for stops in in_use.STOPS)
    assert less["psnr"] > least["psnr"]
    assert least["psnr_gt_mean"] > least["psnr"]


def test_gray_pictures_are_scored_against_the_luminance_of_their_references(data):
    method, seen = cross_data.Method("input", ""), []
    method.enhance = lambda pixels: seen.append(pixels) or pixels
    for name in ("lol", "sice", "fivek"):
        assert in_use.sets(data, method)[f"{name}_gray"]()["mean"]["psnr"] > 0
    assert len(seen) >= 3
    assert all((pixels == pixels[..., :1]).all() for pixels in seen)


def test_how_bright_pictures_with_less_colour_come_out_is_told(data):
    put(data / "DICM/a.png", np.full((64, 80, 3), (120, 60, 30), np.uint8))
    method = cross_data.Method("input", "")
    (row,) = in_use.sets(data, method)["told"]()["images"]
    assert [row[f"colour_{left}"] for left in in_use.COLOUR] == pytest.approx([1.0] * 3, abs=0.01)
    method.enhance = lambda pixels: np.maximum(pixels, pixels[..., :1])
    (row,) = in_use.sets(data, method)["told"]()["images"]
    shares = [row[f"colour_{left}"] for left in in_use.COLOUR]
    assert shares == pytest.approx([74 / 120, 83 / 120, 97 / 120], abs=0.01)


@pytest.mark.parametrize("kind", in_use.KINDS)
def test_bars_are_around_the_picture(kind):
    pixels = smooth(2)
    made, place = in_use.with_bars(pixels, kind)
    np.testing.assert_array_equal(made[place], pixels)
    assert (made.shape == pixels.shape) == (kind == "none")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method=msr"], "--method has no effect without --data"),
        (["--data=nowhere", "--method=input"], "--output"),
        (["--data=nowhere", "--method=input", "--output=x.json"], "nowhere: no data set"),
        (["--data=nowhere", "--method=half_and_back", "--output=x.json"], "needs a reference"),
    ],
)
def test_what_makes_no_record_is_refused(options, words):
    done = run(*options)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_turned_pictures_are_scored_against_their_references_turned_alike(data):
    method, seen = cross_data.Method("input", ""), []
    method.enhance = lambda pixels: seen.append(pixels) or pixels
    for name in ("lol", "sice", "fivek"):
        found = in_use.sets(data, method)
        told = found[f"{name}_turned"]()
        names = [row["name"].rpartition("/")[2] for row in told["images"][:3]]
        assert names == ["90", "180", "270"]
        first, half, last = seen[-len(told["images"]) :][:3]
        np.testing.assert_array_equal(np.rot90(first, 2), last)
        np.testing.assert_array_equal(np.rot90(first), half)
    upright = found["fivek_none"]()["mean"]["psnr"]
    assert told["mean"]["psnr"] == pytest.approx(upright, abs=1e-6)
