"""Files that are written whole, what killed processes leave of them, and names of any bytes."""

import errno
import json
import os
import resource
import subprocess
import sys
import time

import pytest

from neid_tf.support import files
from neid_tf.support.errors import FileError, NeidError, errors_named, reason_of

WRITING = """
import os, sys, signal
from neid_tf.support import files
with files.whole_file(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print(temporary.name, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writing(tmp_path):
    """A process that is writing a file of a folder, and the temporary name."""
    command = [sys.executable, "-c", WRITING, str(tmp_path / "a.bin")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        yield process, tmp_path / process.stdout.readline().strip()
        process.kill()


def test_what_a_killed_process_left_is_removed(writing, tmp_path):
    process, temporary = writing
    files.sweep(tmp_path)
    assert temporary.exists()
    process.kill()
    process.wait()
    files.sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_of_other_machines_only_the_old_is_removed(tmp_path):
    names = (".neid-0123456789abcdef.tmp", ".neid-00000000-1-ab.tmp", "mine.tmp", ".neid-x.txt")
    for age, folder in ((0, "new"), (2 * 24 * 3600, "old")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_bytes(b"")
            os.utime(tmp_path / folder / name, (time.time() - age,) * 2)
        files.sweep(tmp_path / folder)
    assert sorted(os.listdir(tmp_path / "new")) == sorted(names)
    assert sorted(os.listdir(tmp_path / "old")) == [".neid-x.txt", "mine.tmp"]
    files.sweep(tmp_path / "none")


def test_a_read_only_file_that_can_not_be_replaced_leaves_nothing(tmp_path, monkeypatch):
    """Windows neither replaces nor removes what is read-only."""
    (tmp_path / "a.bin").write_bytes(b"old")
    (tmp_path / "a.bin").chmod(0o444)
    real = os.unlink

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    def unlink(path, **options):
        (real if os.stat(path).st_mode & 0o200 else refused)(path, **options)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(PermissionError):
        files.write_whole(tmp_path / "a.bin", b"new")
    assert os.listdir(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_what_can_not_be_written_is_named(tmp_path):
    path = tmp_path / "new" / "r.json"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
        with pytest.raises(OSError, match="File too large") as raised:
            files.write_json(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(path)
    assert os.listdir(path.parent) == []
    with pytest.raises(IsADirectoryError) as raised:
        files.write_whole(path.parent, b"")
    assert (raised.value.filename, raised.value.filename2) == (str(path.parent), None)


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken_is_left_alone(links, tmp_path, monkeypatch):
    """Also where the file system, such as FAT, has no links."""

    def link(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", link)
    place = tmp_path / "a.bin"
    with files.whole_file(place, overwrite=False) as temporary:
        temporary.write_bytes(b"first")
    with (
        pytest.raises(files.NameTaken, match=r"a\.bin"),
        files.whole_file(place, overwrite=False) as temporary,
    ):
        temporary.write_bytes(b"second")
    assert place.read_bytes() == b"first"
    with files.whole_file(place) as temporary:
        temporary.write_bytes(b"third")
    assert place.read_bytes() == b"third"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_json_of_names_that_are_no_utf_8():
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    data = files.json_bytes({"name": name})
    assert os.fsencode(json.loads(data.decode("utf-8"))["name"]) == b"caf\xe9 \xc3\xa9.png"
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.json_bytes(float("nan"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(36, "File name too long"), "file name too long"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("a\n b"), "a b"),
        (KeyError(), "KeyError"),
        (NeidError("x" * 400), "x" * 300),
    ],
)
def test_errors_are_named_once(error, reason):
    with pytest.raises(FileError, match=r"^a: ") as caught, errors_named("a"):
        raise error
    assert caught.value.reason == reason == reason_of(error)
    with pytest.raises(FileError) as again, errors_named("b"):
        raise caught.value
    assert again.value is caught.value
