"""Every program's real main on tiny pictures, and what users see when they err."""

import json
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from experiments.real_pictures import mix
from neid_tf import models, pictures
from neid_tf.commands import main as program
from neid_tf.commands import terminal
from neid_tf.data.sampling import Sampling
from neid_tf.evaluation import scores
from neid_tf.inference import methods
from neid_tf.models import pretrained
from neid_tf.pictures import reader
from neid_tf.pixels.samples import luminance
from neid_tf.support.fields import leaf_fields
from neid_tf.training import losses, objective
from neid_tf.training.config import TrainConfig
from tests.conftest import darkened, flags_restored, picture, write

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


def test_enhance_one_file(neid, tmp_path, weights_file):
    source = write(tmp_path / "dark.png", darkened(picture(21, 30)))
    target = tmp_path / "new" / "bright.png"
    code, _, err = neid("enhance", source, f"--output={target}", f"--weights={weights_file}")
    assert (code, err) == (0, "")
    assert cv2.imread(str(target)).shape == (21, 30, 3)
    target = tmp_path / "large.jpg"
    assert (
        neid("enhance", source, f"--output={target}", "--scale=2", f"--weights={weights_file}")[0]
        == 0
    )
    assert cv2.imread(str(target)).shape == (42, 60, 3)


def test_enhance_goes_on_after_a_bad_file(neid, tmp_path, weights_file):
    write(tmp_path / "in/sub/a.png", darkened(picture(20, 24)))
    (tmp_path / "in" / "b.png").write_bytes(b"")
    code, _, err = neid(
        "enhance", tmp_path / "in", f"--output={tmp_path / 'out'}", f"--weights={weights_file}"
    )
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "in/b.png" in err
    files = [p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert [str(file) for file in files] == ["sub/a.png"]


@pytest.mark.parametrize("runtime", ["onnx", "tensorflow"])
def test_weights_that_took_the_place_of_others_are_named(neid, tmp_path, runtime):
    terminal.report_once.cache_clear()
    write(tmp_path / "dark.png", darkened(picture(20, 30)))
    for weights, told in (
        ("neid_m", "neid: --weights=neid_m: neid has taken its place\n"),
        ("neid", ""),
    ):
        options = [f"--weights={weights}", f"--runtime={runtime}"]
        output = f"--output={tmp_path / weights}.png"
        code, _, err = neid("enhance", str(tmp_path / "dark.png"), output, *options)
        assert (code, err) == (0, told)
    one, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("neid_m", "neid"))
    assert one == other


def test_enhance_strength_zero_is_the_input(neid, tmp_path, weights_file):
    source = write(tmp_path / "dark.png", darkened(picture(20, 24)))
    options = [f"--output={tmp_path / 'out'}", f"--weights={weights_file}", "--strength=0"]
    assert neid("enhance", source, *options)[0] == 0
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "out/dark.png")), cv2.imread(str(source))
    )


@pytest.mark.parametrize("method", ["msr", "npe", "dong", "mf", "lime", "crm", "bimef"])
def test_enhance_by_a_classical_method(neid, tmp_path, method):
    dark = darkened(picture(25, 40))
    source = write(tmp_path / "dark.png", dark)
    assert neid("enhance", source, f"--output={tmp_path / 'out'}", f"--method={method}")[0] == 0
    assert cv2.imread(str(tmp_path / "out/dark.png")).mean() > 1.3 * dark.mean()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, ""),
        (["brighten"], 2, "'brighten'"),
        (["enhance", "--output=x"], 2, "no input"),
        (["enhance", "a.png"], 2, "--output is missing"),
        (["enhance", "a.png", "--output=x", "--scale=3"], 2, "scale"),
        (["enhance", "a.png", "--output=x", "--strength=-1"], 2, "strength"),
        (["enhance", "a.png", "--output=x", "--bogus"], 2, "bogus"),
        (["enhance", "a.png", "--output=x", "--tile=9"], 2, "--tile"),
        (["enhance", "a.png", "--output=x", "--method=magic"], 2, "magic"),
        (["enhance", "a.png", "--output=x", "--method=lime", "--scale=2"], 2, "--scale=2"),
        (["enhance", "a.png", "--output=x", "--method=lime", "--runtime=onnx"], 2, "=onnx"),
        (["enhance", "a.png", "--output=x", "--method=lime", "--weights=w"], 2, "--weights=w"),
        (["enhance", "a.png", "--output=x", "--method=lime", "--tile=128"], 2, "--tile=128"),
        (["enhance", "a.png", "--output=x", "--ray_workers=2"], 2, "--ray_workers needs"),
        (["enhance", "a.png", "--output=b.png", "--suffix=_x"], 2, "b.png is one file"),
        (["enhance", "a.png", "b.png", "--output=x.png"], 2, "one file"),
        (["enhance", "a.png", "--output=x", "--weights=none.npz"], 1, "none.npz"),
        (["enhance", "*.nope", "--output=x"], 1, "nothing matches"),
        (["evaluate", "--data=nowhere", "--output=r.json", "--method=lime"], 1, "nowhere"),
        (["evaluate", "--output=r.json"], 2, "--data is missing"),
        (["pack", "a.png", "--output=x", "--weights=w", "--data=d"], 2, "--data, --weights: no"),
        (["watch", "nowhere", "--output=x", "--engine=ray"], 2, "watch: --engine: no flag"),
        (["live", "x", "--output=x.mkv", "--method=lime"], 2, "live: --method: no flag"),
        (["live", "x", "--output=x.mkv", "--metadata=none"], 2, "live: --metadata: no flag"),
        (["evaluate", "--flagfile=run.flags", "--output=r.json"], 2, "evaluate: --epochs: no flag"),
        (["train", "--data=nowhere"], 2, "--workdir is missing"),
        (["train", "--data=d", "--workdir=w", "--validation="], 2, "--validation is missing"),
        (["train", "--data=nowhere", "--workdir=w"], 1, "no such folder"),
        (["train", "--data=x", "--workdir=w", "--init=none.npz"], 1, "none.npz"),
        (["train", "--data=x", "--workdir=w", "--validation=nope"], 1, "'nope': not 'lol'"),
        (["train", "--data=x", "--workdir=w", "--validation=1"], 1, "between 0 and 1, not 1"),
        (["train", "--data=x", "--workdir=w", "--crop=33"], 2, "crop"),
        (["train", "--data=x", "--workdir=w", "--depth=12", "--crop=32"], 2, "--crop=8192 at"),
        (["train", "--data=x", "--workdir=w", "--model=unet", "--tone"], 2, "unet"),
        (["train", "--data=x", "--workdir=w", "--train=tone"], 2, "needs a model with a tone"),
        (["train", "--data=x", "--workdir=w", "--train=decom"], 2, "is a phase of a rival"),
        (["train", "--data=x", "--workdir=w", "--model=kind"], 2, "--train=decom, then"),
        (["train", "--data=x", "--workdir=w", "--model=le", "--fusion=all"], 2, "has no effect"),
        (["train", "--data=x", "--workdir=w", "--model=le", "--detail_weight=1"], 2, "no effect"),
        (["train", "--data=x", "--workdir=w", "--flagfile=none.flags"], 2, "none.flags"),
    ],
)
def test_mistakes_are_told_in_one_line(neid, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.flags").write_text("--epochs=3")
    got, _, err = neid(*arguments)
    assert got == code, err
    assert message in err
    assert len(err.strip().splitlines()) <= 3
    assert not [p for p in tmp_path.iterdir() if p.name not in ("w", "run.flags")]


@pytest.mark.parametrize("flag", ["--debug", "--verbosity=-1", "--undefok=nonsense"])
def test_flags_that_all_commands_have(neid, tmp_path, flag):
    source = write(tmp_path / "dark.png", darkened(picture(20, 24)))
    code, _, err = neid("pack", source, f"--output={tmp_path / 'out.jpg'}", flag)
    assert (code, err) == (0, "")


def test_evaluate(neid, tmp_path, pairs_folder, weights_file):
    report_file, saved = tmp_path / "report.json", tmp_path / "saved"
    code, out, _ = neid(
        "evaluate",
        f"--data={pairs_folder}",
        f"--output={report_file}",
        f"--weights={weights_file}",
        f"--save={saved}",
    )
    assert code == 0
    report = json.loads(report_file.read_text())
    assert set(report) >= {"protocol", "mean", "images", "controls", "environment"}
    assert report["command"].startswith("neid evaluate ")
    assert f"--data={pairs_folder}" in report["command"]
    assert set(report["mean"]) >= {"psnr", "ssim", "ssim_gray", "psnr_gt_mean"}
    assert [image["name"] for image in report["images"]] == list("123456")
    first = cv2.imread(str(saved / "1.png"))[..., ::-1]
    expected = scores.score(picture(48, 64, 1), first)
    assert report["images"][0]["psnr"] == pytest.approx(expected["psnr"])
    assert report["controls"]["bicubic_half_and_back"]["psnr"] > report["controls"]["input"]["psnr"]
    assert f"{report['mean']['psnr']:.2f}" in out


def test_evaluate_decodes_pictures_when_their_turn_comes(neid, tmp_path, monkeypatch):
    """Of 16 bits, which are scored as 8: the ceiling is that of other pictures."""
    for number in range(30):
        deep = picture(16, 20, number).astype(np.uint16) * 257
        for side in ("low", "high"):
            write(tmp_path / "set" / side / f"{number}.png", deep)
    alive, most, read = set(), [], reader.read

    def counted(path):
        found = read(path)
        alive.add(path)
        weakref.finalize(found.pixels, alive.discard, path)
        most.append(len(alive))
        return found

    monkeypatch.setattr(reader, "read", counted)
    report, _ = evaluated(neid, tmp_path, f"--data={tmp_path / 'set'}", "--method=bimef")
    assert len(report["images"]) == 30
    assert len(most) == 3 * 60
    assert max(most) <= 2 * (os.cpu_count() + 5)
    assert report["controls"]["bicubic_half_and_back"]["psnr"] > 25


def test_evaluate_counts_what_is_no_picture(neid, tmp_path, pairs_folder):
    (pairs_folder / "low" / "more").mkdir()
    for name in ("low/Thumbs.db", "low/a.txt", "high/.DS_Store", "high/b.txt", "low/more/1.png"):
        (pairs_folder / name).write_bytes(b"x")
    options = [f"--data={pairs_folder}", f"--output={tmp_path / 'r.json'}", "--method=bimef"]
    code, _, err = neid("evaluate", *options)
    assert code == 0
    assert len(err.splitlines()) == 1, err
    assert f"{pairs_folder}: 5 files left out: 2 .txt, 1 .db, 1 hidden, 1 in further folders" in err


def test_evaluate_counts_pictures_beside_the_two_folders(neid, tmp_path, pairs_folder):
    (pairs_folder / "before.png").write_bytes((pairs_folder / "low" / "1.png").read_bytes())
    options = [f"--data={pairs_folder}", f"--output={tmp_path / 'r.json'}", "--method=bimef"]
    assert "1 file left out: 1 beside low and high" in neid("evaluate", *options)[2]


def test_pages_that_are_left_out_are_named_once(neid, tmp_path, pairs_folder):
    paged = pairs_folder / "low" / "1.tif"
    with Image.open(pairs_folder / "low" / "1.png") as image:
        image.save(paged, save_all=True, append_images=[image, image])
    (pairs_folder / "low" / "1.png").unlink()
    said = f"neid: {paged}: 2 of its pages are left out\n"
    options = [f"--output={tmp_path / 'r.json'}", "--method=bimef"]
    for folder in (pairs_folder, pairs_folder / "low"):
        code, _, err = neid("evaluate", f"--data={folder}", *options)
        assert (code, err) == (0, said)
    options = [f"--output={tmp_path / 'figure.png'}", "--methods=bimef"]
    for arguments in ((paged,), (pairs_folder / "high" / "1.png", f"--reference={paged}")):
        code, _, err = neid("compare", *arguments, *options, "--overwrite")
        assert (code, err) == (0, said)


def test_transparency_and_bands_that_are_left_out_are_named(neid, tmp_path, pairs_folder):
    low = pairs_folder / "low" / "1.png"
    with Image.open(low) as image:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(low)
    options = [f"--output={tmp_path / 'r.json'}", "--method=bimef"]
    code, _, err = neid("evaluate", f"--data={pairs_folder}", *options)
    assert (code, err) == (0, f"neid: {low}: its transparency is left out\n")
    code, _, err = neid("compare", low, f"--output={tmp_path / 'f.png'}", "--methods=bimef")
    assert (code, err) == (0, f"neid: {low}: its transparency is left out\n")
    with Image.open(low) as image:
        pixels = np.array(image.convert("RGB"))
    pixels[:4] = 0
    low.unlink()
    placed = low.with_suffix(".tif")
    tifffile.imwrite(placed, pixels, metadata=None, extratags=[(42113, "s", 0, "0", True)])
    code, _, err = neid("evaluate", f"--data={pairs_folder}", *options, "--overwrite")
    filled = "where it holds no picture (mask, nodata) it is filled from beside"
    assert (code, err) == (0, f"neid: {placed}: {filled}\n")
    placed.unlink()
    inks = low.with_suffix(".jpg")
    Image.fromarray(pixels).convert("CMYK").save(inks)
    code, _, err = neid("evaluate", f"--data={pairs_folder}", *options, "--overwrite")
    assert (code, err) == (0, f"neid: {inks}: its inks (CMYK) become sRGB\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "--data=set", "--method=bimef", "--output=closed/deep/r.json"),
        ("evaluate", "--data=set", "--method=bimef", "--output=r.json", "--save=closed/p"),
        ("compare", "set/low/1.png", "--methods=bimef", "--output=closed/f.png"),
        ("export", "--format=onnx", "--output=closed/m.onnx"),
        ("benchmark", "--sections=growth", "--output=r.json", "--plot=closed/p.png"),
    ],
)
def test_a_place_that_nothing_can_be_written_to_is_told_before_the_work(
    neid, tmp_path, pairs_folder, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closed").mkdir()
    opened = tempfile.TemporaryFile

    def refused(*given, dir=None, **named):
        if dir == tmp_path / "closed":
            raise PermissionError(13, "Permission denied", str(dir))
        return opened(*given, dir=dir, **named)

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    code, out, err = neid(*arguments)
    assert (code, out, len(err.splitlines())) == (1, "", 1), err
    assert err.endswith("closed can't be written to: permission denied\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["closed", "set"]


def test_a_backend_that_keras_does_not_know_is_named(tmp_path):
    dark = write(tmp_path / "dark.png", darkened(picture(20, 24)))
    command = [sys.executable, "-m", "neid_tf.commands.main", "enhance", str(dark)]
    command += [f"--output={tmp_path / 'b.png'}", "--runtime=tensorflow"]
    named = os.environ | {"KERAS_BACKEND": "nonsense"}
    done = subprocess.run(command, env=named, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("neid: enhance: KERAS_BACKEND=nonsense: ")
    assert len(done.stderr.splitlines()) == 1


def test_evaluate_a_list_of_names(neid, tmp_path, pairs_folder):
    (tmp_path / "names.txt").write_text("2 4")
    options = [f"--only={tmp_path / 'names.txt'}", f"--output={tmp_path / 'r.json'}"]
    assert neid("evaluate", f"--data={pairs_folder}", "--method=bimef", *options)[0] == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert [image["name"] for image in report["images"]] == ["2", "4"]
    assert report["method"] == {"name": "bimef"}


def evaluated(neid, tmp_path, *options):
    code, out, err = neid("evaluate", f"--output={tmp_path / 'r.json'}", *options)
    assert code == 0, err
    text = (tmp_path / "r.json").read_text()
    assert "Infinity" not in text
    return json.loads(text), out


def test_evaluate_what_another_program_made(neid, tmp_path, pairs_folder):
    by_lime, saved = tmp_path / "lime", f"--save={tmp_path / 'lime'}"
    made, _ = evaluated(neid, tmp_path, f"--data={pairs_folder}", "--method=lime", saved)
    scored, out = evaluated(neid, tmp_path, f"--data={pairs_folder}", f"--outputs={by_lime}")
    assert scored["controls"]["input"] == made["controls"]["input"]
    for first, second in zip(made["images"], scored["images"], strict=True):
        assert first.pop("seconds") >= 0
        assert first == second
    assert "outputs" in out
    equal, _ = evaluated(
        neid, tmp_path, f"--data={pairs_folder}", f"--outputs={pairs_folder / 'high'}"
    )
    assert equal["mean"]["psnr"] is None  # infinite
    assert equal["mean"]["ssim"] == pytest.approx(1)
    (by_lime / "1.png").write_bytes((pairs_folder / "high" / "1.png").read_bytes())
    mixed, out = evaluated(neid, tmp_path, f"--data={pairs_folder}", f"--outputs={by_lime}")
    assert mixed["images"][0]["psnr"] is None
    others = [image["psnr"] for image in mixed["images"][1:]]
    assert mixed["mean"]["psnr"] == pytest.approx(np.mean(others))
    assert "PSNR: 1 infinite (equal pictures), left out of the mean." in out


def test_evaluate_without_references(neid, tmp_path, pairs_folder):
    low = pairs_folder / "low"
    report, out = evaluated(neid, tmp_path, f"--data={low}", "--method=lime")
    assert set(report["mean"]) == {"niqe", "brightness", "contrast", "seconds_per_megapixel"}
    assert report["mean"]["brightness"] > 2 * report["controls"]["input"]["brightness"]
    assert "NIQE" in out
    options = [f"--data={low}", f"--outputs={pairs_folder / 'high'}"]
    report, _ = evaluated(neid, tmp_path, *options)
    assert [image["name"] for image in report["images"]] == list("123456")
    expected = luminance(picture(48, 64, 1)).mean()
    assert report["images"][0]["brightness"] == pytest.approx(expected)


def test_evaluate_tells_what_is_wrong_before_it_begins(neid, tmp_path, pairs_folder):
    """Of pictures without references, and of made ones; --only leaves out what is not asked for."""
    alone = tmp_path / "alone"
    for name in ("1", "2", "3"):
        write(alone / f"{name}.png", picture(120, 130))
    for name in ("2", "3"):
        (alone / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = [f"--output={tmp_path / 'r.json'}", "--method=bimef", f"--save={tmp_path / 's'}"]
    code, _, err = neid("evaluate", f"--data={alone}", *options)
    assert code == 1
    assert all(f"alone/{name}.png: " in err for name in ("2", "3"))
    assert not (tmp_path / "s").exists()
    names = tmp_path / "names.txt"
    names.write_text("1")
    for side in ("low", "high"):
        (pairs_folder / side / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = neid("evaluate", f"--data={pairs_folder}", *options, f"--only={names}")
    assert (code, err) == (0, "")
    outputs = tmp_path / "outputs"
    for name in ("1", "further"):
        write(outputs / f"{name}.png", picture(48, 64))
    for name in ("2", "3", "4", "5", "6"):
        for side in ("low", "high"):
            (pairs_folder / side / f"{name}.png").unlink(missing_ok=True)
    options = [f"--data={pairs_folder}", f"--output={tmp_path / 'o.json'}", f"--outputs={outputs}"]
    write(pairs_folder / "stray.png", picture(48, 64))
    code, _, err = neid("evaluate", *options)
    assert code == 0
    assert f"{outputs}: 1 file left out" in err
    assert f"{pairs_folder}: 1 file left out" in err


def test_evaluate_names_what_does_not_match(neid, tmp_path, pairs_folder):
    outputs, names = tmp_path / "outputs", tmp_path / "names.txt"
    for number in (1, 2, 4, 6):
        write(outputs / f"{number}.png", picture(48, 64))
    options = [f"--data={pairs_folder}", f"--output={tmp_path / 'r.json'}"]
    code, _, err = neid("evaluate", *options, f"--outputs={outputs}")
    assert code == 1
    assert "no picture of 3" in err
    assert "no picture of 5" in err
    names.write_text("1 2")
    code, _, err = neid("evaluate", *options, f"--outputs={outputs}", f"--only={names}")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "outputs/2.png: 64×48, but the picture 2 is 56×48" in err
    for method in ("--method=lime", "--weights=neid", f"--save={tmp_path / 's'}"):
        code, _, err = neid("evaluate", *options, f"--outputs={outputs}", method)
        assert code == 2
        assert "--outputs does not go with" in err
    names.write_text("1 99")
    code, _, err = neid("evaluate", *options, "--method=lime", f"--only={names}")
    assert code == 1
    assert "'99'" in err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("output", "save", "message"),
    [
        ("r.json", "set/low", "the pictures that are scored are there"),
        ("r.json", "set/high", "the pictures that are scored are there"),
        ("r.json", "link", "the pictures that are scored are there"),
        ("r.json", "linked", "linked/1.png: the output is an input"),
        ("s/1.png", "s", "s/1.png: the output is an input"),
        ("set/low/1.png", "", "the output is an input"),
        ("set", "", "is a folder"),
        ("set/low/1.png/r.json", "", "1.png is no folder"),
        ("r.json", "set/low/1.png", "the pictures that are scored are there"),
    ],
)
def test_evaluate_never_replaces_what_it_scores(
    neid, tmp_path, pairs_folder, monkeypatch, output, save, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(pairs_folder / "low")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/1.png").symlink_to(pairs_folder / "low/1.png")
    before = {path: path.read_bytes() for path in pairs_folder.rglob("*.png")}
    options = [f"--data={pairs_folder}", f"--output={output}", "--method=dong", f"--save={save}"]
    monkeypatch.setattr("neid_tf.evaluation.report.evaluate", None)  # It does not come to that.
    code, _, err = neid("evaluate", *options, "--overwrite")
    assert (code, len(err.splitlines())) == (1, 1), err
    assert message in err
    assert before == {path: path.read_bytes() for path in pairs_folder.rglob("*.png")}


def test_evaluate_replaces_an_earlier_report_only(neid, tmp_path, pairs_folder):
    options = [f"--data={pairs_folder}", "--method=dong", f"--output={tmp_path / 'r.json'}"]
    saved = f"--save={tmp_path / 'saved'}"
    assert neid("evaluate", *options, saved)[0] == 0
    code, _, err = neid("evaluate", *options, saved)
    assert code == 1
    assert "saved/1.png: is there already; --overwrite replaces it" in err
    assert neid("evaluate", *options, saved, "--overwrite")[0] == 0
    assert neid("evaluate", *options)[0] == 0
    for content in (b"", b"\xff", b"[1]", b'{"images": []}'):
        (tmp_path / "r.json").write_bytes(content)
        code, _, err = neid("evaluate", *options)
        assert code == 1
        assert "r.json: is there already; --overwrite replaces it" in err
        assert (tmp_path / "r.json").read_bytes() == content
    assert neid("evaluate", *options, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data=nowhere"], 1, "nowhere: 2 problem(s)"),
        (["--data=set", "--weights=none.npz"], 1, "none.npz"),
        (["--data=set", "--method=magic"], 2, "'magic'"),
        (["--data=set", "--output=mine.txt"], 1, "mine.txt: is there already"),
        (["--data=set", "--save=saved"], 1, "saved/1.png: is there already"),
        (["--data=set/low", "--save=saved"], 1, "saved/1.png: is there already"),
        (["--data=set", "--outputs=saved"], 1, "no picture of 2"),
        (["--data=set", "--only=mine.txt"], 1, "no picture is called 'mine'"),
        (["--data=set"], 1, "set/low/6.png"),
    ],
)
def test_evaluate_tells_what_is_wrong_before_a_network_is_loaded(
    neid, tmp_path, pairs_folder, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    write(tmp_path / "saved" / "1.png", picture(48, 64))
    (pairs_folder / "low" / "6.png").write_bytes(b"broken")  # What is told last: it takes longer.
    monkeypatch.setattr(methods, "load", None)
    got, _, err = neid("evaluate", "--output=r.json", *arguments)
    assert (got, message in err) == (code, True), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "saved", "set"]


def test_evaluate_tells_all_that_is_wrong_with_pairs_at_once(neid, tmp_path, pairs_folder):
    (pairs_folder / "high" / "2.png").unlink()
    write(pairs_folder / "low" / "4.png", picture(50, 56))
    output = tmp_path / "r.json"
    code, _, err = neid("evaluate", f"--data={pairs_folder}", f"--output={output}", "--method=dong")
    assert code == 1
    assert "2 problem(s)" in err
    assert "2.png: no partner" in err
    assert "4.png: 56×50, but" in err
    assert not output.exists()


def test_evaluate_of_outputs_needs_no_tensorflow(tmp_path, pairs_folder):
    script = (
        "import sys; from neid_tf.commands import main; code = main.main(sys.argv);"
        "sys.exit(code or 'tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    options = [f"--outputs={pairs_folder / 'low'}", f"--output={tmp_path / 'r.json'}"]
    command = [sys.executable, "-c", script, "evaluate", f"--data={pairs_folder}", *options]
    subprocess.run(command, check=True, capture_output=True)


def train_arguments(pairs_folder, workdir):
    return [
        "train",
        f"--data={pairs_folder}",
        f"--workdir={workdir}",
        *["--model=le_dr", "--filters=2", "--depth=1", "--crop=32", "--epochs=1"],
        *["--batch_size=4", "--validation=none", "--validate_every=1"],
    ]


def test_train_and_use_what_was_trained(neid, tmp_path, pairs_folder):
    workdir = tmp_path / "run"
    code, _, err = neid(*train_arguments(pairs_folder, workdir))
    assert code == 0, err
    settings = json.loads((workdir / "settings.json").read_text())
    assert settings["command"][:2] == ["neid", "train"]
    assert {"--filters=2", "--epochs=1", "--model=le_dr"} <= set(settings["command"])
    code, _, err = neid(
        "enhance",
        pairs_folder / "low" / "1.png",
        f"--output={tmp_path / 'out.png'}",
        f"--weights={workdir / 'last.npz'}",
    )
    assert code == 0, err
    code, _, err = neid(*train_arguments(pairs_folder, workdir), "--learning_rate=0.5")
    assert code == 1
    assert "learning_rate was 0.0001, is 0.5" in err
    # A run of a version that did not know a parameter yet is not another run.
    del settings["epsilon"]
    (workdir / "settings.json").write_text(json.dumps(settings))
    code, out, err = neid(*train_arguments(pairs_folder, workdir))
    assert (code, err) == (0, "")
    assert f"all 1 epochs are done; weights: {workdir / 'last.npz'}" in out
    # One that was to be longer has no weights where it is ended: they are made then.
    (workdir / "last.npz").unlink()
    code, out, err = neid(*train_arguments(pairs_folder, workdir))
    assert (code, err) == (0, "")
    assert (workdir / "last.npz").is_file()
    assert f"all 1 epochs are done; weights: {workdir / 'last.npz'}" in out
    for side in ("low", "high"):
        (pairs_folder / side / "6.png").unlink()
    code, _, err = neid(*train_arguments(pairs_folder, workdir))
    assert (code, len(err.splitlines())) == (1, 1)
    assert "1 gone ('6')" in err
    assert neid(*train_arguments(pairs_folder, workdir), "--allow_changed_data")[0] == 0


def test_the_learning_rate_is_that_of_the_epoch_whatever_the_number_of_pairs(
    neid, tmp_path, pairs_folder
):
    train = [
        *train_arguments(pairs_folder, tmp_path / "run"),
        "--batch_size=1",
        "--learning_rate=1e-4",
    ]
    train += ["--schedule=piecewise", "--boundaries=3", "--decay=0.1"]
    assert neid(*train, "--epochs=2")[0] == 0
    names = sorted(path.name for path in (pairs_folder / "low").iterdir())
    assert len(names) >= 5
    for name in names[2:]:
        for side in ("low", "high"):
            (pairs_folder / side / name).unlink()
    code, _, err = neid(*train, "--epochs=4", "--allow_changed_data")
    assert (code, err) == (0, "")
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-4, 1e-5], rtol=1e-5)


def test_a_saved_model_makes_what_its_weights_make(neid, tmp_path):
    """Also at twice the size and of packed pictures, where the tone is read off a smaller one."""
    source, packed = write(tmp_path / "dark.png", darkened(picture(50, 68))), tmp_path / "p.jpg"
    assert neid("pack", source, f"--output={packed}")[0] == 0
    made = ["--format=saved_model", f"--output={tmp_path / 'm'}"]
    assert neid("export", "--weights=neid_s", *made)[0] == 0
    tensorflow = ["--weights=neid_s", "--runtime=tensorflow"]
    for name, options in {
        "same": [source],
        "double": [source, "--scale=2"],
        "sent": [packed],
    }.items():
        results = []
        for kind, weights in (("weights", tensorflow), ("saved", [f"--weights={tmp_path / 'm'}"])):
            output = tmp_path / f"{name}_{kind}.png"
            code, _, err = neid("enhance", *options, f"--output={output}", *weights)
            assert code == 0, err
            results.append(cv2.imread(str(output)).astype(int))
        assert np.abs(results[0] - results[1]).max() <= 1, name


def test_train_writes_over_nothing_of_others(neid, tmp_path, pairs_folder):
    few = [f"--data={pairs_folder}", "--crop=32", "--epochs=1", "--batch_size=2"]
    (tmp_path / "link").symlink_to(pairs_folder / "high")
    for workdir in (pairs_folder / "low", tmp_path / "link"):
        before = sorted(workdir.iterdir())
        code, _, err = neid("train", *few, f"--workdir={workdir}")
        assert code == 1
        assert f"--workdir={workdir}: pictures of the data set are there" in err
        assert sorted(workdir.iterdir()) == before
    for name, reason in (
        ("low/run", "pictures of the data set are there"),
        ("", "the data set is"),
    ):
        code, _, err = neid("train", *few, f"--workdir={pairs_folder / name}")
        assert (code, reason in err) == (1, True)
    assert sorted(path.name for path in pairs_folder.iterdir()) == ["high", "low"]
    notes = tmp_path / "mine" / "history.jsonl"
    notes.parent.mkdir()
    notes.write_text("my own notes\n")
    code, _, err = neid("train", *few, f"--workdir={notes.parent}")
    assert code == 1
    assert f"{notes}: is there already, and of no run: give another --workdir" in err
    assert notes.read_text() == "my own notes\n"


def test_train_from_the_packaged_weights(neid, tmp_path, pairs_folder):
    """A grid of gains and a refinement: trained, validated, kept, and used."""
    train = ["train", f"--data={pairs_folder}", "--validation=0.2", "--crop=32", "--epochs=1"]
    train += ["--batch_size=5", "--learning_rate=0", f"--workdir={tmp_path / 'run'}"]
    fields = ["--model=neid_grid", "--filters=16", "--refinement=16", "--convolutions=1"]
    fields += ["--up_kernel=1"]
    code, out, err = neid(*train, *fields, "--init=neid_s")
    assert (code, err) == (0, "")
    assert "neid_s: 27 of 32 layers that learn start from it; afresh: dr (5)\n" in out
    [row] = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert {"refined_huber", "huber", "tone", "detail", "validation_psnr"} <= set(json.loads(row))
    made = []
    for weights in ("neid_s", tmp_path / "run" / "last.npz"):
        options = [f"--output={tmp_path / 'out.png'}", "--overwrite", "--runtime=tensorflow"]
        picture = pairs_folder / "low" / "1.png"
        assert neid("enhance", picture, f"--weights={weights}", *options)[0] == 0
        made.append(cv2.imread(str(tmp_path / "out.png")).astype(int))
    assert np.abs(made[0] - made[1]).max() <= 1


def test_why_layers_start_afresh_is_told(neid, tmp_path, pairs_folder):
    train = ["train", f"--data={pairs_folder}", f"--workdir={tmp_path / 'run'}", "--crop=32"]
    train += ["--validation=0.2", "--epochs=1", "--batch_size=5", "--init=neid_s"]
    fields = ["--model=neid_grid", "--filters=16", "--refinement=16", "--convolutions=1"]
    code, out, err = neid(*train, *fields)
    assert (code, err) == (0, "")
    assert "start from it; afresh: le (2), dr (5); it has up_kernel=1\n" in out


@pytest.mark.parametrize("weights", ["neid", "neid_s"])
def test_a_night_that_is_stored_as_jpeg_keeps_its_black(neid, tmp_path, weights):
    """What is lit in it is lifted, and a black that rounding has made olive is not."""
    scene = cv2.imread(str(SAMPLES / "high" / "coffee.png"))
    place = np.linspace(-1, 1, len(scene))[:, None, None]
    light, random = 1 / (1 + np.exp(-25 * (place - 0.1))), np.random.default_rng(2)
    night = 0.25 * light * scene + [0.2, 1.1, 1.1] + random.normal(0, 0.5, scene.shape)
    night = np.rint(night.clip(0, 255)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "night.jpg"), night, [cv2.IMWRITE_JPEG_QUALITY, 85])
    options = [f"--weights={weights}", f"--output={tmp_path / 'out.png'}"]
    code, _, err = neid("enhance", tmp_path / "night.jpg", *options)
    assert (code, err) == (0, "")
    made, is_black = cv2.imread(str(tmp_path / "out.png")), light[:, 0, 0] < 0.005
    assert made[is_black].max(axis=-1).mean() < 3
    assert made[~is_black].mean() > 2 * night[~is_black].mean()


def test_a_picture_of_16_bits_that_is_dark_altogether_is_lifted(neid, tmp_path):
    """No level of it is one of 8 bits."""
    bright = cv2.resize(cv2.imread(str(SAMPLES / "high" / "coffee.png")), (96, 64))
    dark = np.rint(bright * (257 / 260)).astype(np.uint16)
    assert dark.max() < 257
    cv2.imwrite(str(tmp_path / "dark.png"), dark)
    code, _, err = neid("enhance", tmp_path / "dark.png", f"--output={tmp_path / 'out.png'}")
    assert (code, err) == (0, "")
    made = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert made.mean() > 20 * dark.mean()


def test_a_veil_is_taken_off(neid, tmp_path):
    """A picture with gray for black and for white comes out with black."""
    bright = cv2.resize(cv2.imread(str(SAMPLES / "high" / "coffee.png")), (192, 128))
    hazy = np.rint(55 + 0.5 * bright).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "hazy.png"), hazy)
    code, _, err = neid("enhance", tmp_path / "hazy.png", f"--output={tmp_path / 'out.png'}")
    assert (code, err) == (0, "")
    made = cv2.imread(str(tmp_path / "out.png"))
    darkest = [np.percentile(pixels.min(axis=-1), 1) for pixels in (hazy, made)]
    assert darkest[0] > 50
    assert darkest[1] < 35
    assert np.ptp(made.astype(int), axis=-1).mean() > 1.3 * np.ptp(hazy.astype(int), axis=-1).mean()


@pytest.mark.parametrize(
    ("flag", "has"),
    [
        ("--tone_black=0", "tone_black=1.5"),
        ("--tone_veil=0", "tone_veil=1.0"),
        ("--tone_least_lift=0.1", "tone_least_lift=0.34"),
    ],
)
def test_a_tone_that_reads_otherwise_than_it_learned_is_told(
    neid, tmp_path, pairs_folder, flag, has
):
    train = ["train", f"--data={pairs_folder}", f"--workdir={tmp_path / 'run'}", "--crop=32"]
    train += ["--validation=0.2", "--epochs=1", "--batch_size=5", "--init=neid_s"]
    fields = ["--model=neid_grid", "--filters=16", "--refinement=16", "--convolutions=1"]
    code, out, err = neid(*train, *fields, "--up_kernel=1", flag)
    assert (code, err) == (0, "")
    assert f"start from it; afresh: dr (5); it has {has}\n" in out


def test_weights_of_which_next_to_nothing_fits_are_refused(neid, tmp_path, pairs_folder):
    train = ["train", f"--data={pairs_folder}", f"--workdir={tmp_path / 'run'}", "--crop=32"]
    few = ["--epochs=1", "--batch_size=6"]
    code, _, err = neid(*train, *few, "--model=neid_tone", "--filters=4", "--init=neid_s")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "of 41 layers that learn start from it, next to nothing" in err
    assert "filters=16" in err
    assert "tone_kind=grid" in err


@pytest.mark.parametrize(("text", "missing"), [("1\n7.png\n", "7.png"), ("a pair", "a pair")])
def test_a_validation_list_that_matches_nothing(neid, tmp_path, pairs_folder, text, missing):
    names = tmp_path / "names.txt"
    names.write_text(text)
    options = [f"--workdir={tmp_path / 'run'}", "--crop=32", f"--validation={names}"]
    code, _, err = neid("train", f"--data={pairs_folder}", *options)
    assert code == 1
    assert f"{names}: 1 problem" in err
    assert f"no picture is called {missing!r}" in err
    assert not (tmp_path / "run").exists()


def test_saved_flags_make_the_same_run(neid, tmp_path, pairs_folder):
    (tmp_path / "my names.txt").write_text("6.png\n")
    held = f"--validation={tmp_path / 'my names.txt'}"
    code, out, err = neid(*train_arguments(pairs_folder, tmp_path / "one"), held)
    assert (code, err) == (0, "")
    assert "5 pairs to train on, 1 held out: 6" in out
    flagfile = tmp_path / "one" / "flags.txt"
    options = [f"--data={pairs_folder}", f"--workdir={tmp_path / 'two'}"]
    assert neid("train", f"--flagfile={flagfile}", *options)[0] == 0
    one, two = (json.loads((tmp_path / n / "settings.json").read_text()) for n in ("one", "two"))
    assert one == two


def test_every_field_has_a_flag_and_every_flag_is_read():
    from neid_tf.commands import train
    from neid_tf.models import ModelConfig

    for config, holders in (
        (TrainConfig, train._CONFIG_FLAGS),
        (ModelConfig, train._MODEL_FLAGS),
    ):
        fields = {field.name: field for field in leaf_fields(config)}
        assert set(holders) == set(fields)
        for name, field in fields.items():
            assert field.metadata["help"].endswith("."), name
    assert train._CONFIG_FLAGS["epochs"].default == 2000
    assert tuple(losses.RECONSTRUCTIONS) == objective.RECONSTRUCTIONS


def test_the_papers_flagfile_is_the_papers_run(neid):
    from absl import flags

    from neid_tf.commands import train
    from neid_tf.models import ModelConfig

    path = os.path.join(os.path.dirname(__file__), "..", "..", "experiments", "paper.flags")
    flags.FLAGS(["train", f"--flagfile={path}"])
    with flags_restored():
        config = train.config_from_flags()
        model, fields = train.model_from_flags(config)
    defaults = TrainConfig()
    assert config == defaults
    assert config.sampling == Sampling(batch_size=8, crop=256)
    assert config.epochs == 2000
    assert (config.learning_rate, config.boundaries, config.decay) == (1e-4, "500,1000", 0.1)
    loss = config.objective
    assert (loss.reconstruction, loss.detail_weight, loss.colour_weight) == ("huber", 0.1, 0.1)
    assert model == "paper"
    assert ModelConfig(**fields) == ModelConfig(filters=64, depth=4, initializer="normal")


@pytest.mark.parametrize("command", program.COMMANDS)
def test_help_is_complete(neid, command):
    code, out, _ = neid(command, "--help")
    assert code == 0
    assert f"neid {command}" in out
    assert {"train": "--workdir", "demo": "--host", "serve": "--host"}.get(
        command, "--output"
    ) in out


def test_help_tells_the_defaults_of_the_command(neid):
    for command in ("serve", "demo"):
        told = " ".join(neid(command, "--help")[1].split())
        assert f"{pictures.SERVED_MAX_PIXELS:,} for neid demo and neid serve" in told
    assert "and for neid watch" in " ".join(neid("watch", "--help")[1].split())


def test_help_of_train_lists_every_flag(neid):
    from neid_tf.commands import train

    _, out, _ = neid("train", "--help")
    for name in [*train._CONFIG_FLAGS, *train._MODEL_FLAGS, "data", "workdir", "validation"]:
        assert f"--{name}:" in out or f"--[no]{name}:" in out


HEAVY = ("tensorflow", "keras", "cv2", "skimage", "scipy", "onnxruntime", "ai_edge_litert", "av")


@pytest.mark.parametrize("arguments", [[], *([command] for command in program.COMMANDS)])
def test_help_loads_no_large_library(arguments):
    script = (
        "import sys; from neid_tf.commands import main; code = main.main(['neid', *sys.argv[1:]]);"
        f"sys.exit(code or ', '.join(sys.modules.keys() & {set(HEAVY)}) or None)"
    )
    command = [sys.executable, "-c", script, *arguments, "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("weights", "installed", "gpu", "runtime"),
    [
        ("m.onnx", (), False, "onnx"),
        ("m.tflite", ("tensorflow",), True, "litert"),
        ("folder", (), False, "saved_model"),
        ("mine.npz", ("onnxruntime",), False, "tensorflow"),
        ("neid", ("onnxruntime", "tensorflow"), False, "onnx"),
        ("neid", ("onnxruntime", "tensorflow"), True, "tensorflow"),
        ("neid", ("onnxruntime",), True, "onnx"),
        ("neid", ("tensorflow",), False, "tensorflow"),
        ("neid", (), False, "onnx"),
    ],
)
def test_automatic_runtime(weights, installed, gpu, runtime, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in installed or None)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/x" if gpu else None)
    assert methods.choose_runtime(weights) == runtime


def test_module_is_a_program():
    result = subprocess.run(
        [sys.executable, "-m", "neid_tf.commands.main", "enhance"], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.startswith("neid: enhance: no input")


def test_all_commands_can_be_loaded_together(neid):
    """No two of them define the same flag."""
    for command in program.COMMANDS:
        assert neid(command, "--help")[0] == 0


def test_a_dead_zone_lets_a_well_exposed_picture_come_back(neid, tmp_path):
    source = Path(__file__).parents[2] / "data" / "samples" / "high" / "coffee.png"
    network = models.as_part(pretrained.load_pretrained("neid_s"), "refined")
    changes = []
    for width in (0.0, 0.08, 0.5):
        weights, output = tmp_path / f"{width}.npz", tmp_path / f"{width}.png"
        fields = {"tone_dead_zone": width, "tone_least_lift": 0.0, "tone_shade": 1.0}
        pretrained.save(mix.with_fields(network, **fields), weights)
        code, _, err = neid("enhance", source, f"--output={output}", f"--weights={weights}")
        assert (code, err) == (0, "")
        made, before = (pictures.read(path).pixels.astype(float) for path in (output, source))
        changes.append(np.abs(made - before).mean())
    assert changes[0] > changes[1] > changes[2]


def test_shade_under_a_bright_sky_is_lifted(neid, tmp_path):
    """And the sky stays; with the weights as they are packaged."""
    reference = Path(__file__).parents[2] / "data" / "samples" / "high" / "coffee.png"
    shade = np.rint(pictures.read(reference).pixels * 0.25).astype(np.uint8)
    sky = np.full_like(shade[: len(shade) // 2], 235)
    source = write(tmp_path / "backlit.png", np.concatenate([sky, shade[len(shade) // 2 :]]))
    output = tmp_path / "lifted.png"
    assert neid("enhance", source, f"--output={output}")[0] == 0
    before, after = (pictures.read(path).pixels.astype(float) for path in (source, output))
    rows = slice(len(sky) + 20, None)
    lit = (before[rows].max(axis=-1) > 20) & (before[rows].max(axis=-1) < 45)
    assert after[rows][lit].mean() > 1.3 * before[rows][lit].mean()
    assert np.abs(after - before)[: len(sky) - 20].mean() < 3.0


def test_a_black_sky_with_a_codecs_noise_is_not_read_as_a_dark_room(neid, tmp_path):
    lit = cv2.resize(pictures.read(SAMPLES / "high" / "coffee.png").pixels, (640, 240))
    night = np.zeros((480, 640, 3), np.uint8)
    night[240:] = np.rint(255 * (0.03 * (lit / 255) ** 2.2) ** (1 / 2.2))
    noise = np.random.default_rng(1).poisson(0.6, (240, 320, 1)).clip(0, 3)
    blocks = noise.repeat(2, axis=0).repeat(2, axis=1) * np.array([1, 1, 0])
    source = write(tmp_path / "night.png", np.maximum(night, blocks).astype(np.uint8))
    output = tmp_path / "out.png"
    assert neid("enhance", source, f"--output={output}", "--weights=neid_s")[0] == 0
    made = pictures.read(output).pixels
    assert made[:150].max(axis=-1).mean() < 16.0  # 20 where each cell is looked at alone.
    assert made[240:].mean() > 4 * night[240:].mean()


def test_a_bright_picture_comes_back_as_bright(neid, tmp_path):
    reference = Path(__file__).parents[2] / "data" / "samples" / "high" / "astronaut.png"
    share = 1 - pictures.read(reference).pixels / 255
    bright = np.minimum(255 * (1 - share ** (2**0.4)), 244).astype(np.uint8)
    source, network = write(tmp_path / "bright.png", bright), pretrained.load_pretrained("neid_s")
    network, means = models.as_part(network, "refined"), []
    for darkening in (0.0, 0.04):
        weights, output = tmp_path / f"{darkening}.npz", tmp_path / f"{darkening}.png"
        fields = {"tone_darkening": darkening, "tone_least_lift": 0.0, "tone_shade": 1.0}
        pretrained.save(mix.with_fields(network, **fields), weights)
        assert neid("enhance", source, f"--output={output}", f"--weights={weights}")[0] == 0
        means.append(pictures.read(output).pixels.mean() / bright.mean())
    assert means[0] < 0.993
    assert means[1] == pytest.approx(1.0, abs=0.003)
