"""Put trained weights of a learned rival of Table 1 into the package.

    python -m experiments.package_rivals --weights=runs/glad/last.npz

Writes neid_tf/models/weights/rivals/NAME.npz, in half precision, whose card says how each of the
run's phases was trained, of what the weights are made, and on what terms.
"""

from pathlib import Path
from typing import Any

from experiments import run
from neid_tf.commands import common
from neid_tf.models import pretrained
from neid_tf.support import keras_start
from neid_tf.support.errors import NeidError

TERMS = {
    "licence": "Apache-2.0; LoL's pictures are for research by their authors' terms",
    "origin": "LoL's our485 without the 50 held-out pictures; trained by this project's own code "
    "from fresh weights, nothing is converted from the authors' release",
}


def package(weights: str, folder: Path) -> Path:
    """Write a rival's weights with their card; return the file.

    Args:
        weights: a file that ``neid train`` wrote.
        folder: where the package has the rivals' weights.

    Raises:
        NeidError: where the weights are not a rival's.
    """
    name = pretrained.architecture(weights)
    if name not in pretrained.RIVALS:
        raise NeidError(f"{weights}: no weights of {', '.join(pretrained.RIVALS)}")
    model = pretrained.load_pretrained(weights)
    folder.mkdir(parents=True, exist_ok=True)
    counted = {"parameters": model.count_params()}
    target = folder / f"{name}.npz"
    pretrained.save(model, target, card_of(weights) | counted | TERMS)
    return target


def card_of(weights: str) -> dict[str, Any]:
    """Return the card of weights, with that of the phase before as ``before``.

    Args:
        weights: a file that ``neid train`` wrote; what its run began with lies where it did.
    """
    card = pretrained.card(weights)
    start = card["settings"].get("init")
    return card | ({"before": card_of(start)} if start else {})


def main(arguments: list[str]) -> None:
    """Read the flags and write."""
    del arguments
    keras_start.import_keras()
    print(package(common.required(common.WEIGHTS), Path(str(pretrained.FOLDER)) / "rivals"))


if __name__ == "__main__":
    run(main)
