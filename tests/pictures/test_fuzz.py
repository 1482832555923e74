"""A short run of the fuzz program; `python -m tests.fuzz` makes a long one."""

import io
import zipfile

import pytest

from neid_tf.data.held_out import names_in
from neid_tf.models.weights_file import WeightsError, WeightsFile
from neid_tf.pictures import PictureError, decode, decode_all
from tests import fuzz
from tests.pictures import seeds


@pytest.mark.parametrize("name", sorted(seeds.SOUND))
def test_the_files_that_are_mutated_are_sound(name):
    assert decode("a", seeds.SOUND[name]).pixels.size
    assert list(decode_all("a", seeds.SOUND[name]))


def test_the_other_files_are_sound(tmp_path):
    for name, data in seeds.OTHERS.items():
        (tmp_path / name).write_bytes(data)
        assert fuzz.problem_of(data, name) == ""
    with WeightsFile(tmp_path / "weights") as file:
        file.check_size()
        assert file.arrays(seeds.WEIGHTS).keys() == seeds.WEIGHTS.keys()
    assert names_in(str(tmp_path / "list of names"), seeds.NAMES) == set(seeds.NAMES)


def _broken(name, content):
    return (
        content if name.startswith("header") else content.replace(b"'shape': (", b"'shape':((", 1)
    )


def test_a_weights_file_whose_array_is_told_in_broken_python(tmp_path):
    path, sound = tmp_path / "a.npz", io.BytesIO(seeds.OTHERS["weights"])
    with zipfile.ZipFile(sound) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, _broken(name, old.read(name)))
    error = pytest.raises(WeightsError, match="not a readable weights file")
    with error, WeightsFile(path) as file:
        file.check_size()


def test_mutations_depend_on_the_seed_alone():
    assert fuzz.mutated(5, 1) == fuzz.mutated(5, 1) != fuzz.mutated(5, 2)


def test_nothing_is_found_in_a_short_run():
    assert fuzz.run(files=3 * len(fuzz.KINDS), seed=1) == []


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (ZeroDivisionError("x"), "ZeroDivisionError: x"),
        (PictureError("a", "b"), ""),
        (MemoryError("huge"), "MemoryError: huge"),
    ],
)
def test_what_must_not_happen_is_found(fault, problem, monkeypatch):
    def fail(*_):
        raise fault

    monkeypatch.setattr("neid_tf.pictures.decode", fail)
    assert fuzz.problem_of(b"") == problem


def test_a_crash_is_found(monkeypatch):
    monkeypatch.setattr(fuzz.sys, "executable", "/bin/false")
    found = fuzz.run(files=1, seed=0)
    assert "ended with 1" in found[0].problem
