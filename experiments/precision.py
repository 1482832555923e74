"""What lower precisions bring and cost: bfloat16 and 8 bits against float32.

    python -m experiments.precision --data=data/lol/our485 \
        --output=experiments/performance/precision.json

Each set of the package's weights enhances the pictures of LoL that it has not seen
(quality/by_picture.txt) in TensorFlow (float32, bfloat16) and in ONNX Runtime (float32, 8 bits:
:mod:`experiments.int8`), on one core; then one picture of 600×400 in turns for the time, in CPU
seconds, from pixels to pixels.
"""

import functools
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from experiments import run
from experiments.cross_data import BY_PICTURE
from experiments.record import command_line
from neid_tf.benchmarks.timing import interleaved, ratios, scene, spread
from neid_tf.commands import common
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files
from neid_tf.evaluation import report as reports
from neid_tf.evaluation.scores import PROTOCOL
from neid_tf.inference import methods
from neid_tf.inference.enhance import Enhancement
from neid_tf.models import pretrained
from neid_tf.support import files
from neid_tf.support.environment import environment

flags.declare_key_flag("data")
flags.declare_key_flag("output")
CALIBRATION, TURNS = 12, 9
REFERENCE = "tensorflow float32"


def ways(name: str, calibration: list[np.ndarray]) -> dict[str, Callable]:
    """Return what enhances with a set of weights, by the runtime and the precision.

    Args:
        name: of the package's weights.
        calibration: dark pictures, uint8 H×W×3 of even sides.
    """
    from experiments.int8 import Int8

    networks = {
        f"{runtime} {precision}": methods.load_network(name, runtime, 1, precision)
        for runtime, precision in (
            ("tensorflow", "float32"),
            ("tensorflow", "bfloat16"),
            ("onnx", "float32"),
        )
    }
    prepare = Enhancement(networks[REFERENCE]).prepare
    pairs = [(prepare(picture), picture[None]) for picture in calibration]
    networks["onnx int8"] = Int8(networks[REFERENCE].model, pairs)
    return {way: Enhancement(network) for way, network in networks.items()}


def measured(name: str, training: Any, held: Any) -> dict[str, Any]:
    """Return the scores and the times of a set of weights in each way.

    Args:
        name: of the package's weights.
        training: rows of pictures of which the first calibrate.
        held: rows of pictures that are scored.
    """
    dark = [picture for _, picture, _ in list(training)[:: len(training) // CALIBRATION]]
    functions = ways(name, dark[:CALIBRATION])
    means = {way: reports.evaluate(held, f)["mean"] for way, f in functions.items()}
    picture = scene(400, 600)
    calls = {way: functools.partial(function, picture) for way, function in functions.items()}
    taken = interleaved(calls, TURNS, clock=time.process_time)
    return {
        way: {
            "psnr": means[way]["psnr"],
            "ssim": means[way]["ssim"],
            "cpu_seconds": spread(taken[way]),
            "to_float32_of_the_runtime": ratios(taken[way], taken[f"{way.split()[0]} float32"]),
            "to_tensorflow_float32": ratios(taken[way], taken[REFERENCE]),
        }
        for way in functions
    }


def main(arguments: list[str]) -> None:
    """Measure all sets of weights, and write the record."""
    del arguments
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    data, output = common.required(common.DATA), common.required(common.OUTPUT)
    training, held = held_out.hold_out(pair_files.load_pairs(data, smallest=11), str(BY_PICTURE))
    found = {name: measured(name, training, held) for name in pretrained.names()}
    record = {"protocol": PROTOCOL, "turns": TURNS, "weights": found}
    record |= {"environment": environment(), "load_average": os.getloadavg()}
    record["command"] = command_line(__name__, "experiments.precision", leave_out=())
    files.write_json(output, record)
    print(files.json_bytes(found, indent=1).decode())


if __name__ == "__main__":
    run(main)
