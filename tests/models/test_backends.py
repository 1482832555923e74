"""The models, losses and training run on Keras's JAX backend, without TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # importing it fails, as where it is not installed
from neid_tf.commands import main
from neid_tf.data import batches
made, make = [], batches.ArrayBatches.__getitem__
batches.ArrayBatches.__getitem__ = lambda self, step: made.append(step) or make(self, step)
status = main.main(["neid", *sys.argv[1:]])
import keras
print(keras.backend.backend(), *sorted(made))
sys.exit(status)
"""
RUN = ["--model=neid_grid", "--filters=2", "--depth=1", "--refinement=2", "--crop=32"]
RUN += ["--batch_size=4", "--ema=0.5"]
RUN += ["--epochs=4", "--learning_rate=1e-3", "--structure_weight=0.1", "--validate_every=4"]

QUICK_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""For few steps: to make fast code takes longer than to run slow code."""


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
def test_training_on_jax(pairs_folder, tmp_path):
    (tmp_path / "held.txt").write_text("6\n")
    places = [f"--data={pairs_folder}", f"--workdir={tmp_path / 'run'}"]
    places.append(f"--validation={tmp_path / 'held.txt'}")
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, "train", *places, *RUN],
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": QUICK_TO_COMPILE},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    # Four epochs of two steps, none of which sees a batch again.
    assert result.stdout.split("\n")[-2] == "jax 0 1 2 3 4 5 6 7"
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    first, *_, last = map(json.loads, lines)
    assert last["loss"] < first["loss"]
    assert last["validation_psnr"] > 5
