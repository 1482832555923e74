"""Several processes train as one with the same global batch."""

import json
import os
import tempfile
import time

import numpy as np
import pytest

from tests import processes
from tests.conftest import free_ports

CLIP = 0.01
SOON_TRACED = "--model=le"
"""For what does not depend on the network; :func:`start` takes another."""


def start(root, workdir, strategy, epochs=2, *options, program=processes.neid, **environment):
    """Start ``neid train`` with a moving average and clipped gradients."""
    network = ["--model=neid", "--filters=2", "--depth=1", "--initializer=he_normal"]
    run = ["--crop=32", "--batch_size=4", "--learning_rate=1e-3", "--validation=0.2", "--ema=0.5"]
    run += [f"--clip_norm={CLIP}", "--validate_every=2", f"--epochs={epochs}"]
    places = [f"--data={root}", f"--workdir={workdir}", f"--strategy={strategy}"]
    arguments = ["train", *network, *run, *places, *options]
    handle, output = tempfile.mkstemp(dir=root.parent, suffix=".log")
    os.close(handle)
    return processes.Forked(output, program, *arguments, **environment)


def results(workdir):
    lines = (workdir / "history.jsonl").read_text().splitlines()
    with np.load(workdir / "checkpoint.npz") as file:
        return [json.loads(line) for line in lines], {n: file[n] for n in file.files}


@pytest.fixture
def alone(pairs_folder, tmp_path):
    output = start(pairs_folder, tmp_path / "alone", "none").finish()
    assert "5 pairs to train on, 1 held out: 4" in output
    return results(tmp_path / "alone")


def test_what_has_no_loss_has_no_share_of_a_clipped_gradient(pairs_folder, tmp_path):
    """The decoder of a detail branch whose loss weighs nothing, on two workers."""
    ports = free_ports(2)
    workers = []
    for index in range(2):
        cluster = {"worker": [f"localhost:{port}" for port in ports]}
        told = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        options = (1, "--detail_weight=0")
        where = pairs_folder, tmp_path / "two", "multiworker"
        workers.append(start(*where, *options, TF_CONFIG=told))
    for worker in workers:
        worker.finish()
    [row], _ = results(tmp_path / "two")
    assert np.isfinite(row["loss"])


def assert_same(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        assert a.keys() == b.keys()
        for term in {"loss", "huber", "colour", "detail"} & a.keys():
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


def test_a_batch_that_devices_can_not_share_evenly_is_refused(pairs_folder, tmp_path):
    mirrored = processes.neid_on_two_devices
    started = start(
        pairs_folder, tmp_path / "odd", "mirrored", 1, "--batch_size=3", program=mirrored
    )
    assert started.wait() == 1
    assert "--batch_size=3 on 2 devices: it must be a multiple" in started.output()


def test_two_workers_one_and_two_mirrored_devices(alone, pairs_folder, tmp_path):
    # Four steps, of which each gives at most CLIP.
    assert 0.5 * CLIP * (1 - 0.9**4) < first_moments(alone[1]) <= CLIP * (1 - 0.9**4) * 1.001
    for worker in start_workers(pairs_folder, tmp_path / "workers"):
        worker.finish()
    assert_same(alone, results(tmp_path / "workers"))
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(1)]}
    told = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": "0"}})
    start(pairs_folder, tmp_path / "one", "multiworker", TF_CONFIG=told).finish()
    assert_same(alone, results(tmp_path / "one"))
    mirrored = processes.neid_on_two_devices
    start(pairs_folder, tmp_path / "mirrored", "mirrored", program=mirrored).finish()
    assert_same(alone, results(tmp_path / "mirrored"))


def test_training_that_diverges_on_two_devices_ends_with_an_error(pairs_folder, tmp_path):
    options = ["--learning_rate=1e6", "--clip_norm=0", SOON_TRACED]
    two = processes.neid_on_two_devices
    process = start(pairs_folder, tmp_path / "run", "mirrored", 3, *options, program=two)
    assert process.wait() == 1, process.output()
    last = process.output().strip().splitlines()[-1]
    assert last.startswith("neid: train: ")
    assert "diverged" in last or "loss term" in last
    assert not (tmp_path / "run" / "last.npz").exists()


def test_two_workers_in_half_precision(pairs_folder, tmp_path):
    for worker in start_workers(pairs_folder, tmp_path, 1, "--mixed_precision", SOON_TRACED):
        worker.finish()
    assert rows(tmp_path) == 1


def rows(workdir):
    log = workdir / "history.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def lose(workers, lost, workdir, after):
    """Kill a worker once some epochs are done, and then, as who started them does, the other."""
    deadline = time.monotonic() + 300
    while rows(workdir) < after:
        assert workers[lost].is_running(), workers[lost].output()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    workers[lost].kill()
    # The other one cannot go on: it waits for the one that is gone, or fails.
    time.sleep(0.5)
    workers[1 - lost].kill()
    for worker in workers:
        worker.wait()


def test_after_a_worker_is_lost_all_start_again_from_the_checkpoint(pairs_folder, tmp_path):
    epochs, killed = 16, tmp_path / "killed"
    run = (pairs_folder, killed, epochs, SOON_TRACED)
    for worker in start_workers(pairs_folder, tmp_path / "whole", *run[2:]):
        worker.finish()
    lose(start_workers(*run), 1, killed, after=2)
    first = rows(killed)
    lose(start_workers(*run), 0, killed, after=first + 1)
    assert 2 <= first < rows(killed) < epochs
    for worker in start_workers(*run):
        worker.finish()
    whole, resumed = results(tmp_path / "whole"), results(killed)
    assert [row["epoch"] for row in resumed[0]] == list(range(1, epochs + 1))
    assert_same(whole, resumed)
