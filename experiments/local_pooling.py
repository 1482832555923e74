"""Fusing weights pooled locally at test time, measured against pooling the whole picture.

    python -m experiments.local_pooling --data=DIR --weights=neid \
        --output=experiments/quality/local_pooling.json

The network trains on crops and runs on whole pictures, so that what feature fusing averages is
not the same. Chu et al. (2022, "Improving image restoration by revisiting global information
aggregation") average over windows of the training crops' size instead. Here windows of several
sizes are scored on the held-out pictures.
"""

import keras
from absl import flags
from keras import layers

from experiments import run
from experiments.record import command_line
from neid_tf import models
from neid_tf.commands import common
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files
from neid_tf.evaluation import report as reports
from neid_tf.evaluation.scores import PROTOCOL
from neid_tf.inference.enhance import enhance
from neid_tf.inference.network import FunctionNetwork
from neid_tf.models import pretrained
from neid_tf.support import files
from neid_tf.support.environment import environment

flags.declare_key_flag("data")
flags.declare_key_flag("weights")
flags.declare_key_flag("output")
SIDES = (4, 6, 8, 12, 16)
"""Sides of the windows, in cells of the bottleneck; training crops of 128 pixels have 4."""


@keras.saving.register_keras_serializable("neid_tf_experiments")
class SpatialFusing(layers.Layer):
    """The weighted sum of both streams' features with a weight for every place."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Fuse LE's features, DR's features and DR's weights, all N×h×w×C."""
        light, detail, weights = inputs
        return light + weights * (detail - light)


def local(model: models.NEID, side: int) -> FunctionNetwork:
    """Return the network with the fusing vector averaged over windows of the bottleneck.

    Args:
        model: a :class:`neid_tf.models.NEID` that fuses at the bottleneck.
        side: of the square windows, in cells.
    """

    def clone(layer):
        if layer.name == "ff_vector":
            return layers.AveragePooling2D(side, strides=1, padding="same", name="ff_vector")
        if layer.name == "ff":
            return SpatialFusing(name="ff")
        return layer.__class__.from_config(layer.get_config())

    functional = keras.Model(model.inputs, model.outputs)
    copy = keras.models.clone_model(functional, clone_function=clone)
    copy.set_weights(functional.get_weights())
    return FunctionNetwork(copy.predict_on_batch, model.config.scale)


def main(arguments: list[str]) -> None:
    """Score the whole picture's pooling and every window."""
    del arguments
    data, output = common.required(common.DATA), common.required(common.OUTPUT)
    model = pretrained.load_pretrained(common.WEIGHTS.value)
    held = held_out.hold_out(pair_files.load_pairs(data, smallest=11), "lol")[1]
    rows = []
    for side in (None, *SIDES):
        tried = model if side is None else local(model, side)
        scores = reports.evaluate(held, lambda low, tried=tried: enhance(low, tried))["mean"]
        rows.append({"window": side} | scores)
        print(side or "whole picture", f"{scores['psnr']:.3f} dB, SSIM {scores['ssim']:.4f}")
    report = {
        "command": command_line(__name__, "experiments.local_pooling", leave_out=()),
        "protocol": PROTOCOL,
        "pictures": len(held),
        "windows": rows,
        "environment": environment(),
    }
    files.write_json(output, report, indent=2)


if __name__ == "__main__":
    run(main)
