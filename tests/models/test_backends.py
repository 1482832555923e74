"""The models, losses and training run on Keras's JAX backend, without TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
sys.modules["tensorflow"] = None  # importing it fails, as where it is not installed
import keras
from neid_tf.data import pairs
from neid_tf.training import Objective, Sampling, TrainConfig
from neid_tf.training.train import train
root, workdir = sys.argv[1:]
config = TrainConfig(sampling=Sampling(crop=32, batch_size=4), epochs=8, learning_rate=1e-3,
    ema=0.5, objective=Objective(structure_weight=0.1), validate_every=8)
loaded = pairs.load_pairs(root)
train(config, "neid_tone", {"filters": 2, "depth": 1}, loaded,
    loaded.select(lambda name: name == "6"), workdir)
print(keras.backend.backend())
"""


QUICK_TO_COMPILE = "--xla_backend_optimization_level=0"
"""For few steps: to make fast code takes longer than to run slow code."""


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
def test_training_on_jax(pairs_folder, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(pairs_folder), str(tmp_path / "run")],
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": QUICK_TO_COMPILE},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[-2] == "jax"
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    first, *_, last = map(json.loads, lines)
    assert last["loss"] < first["loss"]
    assert last["validation_psnr"] > 5
