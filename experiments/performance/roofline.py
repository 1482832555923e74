"""Predict from counted work what the default network can do at most on a card.

python -m experiments.performance.roofline --output=experiments/performance/roofline.json

A roofline: a pass takes at least its operations by the card's published peak, and at least its
bytes by the bandwidth of its memory. Nothing here is measured on a card.
"""

import json
import math
from pathlib import Path
from typing import Any

from absl import app, flags

from experiments.record import command_line, publish, table
from neid_tf import models
from neid_tf.benchmarks import cards
from neid_tf.benchmarks.costs import Work, count_work
from neid_tf.inference import tiles
from neid_tf.inference.network import KerasNetwork, Network
from neid_tf.models import pretrained
from neid_tf.support.environment import environment

HERE = Path(__file__).resolve().parent
BYTES = 2
"""Of a number in bfloat16."""
TILE_OF_A_PRODUCT = (128, 128)
"""Places and channels of what one processor of a card computes of a product at a time."""
PROCESSORS = {"H100": 132}
LINK = 64e9
"""Bytes a second of PCIe 5.0 with 16 lanes, one way."""
_FILLED = 0.9

_CARD = flags.DEFINE_enum("card", "H100", sorted(PROCESSORS), "The card, of neid benchmark's.")
_NETWORK = flags.DEFINE_string("predicted", "neid", "The weights.")
flags.FLAGS.register_key_flag_for_module(__name__, flags.FLAGS["output"])


def predicted(work: Work, card: cards.Card) -> dict[str, float]:
    """Return what bounds a pass on a card, and how many pictures a second that leaves.

    Args:
        work: of one picture.
        card: its peaks.
    """
    computing = work.operations / card.peak("bfloat16")
    moving, apart = (
        BYTES * count / (1e12 * card.terabytes) for count in (work.numbers, work.numbers_apart)
    )
    return {
        "operations": work.operations,
        "bytes": BYTES * work.numbers,
        "bytes_apart": BYTES * work.numbers_apart,
        "operations_a_byte": work.operations / (BYTES * work.numbers),
        "seconds_computing": computing,
        "seconds_moving": moving,
        "seconds_moving_apart": apart,
        "pictures_a_second_at_most": 1.0 / max(computing, moving),
        "pictures_a_second_apart": 1.0 / max(computing, apart),
        "share_of_the_peak_at_most": computing / max(computing, moving),
    }


def batch_that_fills(work: Work, processors: int) -> int:
    """Return the smallest batch for which all processors have a tile of most of the products.

    Args:
        work: of one picture.
        processors: of the card.
    """
    places, channels = TILE_OF_A_PRODUCT
    needed = sorted(
        (math.ceil(processors / (math.ceil(at / places) * math.ceil(wide / channels))), cost)
        for at, wide, cost in work.products
    )
    whole, done = sum(cost for _, cost in needed), 0.0
    for batch, cost in needed:
        done += cost
        if done >= _FILLED * whole:
            return batch
    raise ValueError("no products")


def tiled(height: int, width: int, network: Network) -> float:
    """Return how many times the pixels of a picture its tiles with their margins have.

    Args:
        height, width: of the network's input, in pixels.
        network: whose tiles they are.
    """
    if max(height, width) <= tiles.TILE:
        return 1.0
    by, size = tiles.Tiled(network), (height, width)
    tile = tiles.layout(*size, by.side, by.margin, by.step)
    return tiles.computed(size, tile, by.margin) / (height * width)


def link_seconds(pixels: int, bytes_of_a_sample: int) -> float:
    """Return how long a picture and its result take to the card and back, both ways at once.

    Args:
        pixels: of the picture; its half goes there too.
        bytes_of_a_sample: 4 for what ONNX Runtime is given, 1 for a picture of 8 bits.
    """
    return 1.25 * pixels * 3 * bytes_of_a_sample / LINK


def cpu_seconds() -> float:
    """Return the CPU time of a picture of the folders' record beside the network."""
    report = json.loads((HERE / "folders.json").read_text("utf-8"))["onnx"]
    stages = report["stages"]["cpu_seconds"]
    rest = sum(seconds for name, seconds in stages.items() if name != "model")
    return rest / report["speed"]["pictures"]


def main(_: list[str]) -> None:
    """Count and write."""
    model = pretrained.load_pretrained(_NETWORK.value)
    network, card = models.as_part(model, "refined"), cards.CARDS[_CARD.value]
    report: dict[str, Any] = {"card": _CARD.value, "weights": _NETWORK.value}
    report |= {"teraflops": card.peak("bfloat16") / 1e12, "terabytes": card.terabytes}
    report["cpu_seconds_a_picture"], report["pictures"] = cpu_seconds(), {}
    for height, width in ((400, 600), (3000, 4000)):
        half = height // 2, width // 2
        work = count_work(network, *half)
        found = predicted(work, card) | {"margins": tiled(*half, KerasNetwork(model))}
        found["batch_that_fills"] = batch_that_fills(work, PROCESSORS[_CARD.value])
        found["seconds_link"] = link_seconds(height * width, 4)
        report["pictures"][f"{width}×{height}"] = found
    report |= {"environment": environment()}
    publish(report | {"command": command_line(__name__, "experiments.performance.roofline")})


def predictions(report: dict[str, Any]) -> str:
    """Return the table of what is predicted.

    Args:
        report: what the program wrote.
    """
    columns = report["pictures"].values()

    def row(label, value):
        return label, *(value(one) for one in columns)

    return table(
        ("predicted, not measured", *report["pictures"]),
        row("10⁹ operations", lambda one: f"{one['operations'] / 1e9:,.1f}"),
        row("MB moved, all joined to convolutions", lambda one: f"{one['bytes'] / 1e6:,.0f}"),
        row("MB moved, each operator apart", lambda one: f"{one['bytes_apart'] / 1e6:,.0f}"),
        row("operations a byte, joined", lambda one: f"{one['operations_a_byte']:.0f}"),
        row("µs of computing at the peak", lambda one: f"{1e6 * one['seconds_computing']:,.0f}"),
        row("µs of moving, joined", lambda one: f"{1e6 * one['seconds_moving']:,.0f}"),
        row("µs of moving, apart", lambda one: f"{1e6 * one['seconds_moving_apart']:,.0f}"),
        row("µs over the link in float32", lambda one: f"{1e6 * one['seconds_link']:,.0f}"),
        row("batch that fills the card", lambda one: one["batch_that_fills"]),
        row(
            "pictures a second of the network: apart, joined",
            lambda one: (
                f"{one['pictures_a_second_apart'] / one['margins']:,.0f}, "
                f"{one['pictures_a_second_at_most'] / one['margins']:,.0f}"
            ),
        ),
        row("share of the peak at most", lambda one: f"{one['share_of_the_peak_at_most']:.2f}"),
        row("pixels computed twice in tiles", lambda one: f"{one['margins'] - 1:.0%}"),
    )


if __name__ == "__main__":
    app.run(main)
