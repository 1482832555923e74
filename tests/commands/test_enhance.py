"""What ``neid enhance`` does with many files, strange names and bad ones, through the command."""

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image, ImageCms

from neid_tf import pictures, video
from neid_tf.commands import enhance as command
from neid_tf.inference import methods
from neid_tf.inference.enhance import Enhancement
from neid_tf.inference.network import FunctionNetwork
from neid_tf.inference.tiles import Tiled
from neid_tf.pictures.raster import Extras
from neid_tf.pixels.samples import as_gray, luminance
from tests.conftest import darkened, picture, write
from tests.pictures.test_formats import gif_with
from tests.pictures.test_tiff import with_changed, with_entry

QUICK = "--method=bimef"


def files(root):
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a picture, ``in/a.png``, seen from the folder it is in."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in" / "a.png", darkened(picture(16, 20)))
    return tmp_path / "in"


def enhanced(neid, *arguments, code=0):
    got, out, err = neid("enhance", *arguments, QUICK)
    assert got == code, err
    return out.splitlines(), err.splitlines()


def test_what_is_passed_over_is_counted(neid, folder):
    for name in ("1.psd", "2.PSD", "x.xcf", "notes.txt", "noext", ".hidden.png", "sub/3.psd"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    out, err = enhanced(neid, "in", "--output=out")
    expected = "3 .psd, 1 .txt, 1 .xcf, 1 hidden, 1 without a suffix"
    assert err == [f"neid: 7 files left out: {expected}"]
    assert out == ["1 written to out, 7 left out"]
    (folder / "a.png").unlink()
    out, err = enhanced(neid, "in", "--output=out", code=1)
    assert err[0] == f"neid: in: no pictures or videos in this folder (only {expected})"


def test_sources_with_the_suffix_of_videos_are_no_videos(neid, folder):
    (folder / "code.ts").write_text("const a: number = 1;\n" * 20)
    (folder / "module.mts").write_text("export {};\n")
    (folder / "broken.ts").write_bytes((b"\x47" + bytes(187)) * 3)
    _, err = enhanced(neid, "in", "--output=out", code=1)
    assert len(err) == 2
    assert err[0].startswith("neid: in/broken.ts: ")
    assert err[1] == "neid: 2 files left out: 1 .mts, 1 .ts"


def test_a_folder_that_cannot_be_looked_into_is_named(neid, folder, monkeypatch):
    write(folder / "closed" / "b.png", picture(8, 8))
    real = os.scandir

    def refusing(path="."):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    line = "neid: in/closed: can't look into this folder: permission denied"
    for item in ("in", "in/**/*.png", "in/*/*.png"):
        shutil.rmtree("out", ignore_errors=True)
        _, err = enhanced(neid, item, "--output=out", code=1)
        assert err == [line]
        assert Path("out").exists() == ("*/*" not in item or "**" in item)


def test_paths_that_cannot_be_looked_at_are_named(neid, folder, monkeypatch):
    long = "x" * 300 + ".png"
    _, err = enhanced(neid, long, f"in/{'y/' * 3000}", "in/a.png", "--output=out", code=1)
    assert len(err) == 2
    assert all(line.endswith(": file name too long") for line in err)
    assert files(Path("out")) == ["a.png"]
    _, err = enhanced(neid, "in/a.png", "--output=out", f"--suffix={'z' * 300}", code=1)
    assert len(err) == 1
    assert err[0].endswith(": file name too long")
    real = os.stat

    def refusing(path, *rest, **options):
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **options)

    write(folder / "closed" / "b.png", picture(8, 8))
    monkeypatch.setattr(os, "stat", refusing)
    # As in an output folder of mode 000, and in a folder of mode 444.
    _, err = enhanced(neid, "in", "--output=out2", code=1)
    assert err == ["neid: in/closed/b.png: permission denied"] or (
        err == ["neid: in/closed/b.png: out2/closed/b.png: permission denied"]
    )
    assert files(Path("out2")) == ["a.png"]


@pytest.mark.parametrize("pattern", ["in/**/a.png", "in/**", "in", "in/**/**/*.png"])
def test_links_that_lead_in_circles(neid, folder, pattern):
    (folder / "sub").mkdir()
    for name in ("one", "two", "sub/three", "sub/four"):
        (folder / name).symlink_to(folder, target_is_directory=True)
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    started = time.monotonic()
    out, err = enhanced(neid, pattern, "--output=out")
    assert (out, err) == (["1 written to out"], [])
    assert time.monotonic() - started < 10


def test_linked_folders_are_looked_into_once(neid, folder, tmp_path):
    write(tmp_path / "other" / "b.png", picture(8, 8))
    for name in ("here", "there"):
        (folder / name).symlink_to(tmp_path / "other", target_is_directory=True)
    enhanced(neid, "in", "--output=out")
    assert files(tmp_path / "out") == ["a.png", "here/b.png"]


def test_a_folder_with_the_name_of_a_picture(neid, folder, tmp_path):
    write(tmp_path / "album.png" / "b.jpg", picture(8, 8))
    write(folder / "c.png" / "d.png", picture(8, 8))
    enhanced(neid, "album.png", "in", "--output=out")
    assert files(tmp_path / "out") == ["a.png", "b.jpg", "c.png/d.png"]
    out, err = enhanced(neid, "in/*.png", "--output=out3")
    assert out == ["1 written to out3, 1 left out"]
    assert err == ["neid: 1 file left out: 1 matching folder"]


def test_outputs_are_no_inputs(neid, folder):
    enhanced(neid, "in", "--output=in/bright")
    out, err = enhanced(neid, "in", "--output=in/bright", "--overwrite")
    assert out == ["1 written to in/bright, 1 left out"]
    assert err == ["neid: 1 file left out: 1 below the output"]
    shutil.rmtree(folder / "bright")
    enhanced(neid, "in", "--output=in", "--suffix=_b")
    write(folder / "c_b.png", picture(8, 8))  # Whose input is not there is no output.
    out, err = enhanced(neid, "in/*.png", "--output=in", "--suffix=_b", "--existing=skip")
    assert out == ["1 written to in, 1 skipped, 1 left out"]
    assert err == ["neid: 1 file left out: 1 made before (*_b.*)"]
    assert files(folder) == ["a.png", "a_b.png", "c_b.png", "c_b_b.png"]


@pytest.mark.parametrize("existing", ["fail", "skip", "overwrite"])
def test_a_missing_input_is_named_before_an_output_that_is_there(neid, folder, existing):
    Path("b.jpg").write_bytes(b"mine")
    for name, *how in (("enhance", QUICK), ("pack",)):
        done = neid(name, "none.png", "--output=b.jpg", f"--existing={existing}", *how)
        error = "neid: none.png: no such file or directory\n"
        assert done == (1, "0 written to b.jpg, 1 failed\n", error)


def test_pipes_are_refused(folder):
    for name in ("p.png", "p.tif", "q.ts"):
        os.mkfifo(folder / name)
    program = [sys.executable, "-m", "neid_tf.commands.main", "enhance", "in", QUICK]
    # Opened for reading, they would wait for ever.
    done = subprocess.run([*program, "--output=out"], capture_output=True, text=True, timeout=60)
    lines, reason = done.stderr.splitlines(), "not a regular file"
    assert lines[:2] == [f"neid: in/p.png: {reason}", f"neid: in/p.tif: {reason}"]
    assert lines[2].startswith("neid: in/q.ts: ")
    assert (done.returncode, done.stdout) == (1, "1 written to out, 3 failed\n")


def test_existing_outputs(neid, folder):
    write(folder / "b.png", picture(8, 9))
    enhanced(neid, "in/a.png", "--output=out")
    made = Path("out/a.png")
    made.write_bytes(b"mine")
    out, err = enhanced(neid, "in", "--output=out", code=1)
    assert out == ["1 written to out, 1 failed"]
    assert err[0].startswith("neid: in/a.png: out/a.png: is there already; --overwrite")
    out, err = enhanced(neid, "in", "--output=out", "--existing=skip")
    assert (out, err) == (["0 written to out, 2 skipped"], [])
    assert made.read_bytes() == b"mine"
    out, _ = enhanced(neid, "in", "--output=out", "--existing=overwrite")
    assert out == ["2 written to out"]
    assert pictures.read(made).pixels.shape == (16, 20, 3)
    assert neid("enhance", "in", "--output=out", "--overwrite", "--existing=skip")[0] == 2
    assert neid("enhance", "in", "--output=out", "--existing=ask")[0] == 2


@pytest.fixture
def meanwhile(monkeypatch):
    """The command enhances so slowly that others write to ``out`` meanwhile."""

    def of_pixels(pixels):
        for name in ("a.png", "v.mp4", "t.tif"):
            Path("out", name).write_bytes(b"precious")
        return pixels

    def of_frames(batch):
        return of_pixels(batch.repeat(2, axis=1).repeat(2, axis=2))

    os.mkdir("out")
    by_windows = Enhancement(Tiled(FunctionNetwork(of_frames), 64), 2)
    monkeypatch.setattr(command, "_function", lambda: by_windows)
    monkeypatch.setattr(command, "for_frames", lambda: (of_frames, {}))
    return of_pixels


def test_what_appears_while_a_picture_is_computed_is_left_alone(
    neid, folder, meanwhile, monkeypatch
):
    monkeypatch.setattr(command, "_function", lambda: meanwhile)
    _check_left_alone(neid, "in/a.png", "out/a.png")
    out, _ = enhanced(neid, "in", "--output=out", "--overwrite")
    assert (out, files(Path("out"))) == (["1 written to out"], ["a.png", "t.tif", "v.mp4"])
    assert pictures.read("out/a.png").pixels.shape == (16, 20, 3)


def test_what_appears_while_a_video_is_computed_is_left_alone(neid, folder, meanwhile):
    make_clip = pytest.importorskip("tests.video.test_enhance").make_clip
    make_clip(folder / "v.mp4", [darkened(picture(32, 48))] * 2)
    _check_left_alone(neid, "in/v.mp4", "out/v.mp4")


def test_what_appears_while_a_large_tiff_is_computed_is_left_alone(neid, folder, meanwhile):
    pytest.importorskip("rasterio")
    write(folder / "t.tif", darkened(picture(64, 96)))
    _check_left_alone(neid, "in/t.tif", "out/t.tif", "--max_pixels=999")


def _check_left_alone(neid, source, target, *flags):
    for existing in ("fail", "skip"):
        Path(target).unlink(missing_ok=True)
        options = ["--output=out", f"--existing={existing}", *flags]
        out, err = enhanced(neid, source, *options, code=int(existing == "fail"))
        sums = {"fail": "1 failed", "skip": "1 skipped"}[existing]
        assert out == [f"0 written to out, {sums}"]
        assert [line.partition(";")[0] for line in err] == (
            [f"neid: {source}: {target}: is there already"] * (existing == "fail")
        )
        assert Path(target).read_bytes() == b"precious"
        assert not [name for name in os.listdir("out") if name.startswith(".neid-")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in/a.png", "--output=one.xcf"], "one.xcf: no file with the suffix .xcf"),
        (["in/a.png", "--output=one.heic", "--format=png"], "one.heic: no file with the suffix"),
        (["in/a.png", "--output=in/a.png", "--format=avif"], "a.png: no file with the suffix"),
        (["in/a.png", "--output=out", "--format=bmp"], "one of <jpeg|png|"),
        (["in/a.png", "--output=out", "--quality=5", "--jpeg_quality=6"], "differ"),
        (["in/a.png", "--output=one.avi"], "no file with the suffix .avi"),
        (["", "--output=out"], "an input is an empty text"),
        (["in/a.png", "", "--output=out"], "an input is an empty text"),
        (["in/a.png", "--output="], "--output is missing"),
        (["in/a.png", "--output=out", "--suffix=/x"], "a suffix is a part of a file's name"),
        (["in/a.png", "--output=out", "--strength=9"], "strength"),
        (["in/a.png", "--output=out", "--strength=nan"], "strength"),
        (["in", "--output=in/a.png"], "one file, but there are several inputs"),
    ],
)
def test_usage(neid, folder, arguments, message):
    code, out, err = neid("enhance", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert os.listdir() == ["in"]


def test_folders_with_dots_in_their_names(neid, folder):
    for output in ("one.xcf/", "results 2026.11.26", "v1.0", "a.b.longer"):
        enhanced(neid, "in/a.png", f"--output={output}")
        assert os.listdir(output) == ["a.png"]
    enhanced(neid, "in", "--output=in.v2")
    assert os.listdir("in.v2") == ["a.png"]


def test_home(neid, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    enhanced(neid, "~/in/a.png", "--output=~/out")
    assert files(tmp_path / "out") == ["a.png"]
    code, _, err = neid("enhance", "in/a.png", "--output=x", "--weights=~/none.npz")
    assert code == 1
    assert f"{tmp_path}/none.npz" in err
    (tmp_path / "~").mkdir()
    enhanced(neid, "in/a.png", "--output=~")
    assert os.listdir("~") == ["a.png"]


def test_names_of_any_characters(neid, folder):
    for name in (b"new\nline.png", b"red\x1b[31m.png", b"caf\xe9.png"):
        (folder / os.fsdecode(name)).write_bytes(b"text")
    _, err = enhanced(neid, "in", "--output=out\x07", code=1)
    assert [line.partition(".png")[0] for line in err] == [
        r"neid: in/caf\xe9",
        r"neid: in/new\nline",
        r"neid: in/red\x1b[31m",
    ]


def test_a_report_of_names_that_are_no_text(neid, folder):
    name = os.fsdecode(b"caf\xe9")
    write(folder / "a.png", darkened(picture(100, 120)))
    (folder / f"{name}.png").write_bytes((folder / "a.png").read_bytes())
    code, _, err = neid("evaluate", "--data=in", "--output=r.json", QUICK)
    assert code == 0, err
    report = json.loads(Path("r.json").read_text("utf-8"))
    assert {image["name"] for image in report["images"]} == {"a", name}


def test_a_video_among_pictures_that_the_method_cannot_do(neid, folder):
    (folder / "b.mp4").write_bytes(b"video")
    write(folder / "c.png", picture(8, 9))
    out, err = enhanced(neid, "in", "--output=out", code=1)
    assert out == ["2 written to out, 1 failed"]
    assert err == ["neid: in/b.mp4: videos need --method=neid, not bimef"]


def test_wrong_usage_is_told_before_anything_is_done(neid, folder):
    (folder / "0.mp4").write_bytes(b"video")
    for flags in (["--method=lime", "--scale=2"], ["--method=magic"], ["--tile=9"]):
        code, out, err = neid("enhance", "in", "--output=out", *flags)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert not os.path.exists("out")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method=bogus", "--runtime=litert"], "'bogus'"),
        (["--tile=9"], "--tile"),
        (["--quality=5", "--jpeg_quality=6"], "differ"),
        (["--overwrite", "--existing=skip"], "differ"),
        (["--suffix=/x"], "a suffix is a part"),
        (["--engine=ray", "--method=lime", "--scale=2"], "--scale=2"),
        (["--tile=128", "--runtime=litert"], "--tile=128: litert does pictures whole"),
        (["--tile=128", "--weights=in"], "--tile=128: saved_model does pictures whole"),
    ],
)
def test_wrong_usage_is_told_before_a_folder_is_looked_through(
    neid, folder, monkeypatch, flags, message
):
    monkeypatch.setattr("neid_tf.jobs.plan.plan", None)
    code, _, err = neid("enhance", "in", "--output=out", *flags)
    assert (code, message in err, len(err.splitlines())) == (2, True, 1)


def test_inputs_that_are_not_there_are_named_before_anything_is_loaded(neid, folder, monkeypatch):
    os.symlink("nowhere.png", "in/b.png")
    loaded = []
    monkeypatch.setattr(command, "_function", lambda: loaded.append(1) or (lambda pixels: pixels))
    code, out, err = neid("enhance", "none.png", "in/b.png", "--output=out")
    lines = [f"neid: {name}: no such file or directory" for name in ("none.png", "in/b.png")]
    assert (code, out, err.splitlines()) == (1, "0 written to out, 2 failed\n", lines)
    assert not loaded
    assert not os.path.exists("out")
    assert neid("enhance", "in/a.png", "none.png", "--output=out")[0] == 1
    assert (loaded, files(Path("out"))) == ([1], ["a.png"])


def test_a_fault_of_one_picture_with_debug(neid, folder, monkeypatch, capfd):
    def broken(pixels):
        raise RuntimeError("out of memory on device")

    monkeypatch.setattr(command, "_function", lambda: broken)
    _, err = enhanced(neid, "in", "--output=out", code=1)
    assert err == ["neid: in/a.png: can't be enhanced: RuntimeError: out of memory on device"]
    from neid_tf.commands import main as program

    assert program.main(["neid", "enhance", "in", "--output=out", "--debug"]) == 1
    assert "in broken" in capfd.readouterr().err


def test_all_pages_and_frames_are_done(neid, folder, tmp_path):
    pages = [pictures.Picture(darkened(picture(16, 20 + n, seed=n))) for n in range(3)]
    Path("pages.tif").write_bytes(pictures.encode_all("pages.tif", pages))
    frames = [
        dataclasses.replace(
            pictures.Picture(darkened(picture(16, 20, seed=n))), extras=Extras(duration=0.1)
        )
        for n in range(4)
    ]
    Path("anim.png").write_bytes(pictures.encode_all("anim.png", frames))
    out, err = enhanced(neid, "pages.tif", "anim.png", "--output=out")
    assert (out, err) == (["2 written to out"], [])
    for name, sources in (("pages.tif", pages), ("anim.png", frames)):
        made = list(pictures.decode_all(name, Path("out", name).read_bytes()))
        assert [page.pixels.shape for page in made] == [page.pixels.shape for page in sources]
        for page, source in zip(made, sources, strict=True):
            assert page.pixels.mean() > 1.5 * source.pixels.mean()
    with tifffile.TiffWriter("mixed.tif") as file:
        for page in pages:
            file.write(page.pixels, photometric="rgb")
        for _ in range(2):
            file.write(np.zeros((20, 16, 4), np.uint8), photometric="separated")
    _, err = enhanced(neid, "mixed.tif", "--output=out")
    assert err == ["neid: mixed.tif: pages 4, 5: its inks (CMYK) become sRGB"]
    _, err = enhanced(neid, "pages.tif", "--output=one.jpg")
    assert err == ["neid: pages.tif: 2 of its pages are left out: JPEG holds none"]


def test_frames_of_an_animation_are_smoothed_as_those_of_a_video(
    neid, folder, weights_file, monkeypatch
):
    times = []
    real = video.Enhancer.__call__

    def noted(self, frames):
        times.extend(frame.time for frame in frames)
        return real(self, frames)

    monkeypatch.setattr(video.Enhancer, "__call__", noted)
    still = pictures.Picture(darkened(picture(16, 20)), extras=Extras(duration=0.25))
    Path("anim.png").write_bytes(pictures.encode_all("anim.png", [still] * 3))
    weights = f"--weights={weights_file}"
    assert neid("enhance", "anim.png", "--output=out", "--scale=2", weights)[0] == 0
    assert times == pytest.approx([0.0, 0.25, 0.5])
    made = [p.pixels for p in pictures.decode_all("x", Path("out/anim.png").read_bytes())]
    assert [pixels.shape for pixels in made] == [(32, 40, 3)] * 3
    np.testing.assert_array_equal(made[0], made[2])
    times.clear()  # Many say no time: they are shown as browsers do it, and smoothed as well.
    still = pictures.Picture(darkened(picture(16, 20)))
    Path("quick.png").write_bytes(pictures.encode_all("quick.png", [still] * 3))
    assert neid("enhance", "quick.png", "--output=out", weights)[0] == 0
    assert times == pytest.approx([0.0, 0.1, 0.2])


def test_what_a_format_cannot_hold_is_refused_before_it_is_computed(neid, folder, monkeypatch):
    write(folder.parent / "wide.png", picture(2, 16_400))

    def never(_):
        raise AssertionError

    monkeypatch.setattr(command, "_function", lambda: never)
    code, out, err = neid("enhance", "wide.png", "--output=x.webp")
    assert (code, out) == (1, "0 written to x.webp, 1 failed\n")
    assert "in WEBP, sides are at most 16383 pixels" in err


def test_quality_and_metadata(neid, folder, tmp_path):
    extras = Extras(density=(300.0, 300.0, True), comments=(b"mine",))
    noisy = np.random.default_rng(0).integers(0, 60, (64, 64, 3), np.uint8)
    pictures.write(tmp_path / "p.jpg", pictures.Picture(noisy, format="JPEG", extras=extras))
    sizes = []
    for flags in (["--quality=30"], [], ["--metadata=none"]):
        enhanced(neid, "p.jpg", "--output=out", "--overwrite", *flags)
        sizes.append(os.path.getsize("out/p.jpg"))
        kept = pictures.read("out/p.jpg").extras
        assert bool(kept.comments) == (flags != ["--metadata=none"])
    assert sizes[0] < 0.6 * sizes[1]
    enhanced(neid, "p.jpg", "--output=old", "--jpeg_quality=30")
    assert os.path.getsize("old/p.jpg") == sizes[0]
    for flag in ("--quality=0", "--quality=101", "--jpeg_quality=0", "--metadata=some"):
        assert neid("enhance", "p.jpg", "--output=out", flag)[0] == 2


def test_a_quality_that_changes_nothing_is_named(neid, folder):
    told = "neid: --quality=50 changes nothing: all is written without loss\n"
    assert neid("enhance", "in", "--output=png", "--quality=50")[::2] == (0, told)
    pictures.write("in/b.jpg", pictures.Picture(picture(16, 20)))
    assert neid("enhance", "in", "--output=both", "--quality=50")[::2] == (0, "")
    assert neid("enhance", "in/b.jpg", "--output=b", "--quality=50")[::2] == (0, "")
    assert neid("enhance", "in/b.jpg", "--output=b.bmp", "--quality=50")[::2] == (0, told)


def test_colour_in_a_pgm_is_named(neid, folder):
    code, _, err = neid("enhance", "in/a.png", "--output=a.pgm")
    assert (code, err) == (
        0,
        "neid: in/a.png: it is written in colour, as a PPM: .pgm is for gray\n",
    )
    assert Path("a.pgm").read_bytes()[:2] == b"P6"
    gray = pictures.Picture(picture(16, 20), gray=True)
    pictures.write("gray.pgm", gray)
    assert neid("enhance", "gray.pgm", "--output=out")[::2] == (0, "")


def test_the_format_that_is_asked_for(neid, folder):
    pictures.write("in/b.jpeg", pictures.Picture(picture(16, 20)))
    pictures.write("in/c.ppm", pictures.Picture(picture(16, 20)))
    enhanced(neid, "in", "--output=jpeg", "--format=jpeg")
    assert files(Path("jpeg")) == ["a.jpg", "b.jpeg", "c.jpg"]
    enhanced(neid, "in", "--output=avif", "--format=avif", "--quality=40")
    assert files(Path("avif")) == ["a.avif", "b.avif", "c.avif"]
    assert pictures.read("avif/a.avif").format == "AVIF"
    enhanced(neid, "in", "--output=own")
    assert files(Path("own")) == ["a.png", "b.jpeg", "c.ppm"]
    enhanced(neid, "in/a.png", "--output=one.jpe", "--format=jpeg")
    assert pictures.read("one.jpe").format == "JPEG"


@pytest.mark.parametrize("suffix", ["heic", "jxl", "jp2", "pam"])
def test_what_phones_and_others_write_comes_back_as_it_was(suffix, neid, folder):
    for library, known in (("pillow_heif", "heic"), ("pillow_jxl", "jxl")):
        if suffix == known:
            pytest.importorskip(library)
    source = pictures.read("in/a.png")
    pictures.write(f"in/b.{suffix}", source)
    enhanced(neid, f"in/b.{suffix}", "--output=out")
    back = pictures.read(f"out/b.{suffix}")
    assert back.pixels.mean() > 1.5 * source.pixels.mean()


def test_metadata_and_quality_are_those_of_videos_too(neid, folder, tmp_path):
    pytest.importorskip("onnxruntime")
    av = pytest.importorskip("av")
    from tests.video.test_enhance import make_clip

    frames = [darkened(picture(64, 96, seed=n)) for n in range(4)]
    make_clip(tmp_path / "clip.mp4", frames, tags={"title": "secret", "location": "+48.2+16.3/"})
    contents, places = [], []
    for options in ([], ["--metadata=none"], ["--quality=30"]):
        output = ["--output=out.mp4", "--overwrite", "--weights=neid_s"]
        assert neid("enhance", "clip.mp4", *output, *options)[0] == 0
        contents.append((tmp_path / "out.mp4").read_bytes())
        with av.open("out.mp4") as file:
            places.append("location" in file.metadata)
    assert [b"secret" in content for content in contents] == places == [True, False, True]
    assert len(contents[2]) < 0.8 * len(contents[0])


@pytest.fixture
def work(monkeypatch):
    """What ONNX Runtime is given to do: whether beside something else, and whether to read."""
    runtimes = pytest.importorskip("neid_tf.inference.runtimes")
    pytest.importorskip("onnxruntime")
    run, read, done = runtimes.Onnx._run, runtimes.Onnx._read, []

    def noting(network, *given):
        done.append(("run", threading.current_thread().name.startswith("neid-beside")))
        return run(network, *given)

    def noting_too(network, *given):
        done.append(("read", threading.current_thread().name.startswith("neid-beside")))
        return read(network, *given)

    monkeypatch.setattr(runtimes.Onnx, "_run", noting)
    monkeypatch.setattr(runtimes.Onnx, "_read", noting_too)
    return done


@pytest.fixture(params=[1, 2])
def cores(request, monkeypatch):
    """So many cores, for networks that are loaded meanwhile."""
    methods.load_for_video.cache_clear()
    monkeypatch.setattr("neid_tf.inference.runtimes.usable_cores", lambda: request.param)
    yield request.param
    methods.load_for_video.cache_clear()


def test_tiles_are_computed_beside_each_other(neid, folder, work, cores):
    pixels = darkened(picture(140, 400))
    write(Path("large.png"), pixels)
    options = ["--weights=neid_s", "--tile=64", "--output=out.png"]
    assert neid("enhance", "large.png", *options)[0] == 0
    assert work == [("read", False)] * 2 + [("run", cores == 2)] * 17
    network = methods.load_network("neid_s", "onnx")
    network.beside = 1
    alone = Enhancement(Tiled(network, 32))(pixels)
    np.testing.assert_array_equal(pictures.read("out.png").pixels, alone)


@pytest.mark.parametrize(("size", "count"), [((20, 70), 2), ((80, 210), 4)])
def test_as_many_tiles_as_cores_are_computed_beside_each_other(
    neid, folder, work, cores, size, count
):
    write(Path("large.png"), darkened(picture(*size)))
    options = ["--weights=neid_s", "--tile=64", "--output=out.png"]
    assert neid("enhance", "large.png", *options)[0] == 0
    assert work == [("read", False)] * 2 + [("run", cores == 2)] * count


@pytest.mark.parametrize("scale", [1, 2])
def test_a_strip_comes_out_in_tiles_as_it_does_whole(neid, folder, scale):
    write(Path("strip.png"), darkened(picture(48, 700)))
    for name, tile in (("tiled", 64), ("whole", 2048)):
        options = [f"--output={name}.png", f"--tile={tile}", f"--scale={scale}"]
        assert neid("enhance", "strip.png", "--weights=neid_s", *options)[0] == 0
    tiled, whole = (pictures.read(f"{n}.png").pixels.astype(int) for n in ("tiled", "whole"))
    assert np.abs(tiled - whole).max() <= 2


def test_a_motion_photos_copy_does_not_say_that_it_is_one(neid, folder):
    packet = b"""<x:xmpmeta xmlns:Camera="http://ns.google.com/photos/1.0/camera/">
<rdf:Description Camera:MotionPhoto="1" tiff:Orientation="6"/></x:xmpmeta>"""
    image = Image.fromarray(darkened(picture(16, 20)))
    image.save("in/c.jpg", xmp=packet)
    with open("in/c.jpg", "ab") as file:
        file.write(b"\0\0\0\x18ftypmp42" + bytes(16))
    code, _, err = neid("enhance", "in/c.jpg", "--output=c.jpg", QUICK)
    assert code == 0
    assert "the video behind the picture is left out" in err
    with Image.open("c.jpg") as image:
        assert b"MotionPhoto" not in image.info["xmp"]
        assert b'tiff:Orientation="6"' in image.info["xmp"]  # Nothing told to turn it.


def test_one_tile_is_computed_on_all_cores(neid, folder, work, cores, monkeypatch):
    monkeypatch.setattr("neid_tf.inference.tiles.layout", lambda high, wide, *_: (high, wide))
    write(Path("large.png"), darkened(picture(20, 70)))
    options = ["--weights=neid_s", "--tile=64", "--output=out.png"]
    assert neid("enhance", "large.png", *options)[0] == 0
    assert work == [("read", False)] * 2 + [("run", False)]


def test_frames_are_computed_beside_each_other(neid, folder, work, cores):
    av = pytest.importorskip("av")
    from tests.video.test_enhance import make_clip

    make_clip(
        "clip.mp4", [darkened(picture(64, 96, seed=n // 9)) // (1 + n // 9) for n in range(18)]
    )
    assert neid("enhance", "clip.mp4", "--weights=neid_s", "--output=out.mp4")[0] == 0
    runs = [beside for kind, beside in work if kind == "run"]
    assert set(runs) == {cores == 2}
    if cores == 2:
        assert len(runs) == 18
    # Whole frames, after 0, 0.2, 0.3 (another scene) and 0.5 seconds.
    assert work.count(("read", False)) == len(work) - len(runs) == 4
    with av.open("out.mp4") as file:
        assert sum(1 for _ in file.decode(video=0)) == 18


def test_a_terminated_video_leaves_nothing(neid, folder, tmp_path):
    pytest.importorskip("onnxruntime")
    make_clip = pytest.importorskip("tests.video.test_enhance").make_clip
    make_clip(tmp_path / "long.mp4", [darkened(picture(64, 96, seed=n % 9)) for n in range(400)])
    program = [sys.executable, "-m", "neid_tf.commands.main", "enhance", "long.mp4"]
    with subprocess.Popen(
        [*program, "--output=out", "--weights=neid_s"], stderr=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 60
        while not (os.path.exists("out") and os.listdir("out")) and time.monotonic() < end:
            time.sleep(0.02)
        assert os.listdir("out")[0].startswith(".neid-")
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "neid: enhance: terminated\n")
    assert os.listdir("out") == []


SLOW = """
import sys, time
from neid_tf.commands import enhance, main
from neid_tf.support import files
real = files.place_file
def slow(*paths):
    print("writing", flush=True)
    time.sleep(0.3)
    real(*paths)
files.place_file = slow
enhance._function = lambda: lambda pixels: 255 - pixels
sys.exit(main.main(["neid", "enhance", "in", "--output=out"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_what_a_terminated_run_leaves(neid, folder, number, code):
    for n in range(30):
        write(folder / f"{n}.png", darkened(picture(16, 20)))
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    if number == signal.SIGTERM:
        assert err.splitlines() == [
            "neid: what is written is whole; --existing=skip does the rest",
            "neid: enhance: terminated",
        ]
    else:
        assert any(name.startswith(".neid-") for name in os.listdir("out"))
        enhanced(neid, "in", "--output=out", "--existing=skip")
    assert all(name.endswith(".png") for name in os.listdir("out"))
    for name in os.listdir("out"):
        assert pictures.read(f"out/{name}").pixels.dtype == np.uint8


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_large_picture_shows_how_far_it_is(neid, folder, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    write(tmp_path / "large.png", darkened(picture(140, 400)))
    monkeypatch.setattr(command, "BAR", command.BAR | {"delay": 0.0, "mininterval": 0.0})
    options = ["--weights=neid_s", "--tile=64", "--output=out"]
    for stream, seen in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert neid("enhance", "large.png", *options, "--overwrite")[0] == 0
        assert [f"{done}/17" in stream.getvalue() for done in (1, 16)] == [seen] * 2
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert neid("enhance", "in/a.png", *options)[0] == 0
    assert "tile" not in sys.stderr.getvalue()


def test_what_gif_and_ppm_say_beside_their_pixels_is_kept_or_told(neid, folder):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (folder / "b.gif").write_bytes(
        gif_with((0xFF, (b"ICCRGBG1012", profile)), (0xFF, (b"VENDOR1 ABC", b"x")))
    )
    (folder / "c.ppm").write_bytes(b"P6\n# by hand\n2 1\n255\n#bytes")
    code, _, err = neid("enhance", "in", "--output=out", QUICK)
    assert code == 0
    assert "b.gif: extensions left out: 'VENDOR1 ABC'" in err
    assert "c.ppm" not in err
    assert pictures.read("out/b.png").icc == profile
    assert Path("out/c.ppm").read_bytes().startswith(b"P6\n# by hand\n2 1\n")


def test_entries_of_a_tiff_that_cannot_be_read_cost_no_picture(neid, folder):
    (folder / "b.tif").write_bytes(with_entry(7, 4711, 10**8))
    code, _, err = neid("enhance", "in", "--output=out", QUICK)
    assert code == 0
    assert "b.tif: 60000, EXIF, which can't be read, left out" in err
    assert pictures.read("out/b.tif").pixels.any()


def test_what_is_damaged_beside_a_picture_is_told_and_a_damaged_layout_refused(neid, folder):
    (folder / "b.tif").write_bytes(with_changed(282, 5, 1, 10**8))
    (folder / "c.tif").write_bytes(with_changed(284, 3, 0, 1))
    pictures.write(folder / "d.png", pictures.Picture(darkened(picture(16, 20))))
    data = (folder / "d.png").read_bytes()
    (folder / "d.png").write_bytes(data[:33] + b"\0\0\0\4gAMA\0\0\1\0sum?" + data[33:])
    code, _, err = neid("enhance", "in", "--output=out", QUICK)
    assert code == 1
    assert "b.tif: XResolution, which can't be read, left out" in err
    assert "c.tif: " in err
    assert "d.png: damaged chunks left out: 'gAMA'" in err
    assert pictures.read("out/b.tif").pixels.any()
    assert pictures.read("out/d.png").pixels.any()
    assert not Path("out/c.tif").exists()


def test_a_mask_and_what_lies_behind_a_picture(neid, folder):
    """What is kept and what is told of files that hold more than a picture."""
    samples, mask = darkened(picture(16, 20)), np.arange(16)[:, None] + np.zeros(20) > 4
    with tifffile.TiffWriter(folder / "b.tif") as writer:
        writer.write(samples, photometric="rgb", metadata=None, contiguous=False)
        writer.write(mask, photometric="mask", subfiletype=4, metadata=None)
    pictures.write(folder / "c.jpg", pictures.Picture(samples))
    with open(folder / "c.jpg", "ab") as file:
        file.write(b"\0\0\0\x18ftypmp42" + bytes(16))
    code, _, err = neid("enhance", "in", "--output=out", QUICK)
    assert code == 0
    assert "c.jpg: the video behind the picture is left out" in err
    assert "b.tif" not in err
    np.testing.assert_array_equal(pictures.read("out/b.tif").valid, mask)
    assert pictures.read("out/c.jpg").notes == ()
    assert (
        neid("enhance", "in/b.tif", "--output=b.png", QUICK)[2]
        .strip()
        .endswith("its mask is left out: PNG holds none")
    )


def test_hidden_folders_and_jpeg_xl_of_any_depth_by_the_command(neid, tmp_path):
    pytest.importorskip("pillow_jxl")
    levels = np.full((24, 32, 3), 2000, np.uint16)
    data = imagecodecs.jpegxl_encode(levels, bitspersample=12, lossless=True)
    for path in (tmp_path / "in" / "a.jxl", tmp_path / "in" / ".thumbnails" / "b.jxl"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    options = ["--strength=0", "--weights=neid_s", "--format=png", f"--output={tmp_path / 'out'}"]
    code, out, err = neid("enhance", tmp_path / "in", *options)
    first, last = err.splitlines()
    assert (code, last) == (0, "neid: 1 file left out: 1 hidden")
    assert "a.jxl: its levels are those of linear light" in first  # As its encoder says.
    assert "1 written" in out
    [made] = (tmp_path / "out").rglob("*.png")
    np.testing.assert_allclose(pictures.read(made).pixels / 65535, 2000 / 4095, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["png", "tif", "jp2"])
def test_a_single_gray_pixel_is_written(neid, tmp_path, dtype, suffix):
    Image.fromarray(np.full((1, 1), 40, dtype)).save(tmp_path / "dark.png")
    made = tmp_path / f"out.{suffix}"
    code, _, err = neid("enhance", tmp_path / "dark.png", f"--output={made}", QUICK)
    assert (code, err) == (0, "")
    written = pictures.read(made).pixels
    assert (written.shape[:2], written.dtype) == ((1, 1), dtype)


def test_a_gray_picture_is_as_bright_under_a_cast(neid, tmp_path):
    sample = Path(__file__).parents[2] / "data/samples/low/coffee.png"
    colour = pictures.read(sample).pixels
    gray = as_gray(colour.copy())
    level_off = gray + np.array([0, 0, 1])
    shades = {"colour": colour, "gray": gray, "sepia": gray * [1.1, 1, 0.8], "off": level_off}
    for name, pixels in shades.items():
        write(tmp_path / f"dark/{name}.png", pixels.astype(np.uint8))
    code, _, err = neid("enhance", tmp_path / "dark", f"--output={tmp_path / 'out'}")
    assert (code, err) == (0, "")
    made = {name: pictures.read(tmp_path / f"out/{name}.png").pixels for name in shades}
    assert np.ptp(made["gray"], axis=-1).max() == 0
    levels = {name: np.log(luminance(pixels).mean()) for name, pixels in made.items()}
    assert abs(levels["gray"] - levels["colour"]) < 0.1
    assert abs(levels["sepia"] - levels["gray"]) < 0.04
    assert abs(levels["off"] - levels["gray"]) < 0.04


def test_a_dark_picture_above_its_caption_is_enhanced_as_without_it(neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dark = darkened(picture(96, 128))
    strip = np.full((24, 128, 3), 255, np.uint8)
    strip[8:12, 30:60:2] = 20
    write(tmp_path / "plain.png", dark)
    write(tmp_path / "caption.png", np.concatenate([dark, strip]))
    for name in ("plain", "caption"):
        options = ["--weights=neid_s", f"--output={name}_out.png"]
        assert neid("enhance", f"{name}.png", *options)[0] == 0
    plain, made = (pictures.read(f"{name}_out.png").pixels for name in ("plain", "caption"))
    assert plain.mean() > 2 * dark.mean()
    np.testing.assert_array_equal(made[96:], strip)
    np.testing.assert_allclose(made[:88].mean(), plain[:88].mean(), rtol=0.05)


def test_an_over_exposed_picture_gets_darker_by_little(neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    light = 4 * (skimage.data.chelsea() / 255.0) ** 2.2
    bright = (255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    write(tmp_path / "bright.png", bright)
    assert neid("enhance", "bright.png", "--weights=neid_s", "--output=out.png")[0] == 0
    # All of its tone would be 0.86.
    assert 0.9 < pictures.read("out.png").pixels.mean() / bright.mean() < 0.97


@pytest.mark.parametrize("weights", ["neid", "neid_s"])
def test_where_nothing_is_to_be_seen_nothing_comes_out(neid, tmp_path, monkeypatch, weights):
    monkeypatch.chdir(tmp_path)
    for level in (1, 3):
        write(tmp_path / f"{level}.png", np.full((60, 80, 3), level, np.uint8))
        assert neid("enhance", f"{level}.png", f"--weights={weights}", "--output=o")[0] == 0
        assert pictures.read(f"o/{level}.png").pixels.mean() < 6


def test_a_video_that_fades_to_black_gets_darker_all_the_way(neid, tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    from tests.video.test_enhance import make_clip

    monkeypatch.chdir(tmp_path)
    scene = skimage.data.coffee()[::4, ::4][:, :148].astype(float)
    shares = np.linspace(1, 0, 25)
    make_clip("fade.mp4", [(scene * share).round().astype(np.uint8) for share in shares])
    assert neid("enhance", "fade.mp4", "--weights=neid_s", "--output=out.mp4")[0] == 0
    with av.open("out.mp4") as file:
        means = [frame.to_ndarray(format="rgb24").mean() for frame in file.decode(video=0)]
    assert len(means) == 25
    assert means[0] > 90
    assert means[-1] < 2
    assert np.diff(means).max() < 2
