"""``neid train`` as users run it: in processes of its own, on several devices."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import free_ports

NEID = (
    "import sys, tensorflow as tf\n"
    "cpu = tf.config.list_physical_devices('CPU')[0]\n"
    "tf.config.set_logical_device_configuration(\n"
    "    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
    "from neid_tf.commands import main\n"
    "sys.exit(main.main(['neid', *sys.argv[1:]]))\n"
)
"""The command on a machine of two devices."""


def arguments(data, workdir, *more):
    small = ["--model=neid", "--filters=2", "--depth=1", "--initializer=he_normal", "--crop=32"]
    run = [f"--data={data}", f"--workdir={workdir}", "--batch_size=4", "--validation=none"]
    return ["train", *run, *small, *more]


def start(*command, **environment):
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def history(workdir):
    return [json.loads(line) for line in (workdir / "history.jsonl").read_text().splitlines()]


def first_moments(workdir):
    """Return the norm of Adam's first moments: of a tenth of the gradient, after one step."""
    with np.load(workdir / "checkpoint.npz") as file:
        moments = [v for n, v in file.items() if n.startswith("optimizer/") and "momentum" in n]
    return np.sqrt(sum(np.square(value).sum() for value in moments))


def test_two_workers_train_as_one(pairs_folder, tmp_path):
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": n}} for n in range(2)]
    options = ["--epochs=1", "--ema=0.5", "--strategy=multiworker"]
    command = ["-m", "neid_tf.commands.main", *arguments(pairs_folder, tmp_path / "run", *options)]
    for worker in [start(*command, TF_CONFIG=json.dumps(task)) for task in tasks]:
        finish(worker)
    assert [row["epoch"] for row in history(tmp_path / "run")] == [1]
    assert (tmp_path / "run" / "last.npz").exists()


def test_two_devices_with_a_moving_average_and_clipped_gradients(pairs_folder, tmp_path):
    """Each device has half of a batch; together they do what one does with all of it."""
    options = [
        "--epochs=1",
        "--batch_size=6",
        "--ema=0.5",
        "--clip_norm=0.01",
        "--learning_rate=1e-2",
    ]
    options += ["--validation=0.2", "--panel_every=1"]
    moments = {}
    for strategy in ("none", "mirrored"):
        workdir = tmp_path / strategy
        command = arguments(pairs_folder, workdir, *options, f"--strategy={strategy}")
        output = finish(start("-c", NEID, *command))
        assert "5 pairs to train on, 1 held out: 4" in output
        assert "validation_psnr" in history(workdir)[-1]
        moments[strategy] = first_moments(workdir)
    assert moments["none"] == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert moments["mirrored"] == pytest.approx(moments["none"], rel=1e-3)


@pytest.mark.parametrize("strategy", ["none", "mirrored"])
def test_training_that_diverges_ends_with_an_error(pairs_folder, tmp_path, strategy):
    workdir = tmp_path / "run"
    options = ["--epochs=3", "--ema=0.5", "--learning_rate=1e6", f"--strategy={strategy}"]
    process = start("-c", NEID, *arguments(pairs_folder, workdir, *options))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    last = output.strip().splitlines()[-1]
    assert last.startswith("neid: train: ")
    assert "diverged" in last or "loss term" in last
    assert "a fault of the program" not in last
    assert not (workdir / "last.npz").exists()
