import ntpath
import os
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest

from neid_tf import pictures
from neid_tf.jobs import found, pipeline
from neid_tf.jobs import plan as planning
from neid_tf.jobs.plan import Job, plan
from neid_tf.jobs.storage import LocalStorage, inside, is_address
from neid_tf.jobs.transfer import Transfer
from neid_tf.support import files
from neid_tf.support.errors import UsageError
from tests.conftest import picture, write


def names(jobs, root):
    return {j.source.removeprefix(f"{root}/"): j.target.removeprefix(f"{root}/") for j in jobs}


def planned(inputs, output, suffix=""):
    made = plan(inputs, output, suffix)
    return made.jobs, made.failures


@pytest.fixture
def tree(tmp_path):
    for name in ("in/a.png", "in/sub/b.jpg", "in/sub/a.png", "in/.hidden.png"):
        write(tmp_path / name, picture(8, 10))
    (tmp_path / "in" / "notes.txt").write_text("text")
    return tmp_path


def test_folders_keep_their_tree(tree):
    jobs, failures = planned([str(tree / "in")], tree / "out", suffix="_x")
    assert names(jobs, tree) == {
        "in/a.png": "out/a_x.png",
        "in/sub/a.png": "out/sub/a_x.png",
        "in/sub/b.jpg": "out/sub/b_x.jpg",
    }
    assert failures == []


def test_hidden_folders_are_left_out_and_counted(tree):
    write(tree / "in" / ".thumbnails" / "a.png", picture(8, 10))
    made = plan([str(tree / "in")], str(tree / "out"))
    assert len(made.jobs) == 3
    assert made.left_out == {"hidden": 2, ".txt": 1}
    named = plan([str(tree / "in" / ".thumbnails")], str(tree / "out"))
    assert [Path(job.source).name for job in named.jobs] == ["a.png"]


def test_files_and_globs(tree):
    jobs, failures = planned([str(tree / "in" / "*" / "*"), "none*.png"], tree / "out")
    assert names(jobs, tree) == {"in/sub/a.png": "out/a.png", "in/sub/b.jpg": "out/b.jpg"}
    assert failures == [("none*.png", "nothing matches this pattern")]


def test_one_file_to_one_file(tree):
    jobs, _ = planned([str(tree / "in" / "a.png")], tree / "new.jpg")
    assert names(jobs, tree) == {"in/a.png": "new.jpg"}
    for inputs in (["in"], ["in/a.png", "in/sub/b.jpg"], ["in/sub/*"]):
        with pytest.raises(UsageError, match=r"new\.jpg is one file"):
            planned([str(tree / item) for item in inputs], tree / "new.jpg")


def test_two_inputs_of_one_name(tree):
    inputs = [str(tree / "in/a.png"), str(tree / "in/sub/a.png")]
    jobs, failures = planned(inputs, tree / "out")
    assert len(jobs) == 1
    assert failures[0][0] == inputs[1]
    assert "already the output of" in failures[0][1]


def test_a_name_goes_to_the_file_that_has_it(tree):
    for name in ("a.png", "a.gif", "b.gif"):
        (tree / "both" / name).parent.mkdir(exist_ok=True)
        (tree / "both" / name).touch()
    jobs, failures = planned([str(tree / "both")], tree / "out")
    assert names(jobs, tree) == {"both/a.png": "out/a.png", "both/b.gif": "out/b.png"}
    target, source = tree / "out" / "a.png", tree / "both" / "a.png"
    reason = f"{target} is already the output of {source}"
    assert failures == [(str(tree / "both" / "a.gif"), reason)]


def test_a_file_that_is_given_twice_is_done_once(tree):
    folder = tree / "in" / "sub"
    inputs = [str(folder), str(folder / "a.png"), f"{folder}/../sub/*.jpg", str(folder)]
    jobs, failures = planned(inputs, tree / "out")
    assert names(jobs, tree) == {"in/sub/a.png": "out/a.png", "in/sub/b.jpg": "out/b.jpg"}
    assert failures == []


def test_no_input_is_the_output_of_another(tree):
    inputs = [str(tree / "in/a.png"), str(tree / "in/sub/a.png"), str(tree / "in/sub/b.jpg")]
    jobs, failures = planned(inputs, tree / "in" / "sub")
    assert names(jobs, tree) == {"in/sub/b.jpg": "in/sub/b.jpg"}  # refused where it is written
    target = str(tree / "in" / "sub" / "a.png")
    assert (inputs[0], f"its output {target} is an input itself") in failures
    assert "already the output of" in failures[0][1]


def test_a_folder_without_pictures(tree):
    (tree / "empty").mkdir()
    assert (
        planned([str(tree / "empty")], tree / "out")[1][0][1]
        == "no pictures or videos in this folder"
    )


def job_of(source, target):
    return Job(str(source), str(target))


def invert(pixels):
    return np.iinfo(pixels.dtype).max - pixels


def enhance_one(job, function, existing="fail", **options):
    transfer = Transfer(existing=existing)
    [(done, error, _)] = pipeline.enhance_files([job], function, transfer, **options)
    assert done is job
    if error:
        raise error


def test_enhancing_a_file(tree):
    job = job_of(tree / "in/a.png", tree / "deep/er/a.png")
    enhance_one(job, invert)
    np.testing.assert_array_equal(pictures.read(job.target).pixels, 255 - picture(8, 10))


def test_files_that_are_there_are_kept(tree):
    job = job_of(tree / "in/a.png", tree / "in/sub/a.png")
    target, before = tree / "in/sub/a.png", (tree / "in/sub/a.png").read_bytes()
    with pytest.raises(pictures.PictureError, match="--overwrite"):
        enhance_one(job, invert)
    assert target.read_bytes() == before
    enhance_one(job, invert, existing="overwrite")
    assert target.read_bytes() != before


def test_the_input_is_never_overwritten(tree):
    (tree / "link.png").symlink_to(tree / "in/a.png")
    for target in (tree / "in/a.png", tree / "link.png"):
        with pytest.raises(pictures.PictureError, match="the input itself"):
            enhance_one(job_of(tree / "in/a.png", target), invert, existing="overwrite")


def test_a_failing_picture_leaves_nothing(tree):
    (tree / "bad.png").write_text("text")
    with pytest.raises(pictures.PictureError, match=r"bad\.png"):
        enhance_one(job_of(tree / "bad.png", tree / "out/bad.png"), invert)
    assert not (tree / "out").exists()


def test_the_output_folder_is_a_file(tree):
    job = job_of(tree / "in/a.png", tree / "in/notes.txt/a.png")
    with pytest.raises(pictures.PictureError, match="notes"):
        enhance_one(job, invert)


def test_pixel_limit(tree):
    job = job_of(tree / "in/a.png", tree / "out.png")
    with pytest.raises(pictures.PictureError, match="80"):
        enhance_one(job, invert, max_pixels=79)


def test_videos_keep_or_change_their_suffix(tree):
    for name in ("a.MOV", "b.avi"):
        (tree / "in" / name).write_bytes(b"")
    jobs, _ = planned([str(tree / "in")], tree / "out")
    videos = {Path(j.source).name: Path(j.target).name for j in jobs if j.is_video}
    assert videos == {"a.MOV": "a.mov", "b.avi": "b.mp4"}
    jobs, _ = planned([str(tree / "in" / "b.avi")], tree / "new.mp4")
    assert jobs[0].target == str(tree / "new.mp4")


def test_drive_letters_are_no_addresses():
    for path in ("C:\\pictures\\a.png", "C:/pictures/a.png", "//server/share/a.png", "a:b.png"):
        assert not is_address(path)
    assert is_address("s3://bucket/a.png")


def test_paths_of_windows(monkeypatch):
    with monkeypatch.context() as windows:
        windows.setattr(os, "path", ntpath)
        windows.setattr(os, "sep", "\\")
        joined = [inside(folder, "sub/a.png") for folder in ("C:\\out", "C:", "\\\\host\\share")]
        address = inside("s3://bucket/out", "sub/a.png")
        below = [
            found.is_below(path, "C:\\Pictures")
            for path in ("c:\\pictures\\a.png", "C:\\Pictures", "C:\\Pictures2\\a.png")
        ]
    assert joined == ["C:\\out\\sub\\a.png", "C:sub\\a.png", "\\\\host\\share\\sub\\a.png"]
    assert address == "s3://bucket/out/sub/a.png"
    assert below == [True, True, False]


@pytest.mark.parametrize(
    "name",
    [
        "a:b.png",
        "C:\\a.png",
        "..\\..\\a.png",
        "in/a?.png",
        "nul.png",
        "COM1",
        "a. /b.png",
        "a\t.png",
    ],
)
def test_names_that_windows_does_not_take(name):
    """A name with a colon would go into a stream behind another file, and nobody would see it."""
    assert not files.windows_takes(PureWindowsPath(name))
    assert files.windows_takes(PureWindowsPath("in/connect 1.0/Grüße (2).a.png"))


def test_a_name_that_windows_does_not_take_fails_alone(tree, monkeypatch):
    write(tree / "in" / "12:30.png", picture(8, 10))
    assert planned([str(tree / "in")], tree / "out")[1] == []
    monkeypatch.setattr(planning, "WINDOWS", True)
    jobs, failures = planned([str(tree / "in")], tree / "out")
    assert len(jobs) == 3
    assert failures == [(f"{tree}/in/12:30.png", "no file of Windows can be called 12:30.png")]
    jobs, failures = planned([str(tree / "in" / "a.png")], tree / "out", suffix=":bright")
    assert (jobs, len(failures)) == ([], 1)


def test_files_without_numbers_are_told_apart_by_their_paths(tree, monkeypatch):
    """As on some file systems of Windows: an output would be taken for the input itself."""
    real = os.stat
    numbers = slice(3, None)

    def without(path, **options):
        return os.stat_result((0, 0, 0, *real(path, **options)[numbers]))

    with monkeypatch.context() as windows:
        windows.setattr(os, "stat", without)
        one, same, other = (
            LocalStorage().identity(str(tree / name))
            for name in ("in/a.png", "in/sub/../a.png", "in/sub/a.png")
        )
    assert one == same != other
