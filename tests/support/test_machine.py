"""What a machine, or a container on it, lends to a process."""

import pytest

from neid_tf.support import machine


@pytest.mark.parametrize(
    ("told", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("5000 100000", 1),
        ("9900000 100000", 8),
        ("", 8),
        (None, 8),
    ],
)
def test_a_container_uses_the_share_that_it_has(told, cores, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    if told is not None:
        machine.QUOTA.write_text(told)
    assert machine.usable_cores() == cores
