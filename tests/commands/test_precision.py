"""``--precision=bfloat16``: the streams compute in it, the tone and the pictures do not."""

import json

import numpy as np
import pytest

from neid_tf import pictures
from tests.conftest import darkened, picture, write


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a small network all of whose layers count."""
    from neid_tf.models import pretrained
    from tests.export.test_export import lively

    path = tmp_path_factory.mktemp("weights") / "lively.npz"
    pretrained.save(lively("neid_grid", refinement=4), path, {"epochs_trained": 0})
    return path


def test_a_picture_hardly_changes(neid, weights, tmp_path):
    made = {}
    dark = darkened(picture(40, 60)).astype(np.uint16) * 257
    write(tmp_path / "dark.png", dark)
    for precision in ("float32", "bfloat16"):
        target = tmp_path / f"{precision}.png"
        options = [f"--weights={weights}", f"--precision={precision}", f"--output={target}"]
        code, _, err = neid("enhance", tmp_path / "dark.png", *options)
        assert code == 0, err
        made[precision] = pictures.read(target).pixels.astype(int)
    difference = np.abs(made["bfloat16"] - made["float32"])
    assert 0 < difference.max() < 4 * 257
    assert np.abs(made["float32"] - dark).max() > 40 * 257


def test_what_computes_in_it(weights):
    from neid_tf.inference import methods

    model = methods.load_network(str(weights), precision="bfloat16").model
    kinds = {layer.name: layer.compute_dtype for layer in model.layers if layer.weights}
    half = {name for name, kind in kinds.items() if kind == "bfloat16"}
    assert {"encoder1_conv1", "dr_features", "le_decoder1_conv2"} <= half
    assert not [name for name in half if name.startswith("tone_")]
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    # What is loaded afterwards is as before.
    again = methods.load_network(str(weights)).model
    assert {layer.compute_dtype for layer in again.layers} == {"float32"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--runtime=onnx"], "--precision=bfloat16 needs TensorFlow, not onnx"),
        (["--weights=net.onnx"], "--precision=bfloat16 needs TensorFlow, not onnx"),
        (["--method=lime"], "--precision=bfloat16 needs --method=neid"),
    ],
)
def test_what_does_not_go_with_it(neid, tmp_path, options, reason):
    write(tmp_path / "dark.png", darkened(picture(16, 20)))
    target = tmp_path / "bright.png"
    options = [*options, "--precision=bfloat16", f"--output={target}"]
    code, _, err = neid("enhance", tmp_path / "dark.png", *options)
    assert (code, reason in err) == (2, True), err
    assert not target.exists()


def test_evaluate_takes_it(neid, weights, pairs_folder, tmp_path):
    scores, only = [], tmp_path / "names.txt"
    only.write_text("1 2")
    for precision in ("float32", "bfloat16"):
        report = tmp_path / f"{precision}.json"
        options = [f"--weights={weights}", f"--precision={precision}", f"--only={only}"]
        code, _, err = neid("evaluate", f"--data={pairs_folder}", f"--output={report}", *options)
        assert code == 0, err
        scores.append(json.loads(report.read_text("utf-8")))
    assert "--precision=bfloat16" in scores[1]["command"]
    one, two = (score["mean"]["psnr"] for score in scores)
    assert one != two
    assert one == pytest.approx(two, abs=0.1)


def test_a_video_is_computed_in_it(neid, weights, tmp_path):
    pytest.importorskip("av")
    from tests.video.test_enhance import make_clip, read

    clip = make_clip(tmp_path / "clip.mkv", [darkened(picture(40, 60, seed=n)) for n in range(3)])
    made = {}
    for precision in ("float32", "bfloat16"):
        target = tmp_path / f"{precision}.mkv"
        options = [f"--weights={weights}", f"--precision={precision}", f"--output={target}"]
        code, _, err = neid("enhance", clip, *options)
        assert code == 0, err
        made[precision] = read(target)[2]
    before, difference = read(clip)[2], np.abs(made["bfloat16"] - made["float32"])
    assert made["bfloat16"].shape == before.shape
    assert 0 < difference.mean() < 6  # Encoding that loses little adds to it.
    assert np.abs(made["float32"] - before).mean() > 20
