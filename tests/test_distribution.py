"""Several processes train as one with the same global batch."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import free_ports

SCRIPT = """
import sys
from neid_tf.data import pairs
from neid_tf.training import Sampling, TrainConfig
from neid_tf.training.train import train
root, workdir, strategy, epochs, mixed = sys.argv[1:]
config = TrainConfig(sampling=Sampling(crop=32, batch_size=4), epochs=int(epochs),
    learning_rate=1e-3, validate_every=2, strategy=strategy, mixed_precision=mixed == "True")
loaded = pairs.load_pairs(root)
train(config, "neid", {"filters": 4, "depth": 2, "initializer": "he_normal"},
    loaded, loaded.select(lambda name: name == "6"), workdir)
"""


def start(root, workdir, strategy, epochs=2, mixed=False, **environment):
    arguments = map(str, (root, workdir, strategy, epochs, mixed))
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.Popen(
        command,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output


def results(workdir):
    lines = (workdir / "history.jsonl").read_text().splitlines()
    with np.load(workdir / "checkpoint.npz") as file:
        return [json.loads(line) for line in lines], {n: file[n] for n in file.files}


@pytest.fixture
def alone(pairs_folder, tmp_path):
    finish(start(pairs_folder, tmp_path / "alone", "none"))
    return results(tmp_path / "alone")


def assert_same(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        for term in ("loss", "huber", "colour", "detail"):
            assert a[term] == pytest.approx(b[term], rel=1e-4)
    # Adam's first steps turn the last bit of a near-zero gradient into a step of its own, so
    # single weights may differ; all of them together may not.
    differences = np.concatenate([np.ravel(a - other[1][name]) for name, a in one[1].items()])
    assert np.abs(differences).mean() < 1e-5


def start_workers(root, workdir, epochs=2, mixed=False):
    """Start two workers that train as one."""
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": n}} for n in range(2)]
    return [
        start(root, workdir, "multiworker", epochs, mixed, TF_CONFIG=json.dumps(t)) for t in tasks
    ]


def test_two_workers_and_one_mirrored_device(alone, pairs_folder, tmp_path):
    for worker in start_workers(pairs_folder, tmp_path / "workers"):
        finish(worker)
    assert_same(alone, results(tmp_path / "workers"))
    finish(start(pairs_folder, tmp_path / "mirrored", "mirrored"))
    assert_same(alone, results(tmp_path / "mirrored"))


def test_two_workers_in_half_precision(pairs_folder, tmp_path):
    for worker in start_workers(pairs_folder, tmp_path, epochs=1, mixed=True):
        finish(worker)
    assert rows(tmp_path) == 1


def rows(workdir):
    log = workdir / "history.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def lose(workers, lost, workdir, after):
    """Kill a worker once some epochs are done, and then, as who started them does, the other."""
    deadline = time.monotonic() + 300
    while rows(workdir) < after:
        assert workers[lost].poll() is None, workers[lost].stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    workers[lost].kill()
    # The other one cannot go on: it waits for the one that is gone, or fails.
    time.sleep(0.5)
    workers[1 - lost].kill()
    for worker in workers:
        worker.communicate()


def test_after_a_worker_is_lost_all_start_again_from_the_checkpoint(pairs_folder, tmp_path):
    epochs, killed = 24, tmp_path / "killed"
    for worker in start_workers(pairs_folder, tmp_path / "whole", epochs):
        finish(worker)
    lose(start_workers(pairs_folder, killed, epochs), 1, killed, after=2)
    first = rows(killed)
    lose(start_workers(pairs_folder, killed, epochs), 0, killed, after=first + 1)
    assert 2 <= first < rows(killed) < epochs
    for worker in start_workers(pairs_folder, killed, epochs):
        finish(worker)
    whole, resumed = results(tmp_path / "whole"), results(killed)
    assert [row["epoch"] for row in resumed[0]] == list(range(1, epochs + 1))
    assert_same(whole, resumed)
