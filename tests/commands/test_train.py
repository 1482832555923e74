"""``neid train`` as users run it: in processes of its own, on several devices."""

import json
import os
import subprocess
import sys

import numpy as np

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
