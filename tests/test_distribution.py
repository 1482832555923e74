"""Several processes train as one with the same global batch."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import free_ports

DEVICES = """
import sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from neid_tf.commands import main
sys.exit(main.main(["neid", *sys.argv[1:]]))
"""
"""``neid`` on a machine with two devices."""
CLIP = 0.01


def start(
    root, workdir, strategy, epochs=2, *options, program=("-m", "neid_tf.commands.main"), **env
):
    """Start ``neid train``, as users do, with a moving average and clipped gradients."""
    network = ["--model=neid", "--filters=2", "--depth=1", "--initializer=he_normal"]
    run = ["--crop=32", "--batch_size=4", "--learning_rate=1e-3", "--validation=0.2", "--ema=0.5"]
    run += [f"--clip_norm={CLIP}", "--validate_every=2", f"--epochs={epochs}"]
    places = [f"--data={root}", f"--workdir={workdir}", f"--strategy={strategy}"]
    return subprocess.Popen(
        [sys.executable, *program, "train", *network, *run, *places, *options],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return output


def results(workdir):
    lines = (workdir / "history.jsonl").read_text().splitlines()
    with np.load(workdir / "checkpoint.npz") as file:
        return [json.loads(line) for line in lines], {n: file[n] for n in file.files}


@pytest.fixture
def alone(pairs_folder, tmp_path):
    output = finish(start(pairs_folder, tmp_path / "alone", "none"))
    assert "5 pairs to train on, 1 held out: 4" in output
    return results(tmp_path / "alone")


def assert_same(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        for term in ("loss", "huber", "colour", "detail"):
            assert a[term] == pytest.approx(b[term], rel=1e-4)
    # Adam's first steps turn the last bit of a near-zero gradient into a step of its own, so
    # single weights may differ; all of them together may not.
    differences = np.concatenate([np.ravel(a - other[1][name]) for name, a in one[1].items()])
    assert np.abs(differences).mean() < 1e-5
    assert first_moments(other[1]) == pytest.approx(first_moments(one[1]), rel=1e-2)


def start_workers(root, workdir, epochs=2, *options):
    """Start two workers that train as one."""
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": n}} for n in range(2)]
    return [
        start(root, workdir, "multiworker", epochs, *options, TF_CONFIG=json.dumps(t))
        for t in tasks
    ]


def first_moments(arrays):
    """Return the norm of Adam's first moments, which are made of a tenth of each gradient."""
    found = [v for n, v in arrays.items() if n.startswith("optimizer/") and "momentum" in n]
    return np.sqrt(sum(np.square(value).sum() for value in found))


def test_two_workers_and_two_mirrored_devices(alone, pairs_folder, tmp_path):
    # Four steps, of which each gives at most CLIP.
    assert 0.5 * CLIP * (1 - 0.9**4) < first_moments(alone[1]) <= CLIP * (1 - 0.9**4) * 1.001
    for worker in start_workers(pairs_folder, tmp_path / "workers"):
        finish(worker)
    assert_same(alone, results(tmp_path / "workers"))
    finish(start(pairs_folder, tmp_path / "mirrored", "mirrored", program=("-c", DEVICES)))
    assert_same(alone, results(tmp_path / "mirrored"))


def test_training_that_diverges_on_two_devices_ends_with_an_error(pairs_folder, tmp_path):
    options = ["--learning_rate=1e6", "--clip_norm=0"]
    process = start(pairs_folder, tmp_path, "mirrored", 3, *options, program=("-c", DEVICES))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    last = output.strip().splitlines()[-1]
    assert last.startswith("neid: train: ")
    assert "diverged" in last or "loss term" in last
    assert not (tmp_path / "last.npz").exists()


def test_two_workers_in_half_precision(pairs_folder, tmp_path):
    for worker in start_workers(pairs_folder, tmp_path, 1, "--mixed_precision"):
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
