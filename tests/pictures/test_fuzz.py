"""A short run of the fuzz program; `python -m tests.fuzz` makes a long one."""

import pytest

from neid_tf.pictures import PictureError, decode, decode_all
from tests import fuzz
from tests.pictures import seeds


@pytest.mark.parametrize("name", sorted(seeds.SOUND))
def test_the_files_that_are_mutated_are_sound(name):
    assert decode("a", seeds.SOUND[name]).pixels.size
    assert list(decode_all("a", seeds.SOUND[name]))


def test_mutations_depend_on_the_seed_alone():
    assert fuzz.mutated(5, 1) == fuzz.mutated(5, 1) != fuzz.mutated(5, 2)


def test_nothing_is_found_in_a_short_run():
    assert fuzz.run(files=3 * len(seeds.SOUND), seed=1) == []


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
