"""Several processes train as one with the same global batch."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import sys
from neid_tf import pairs, training
root, workdir, strategy = sys.argv[1:]
config = training.TrainConfig(crop=32, batch_size=4, epochs=2, learning_rate=1e-3,
    validate_every=2, strategy=strategy)
loaded = pairs.load_pairs(root)
training.train(config, "neid", {"filters": 4, "depth": 2, "initializer": "he_normal"},
    loaded, loaded.select(lambda name: name == "6"), workdir)
"""


def start(root, workdir, strategy, **environment):
    command = [sys.executable, "-c", SCRIPT, str(root), str(workdir), strategy]
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


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


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


def test_two_workers_and_one_mirrored_device(alone, pairs_folder, tmp_path):
    ports = free_ports(2)
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    workers = []
    for index in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        workdir = tmp_path / "workers"
        workers.append(start(pairs_folder, workdir, "multiworker", TF_CONFIG=json.dumps(task)))
    for worker in workers:
        finish(worker)
    assert_same(alone, results(tmp_path / "workers"))
    finish(start(pairs_folder, tmp_path / "mirrored", "mirrored"))
    assert_same(alone, results(tmp_path / "mirrored"))
