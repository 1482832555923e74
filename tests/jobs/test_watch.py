"""Files as they arrive in a folder, through ``neid watch``."""

import contextlib
import errno
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from neid_tf import pictures
from neid_tf.jobs import failures, watch
from neid_tf.jobs import plan as planning
from neid_tf.jobs.plan import Job
from neid_tf.jobs.transfer import Transfer
from neid_tf.support.libraries import install_extra
from tests.conftest import darkened, flags_restored, picture, write

pytest.importorskip("watchfiles")
PATIENCE = 120


class Clock:
    """Time that can be let pass."""

    def __init__(self):
        self.passed = 0.0

    def monotonic(self):
        return time.monotonic() + self.passed

    def time(self):
        return time.time() + self.passed


def test_a_file_is_complete_when_it_rests_and_is_given_once(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    path = write(tmp_path / "a.png", picture(8, 8))
    arrivals = watch.Arrivals(PATIENCE)
    arrivals.note([str(path), str(tmp_path / "none.png"), str(tmp_path)])
    assert [arrivals.complete() for _ in range(3)] == [[], [], []]
    clock.passed = PATIENCE
    path.write_bytes(b"longer than before" * 100)  # It grows: it has to rest again.
    after = time.time() + PATIENCE
    os.utime(path, (after, after))
    assert [arrivals.complete() for _ in range(3)] == [[], [], []]
    clock.passed = 2 * PATIENCE
    assert arrivals.complete() == [str(path)]
    arrivals.note([str(path)])
    assert arrivals.complete() == []
    path.write_bytes(b"changed")
    arrivals.note([str(path)])
    assert arrivals.complete() == [str(path)]
    path.unlink()
    arrivals.note([str(path)])
    assert (arrivals.complete(), arrivals._given) == ([], {})


def test_what_was_moved_in_is_complete_at_once_unless_it_is_empty(tmp_path):
    old, empty = write(tmp_path / "a.png", picture(8, 8)), tmp_path / "b.png"
    empty.touch()
    for path in (old, empty):
        os.utime(path, (1e9, 1e9))
    arrivals = watch.Arrivals(60.0)
    arrivals.note(map(str, (old, empty)))
    assert arrivals.complete() == [str(old)]
    assert arrivals.complete() == []


class Watched:
    """``neid watch`` in a thread of its own: it is ended as a signal would do it."""

    def __init__(self, folder, *arguments):
        self.folder, self.output = folder, folder / "bright"
        self.arguments = [str(folder), f"--output={self.output}", "--method=bimef", *arguments]

    def __enter__(self):
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: hasattr(self, "job") or not self._thread.is_alive())
        return self

    def _run(self):
        from neid_tf.commands import main

        with flags_restored():
            self.code = main.main(["neid", "watch", "--settle=0.2", *self.arguments])

    def __exit__(self, *_):
        self.job.stop.set()
        self._thread.join()

    def wait_for(self, *names):
        wait_until(lambda: all((self.output / name).exists() for name in names), names)

    def failed(self):
        """Return the names of the inputs that are listed as failed."""
        rows = []
        with contextlib.suppress(FileNotFoundError):
            rows = (self.output / failures.NAME).read_text().splitlines()
        return [Path(json.loads(row)["input"]).name for row in rows]


def wait_until(condition, what=""):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    from neid_tf.commands import watch as command

    def make(*arguments):
        made = Watched(tmp_path / "in", *arguments)
        initialise = command._Watch.__init__

        def noting(self, *given):
            initialise(self, *given)
            made.job = self

        monkeypatch.setattr(command._Watch, "__init__", noting)
        return made

    write(tmp_path / "in" / "there.png", darkened(picture(20, 24)))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return make


def test_what_is_there_and_what_arrives_is_done_once(watched, tmp_path, capfd):
    data = (tmp_path / "in" / "there.png").read_bytes()
    with watched("--settle=2") as run:  # Far longer than the slow one rests.
        run.wait_for("there.png")
        with open(run.folder / "slow.png", "wb") as file:
            for start in range(0, len(data), 400):
                file.write(data[start : start + 400])
                file.flush()
                time.sleep(0.03)
        write(tmp_path / "album" / "deep" / "b.png", darkened(picture(20, 24)))
        shutil.move(tmp_path / "album", run.folder / "album")
        (run.folder / "broken.png").write_bytes(data[: len(data) // 2])
        run.wait_for("slow.png", "album/deep/b.png", "failures.jsonl")
        (run.folder / "broken.png").write_bytes(data)  # What failed is tried again when it changes.
        run.wait_for("broken.png")
        wait_until(lambda: not run.failed())
    out, err = capfd.readouterr()
    assert run.code == 1  # One failed, once.
    assert "4 written to" in out
    assert "1 failed, 1 left out" in out
    assert err.count("broken.png") == 1
    assert pictures.read(run.output / "slow.png").pixels.shape == (20, 24, 3)


def test_a_restart_does_what_is_missing(watched, tmp_path, capfd):
    with watched() as run:
        run.wait_for("there.png")
    made = (run.output / "there.png").stat()
    write(run.folder / "new.png", darkened(picture(20, 24)))
    (run.folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with watched() as run:
        run.wait_for("new.png", "failures.jsonl")
    assert (run.output / "there.png").stat() == made
    assert "1 skipped, 1 failed" in capfd.readouterr().out
    [row] = map(json.loads, (run.output / "failures.jsonl").read_text().splitlines())
    assert (row["input"], row["output"]) == tuple(
        str(folder / "bad.png") for folder in (run.folder, run.output)
    )


def test_what_is_gone_is_let_go_of(watched, monkeypatch):
    monkeypatch.setattr("neid_tf.commands.watch.FORGETS_FROM", 2)
    with watched() as run:
        run.wait_for("there.png")
        (run.folder / "there.png").unlink()
        (run.folder / "notes.txt").unlink()
        for name in "abcde":
            write(run.folder / f"{name}.png", darkened(picture(20, 24)))
            run.wait_for(f"{name}.png")
    left = [str(run.folder / f"{name}.png") for name in "abcde"]
    assert (sorted(run.job._begun), run.job._left_out) == (left, set())
    assert sorted(run.job._targets.values()) == left


def test_overwriting_does_what_has_changed(watched, tmp_path):
    with watched("--existing=overwrite") as run:
        run.wait_for("there.png")
    made = (run.output / "there.png").stat()
    write(run.folder / "second.png", darkened(picture(20, 24)))
    with watched("--existing=overwrite") as run:
        run.wait_for("second.png")
        assert (run.output / "there.png").stat() == made
        write(run.folder / "there.png", darkened(picture(30, 24)))
        wait_until(lambda: pictures.read(run.output / "there.png").pixels.shape == (30, 24, 3))


def test_what_changes_while_it_is_computed_is_done_again(watched, monkeypatch):
    """Its output, of what it was, is newer than the file."""
    put, changes = Transfer.write, [darkened(picture(30, 24))]

    def changed_before(transfer, job, data):
        if changes:
            write(Path(job.source), changes.pop())
        put(transfer, job, data)

    monkeypatch.setattr(Transfer, "write", changed_before)
    with watched("--existing=overwrite") as run:
        run.wait_for("there.png")
        wait_until(lambda: pictures.read(run.output / "there.png").pixels.shape == (30, 24, 3))


def test_no_file_replaces_the_output_of_another(watched, tmp_path, capfd):
    with watched("--existing=overwrite", "--format=jpeg") as run:
        run.wait_for("there.jpg")
        made = (run.output / "there.jpg").stat()
        write(run.folder / "there.tif", darkened(picture(30, 24)))
        run.wait_for("failures.jsonl")
        assert (run.output / "there.jpg").stat() == made
        [row] = map(json.loads, (run.output / "failures.jsonl").read_text().splitlines())
        owner = run.folder / "there.png"
        assert row["reason"] == f"{run.output / 'there.jpg'} is already the output of {owner}"
        os.unlink(owner)  # Then the other one may be done, once it changes.
        write(run.folder / "there.tif", darkened(picture(32, 24)))
        wait_until(lambda: not run.failed())
    assert pictures.read(run.output / "there.jpg").pixels.shape == (32, 24, 3)


def test_what_is_left_out_counts_once_and_what_is_gone_is_not_listed(watched, capfd):
    with watched() as run:
        run.wait_for("there.png")
        (run.folder / "bad.png").write_bytes(b"no picture")
        run.wait_for("failures.jsonl")
        for text in ("more", "and more"):
            (run.folder / "notes.txt").write_text(text)
            time.sleep(0.6)
        (run.folder / "bad.png").unlink()
        write(run.folder / "last.png", darkened(picture(20, 24)))
        run.wait_for("last.png")
    assert not (run.output / "failures.jsonl").exists()
    out, err = capfd.readouterr()
    assert "1 file left out: 1 .txt" in err
    assert "1 failed, 1 left out" in out


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["in"], 2, "--output is missing"),
        (["--output=out"], 2, "name one folder"),
        (["in", "in", "--output=out"], 2, "name one folder"),
        (["in", "--output=in/../in"], 2, "the folder itself"),
        (["none", "--output=out"], 1, "none: no such folder"),
        (["in", "--output=in/a.txt"], 2, "is no folder"),
        (["s3://b/in", "--output=out"], 2, "no folder of this machine"),
        (["in", "--output=out", "--suffix=/x"], 2, "a suffix is a part of a file's name"),
        (["in", "--output=out", "--format=bogus"], 2, "--format=bogus: value should be one of"),
        (["in", "--output=out", "--format=jxl"], 1, "JPEG XL needs"),
        (["in", "--output=out", "--quality=5", "--jpeg_quality=6"], 2, "differ"),
        (["in", "--output=out", "--overwrite", "--existing=skip"], 2, "differ"),
        (["in", "--output=out", "--existing=fail"], 2, "skip or overwrite here, not fail"),
    ],
)
def test_what_cannot_be_watched(neid, tmp_path, monkeypatch, arguments, code, reason):
    monkeypatch.setattr("neid_tf.pictures.formats.is_available", lambda _: False)
    monkeypatch.setattr("neid_tf.jobs.watch.complete_files", lambda *_: iter([]))  # None arrives.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").touch()
    got, out, err = neid("watch", *arguments)
    assert (got, out, reason in err) == (code, "", True), err


def test_a_signal_ends_it_in_order(neid, tmp_path):
    write(tmp_path / "in" / "a.png", darkened(picture(20, 24)))
    target = tmp_path / "out" / "a.png"

    def end():
        while not target.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end)
    thread.start()
    code, out, err = neid("watch", tmp_path / "in", f"--output={target.parent}", "--method=bimef")
    thread.join()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"1 written to {target.parent}"


def test_a_folder_that_gives_way_to_another_is_told_and_watched(watched, monkeypatch, capfd):
    monkeypatch.setattr(watch, "RESCAN", 0.2)
    with watched() as run:
        run.wait_for("there.png")
        run.folder.rename(run.folder.with_name("away"))
        told = []

        def is_told():
            told.append(capfd.readouterr().err)
            return "in: no such folder any more" in "".join(told)

        wait_until(is_told)
        write(run.folder / "first.png", darkened(picture(20, 24)))
        run.wait_for("first.png")
        monkeypatch.setattr(watch, "RESCAN", 1e6)  # It is told of what arrives from now on.
        write(run.folder / "second.png", darkened(picture(20, 24)))
        run.wait_for("second.png")
    assert "no such folder" not in capfd.readouterr().err
    assert run.code == 1


def test_a_list_of_failures_that_cannot_be_written_ends_nothing(watched, monkeypatch, capfd):
    record = failures.record

    def full(rows, output):
        if rows and (Path(output) / "there.png").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        record(rows, output)

    monkeypatch.setattr(failures, "record", full)
    with watched() as run:
        run.wait_for("there.png")
        for name in ("a", "b"):
            (run.folder / f"{name}.png").write_bytes(b"no picture")
            time.sleep(0.6)
        write(run.folder / "c.png", darkened(picture(20, 24)))
        run.wait_for("c.png")
        monkeypatch.setattr(failures, "record", record)
        (run.folder / "d.png").write_bytes(b"no picture")
        wait_until(lambda: run.failed() == ["a.png", "b.png", "d.png"])
    assert capfd.readouterr().err.count("failures.jsonl: not written: no space left") == 1


def test_a_list_of_failures_of_before_is_taken_away_at_the_start(watched):
    with watched() as run:
        run.wait_for("there.png")
    (run.output / "failures.jsonl").write_text("{}")
    (run.folder / "there.png").unlink()
    with watched() as run:
        wait_until(lambda: not (run.output / "failures.jsonl").exists())


def test_a_video_that_is_given_up_is_named(watched, capfd):
    def clip(job, check):
        run.job.stop.set()
        check()

    with watched() as run:
        run.wait_for("there.png")
        with pytest.raises(KeyboardInterrupt):
            run.job._ending(clip)(Job("in/a.mp4", "out/a.mp4"))
    assert "in/a.mp4: given up: it is done at the next start" in capfd.readouterr().err


def test_folders_that_cannot_be_read_are_named_once(watched, monkeypatch, capfd):
    entries = watch.found._entries

    def refusing(folder, problems):
        if folder.endswith("closed"):
            problems.append((folder, "can't look into this folder: permission denied"))
            return []
        return entries(folder, problems)

    monkeypatch.setattr(watch.found, "_entries", refusing)
    monkeypatch.setattr(watch, "RESCAN", 0.0)
    with watched() as run:
        (run.folder / "closed").mkdir()
        run.wait_for("there.png")
        write(run.folder / "b.png", darkened(picture(20, 24)))
        run.wait_for("b.png", "failures.jsonl")
    assert capfd.readouterr().err.count("closed: can't look into") == 1
    assert run.code == 1


def test_a_folder_that_can_not_be_looked_into_is_listed_at_once(neid, tmp_path, monkeypatch):
    """No other file need arrive for that."""
    listed = tmp_path / "out" / "failures.jsonl"

    def closed(folder, output, settle, stop, report):
        report(os.path.join(folder, "closed"), "permission denied")
        assert json.loads(listed.read_text())["input"] == str(tmp_path / "in" / "closed")
        return iter([])

    monkeypatch.setattr("neid_tf.jobs.watch.complete_files", closed)
    (tmp_path / "in" / "closed").mkdir(parents=True)
    options = [f"--output={tmp_path / 'out'}", "--method=lime"]
    code, _, err = neid("watch", tmp_path / "in", *options)
    assert (code, err) == (1, f"neid: {tmp_path / 'in' / 'closed'}: permission denied\n"), err


def test_without_its_library_nothing_is_watched(neid, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    (tmp_path / "in").mkdir()
    code, out, err = neid("watch", tmp_path / "in", f"--output={tmp_path / 'out'}", "--method=lime")
    assert (code, out) == (1, "")
    assert install_extra("watch") in err
    assert err.count("\n") == 1


def test_a_name_that_is_no_text_ends_nothing(watched):
    name = os.fsdecode(b"\xff\xfe.png")
    with watched() as run:
        run.wait_for("there.png")
        shutil.copy(run.folder / "there.png", run.folder / name)
        run.wait_for(name)
        write(run.folder / "after.png", darkened(picture(20, 24)))
        run.wait_for("after.png")
    assert run.code == 0


def test_links_to_what_is_watched_are_not_followed(watched, tmp_path):
    write(tmp_path / "elsewhere" / "a.png", darkened(picture(20, 24)))
    with watched() as run:
        run.wait_for("there.png")
        (run.folder / "same").symlink_to(run.folder)
        (run.folder / "above").symlink_to(tmp_path)
        (run.folder / "other").symlink_to(tmp_path / "elsewhere")
        run.wait_for("other/a.png")
    assert {path.name for path in run.output.iterdir()} == {"there.png", "other"}


def test_what_is_no_file_is_named(watched, capfd):
    with watched() as run:
        run.wait_for("there.png")
        (run.folder / "link.png").symlink_to("nowhere.png")
        os.mkfifo(run.folder / "pipe.png")
        wait_until(lambda: sorted(run.failed()) == ["link.png", "pipe.png"])
        (run.folder / "nowhere.png").write_bytes((run.folder / "there.png").read_bytes())
        run.wait_for("nowhere.png")
    errors = capfd.readouterr().err
    assert f"{run.folder / 'link.png'}: no such file" in errors
    assert f"{run.folder / 'pipe.png'}: " in errors
    assert run.code == 1


def test_what_was_begun_when_it_ends_is_told(watched, capfd):
    with watched() as run:
        run.wait_for("there.png")
        folder = run.folder.with_name("several")
        for name in "abc":
            write(folder / f"{name}.png", darkened(picture(20, 24)))
        (folder / "b.png").write_bytes(b"no picture")
        write_of = Transfer.write

        def written(transfer, job, data):
            write_of(transfer, job, data)
            run.job.stop.set()
            time.sleep(0.2)  # The others are computed meanwhile.

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transfer, "write", written)
            folder.rename(run.folder / "several")
            wait_until(run.job.stop.is_set)
            run._thread.join()
    out, err = capfd.readouterr()
    made = sorted(path.name for path in (run.output / "several").iterdir())
    assert made
    assert out.splitlines()[-1].startswith(f"{1 + len(made)} written to")
    assert ("b.png" in err) == ("1 failed" in out) == (run.failed() == ["b.png"])


def test_what_is_gone_before_its_turn_has_not_failed(watched, monkeypatch, capfd):
    plan_below = planning.plan_below

    def gone(folder, paths, *rest):
        plan = plan_below(folder, paths, *rest)
        for job in plan.jobs:
            if job.source.endswith("gone.png"):
                os.unlink(job.source)
        return plan

    monkeypatch.setattr(planning, "plan_below", gone)
    with watched() as run:
        run.wait_for("there.png")
        write(run.folder / "gone.png", darkened(picture(20, 24)))
        write(run.folder / "last.png", darkened(picture(20, 24)))
        run.wait_for("last.png")
        wait_until(lambda: "gone" in str(run.job._begun))
    assert run.code == 0
    assert f"{run.folder / 'gone.png'}: gone before its turn" in capfd.readouterr().err
