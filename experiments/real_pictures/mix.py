"""Mix the weights of two stages of one training: a mean is often better than either.

python -m experiments.real_pictures.mix --from_weights=first.npz --from_streams=second.npz
    --second_share=0.4 --output=mixed.npz
"""

import keras
from absl import flags

from experiments import run
from experiments.performance.record import command_line
from experiments.real_pictures import train  # noqa: F401 (its flags)
from neid_tf import models
from neid_tf.commands import common
from neid_tf.models import pretrained
from neid_tf.support.errors import NeidError

flags.declare_key_flag("from_weights")
flags.declare_key_flag("from_streams")
_SHARE = flags.DEFINE_float("second_share", 0.5, "Share of the second weights.", 0.0, 1.0)


def mix(first: keras.Model, second: keras.Model, share: float) -> None:
    """Give the first network the mean of both.

    Args:
        first: the network that is changed.
        second: a network of the same make.
        share: of the second, from 0 to 1.

    Raises:
        NeidError: where their weights do not fit each other.
    """
    pairs = list(zip(first.weights, second.weights, strict=False))
    same = all(a.path == b.path and a.shape == b.shape for a, b in pairs)
    if len(first.weights) != len(second.weights) or not same:
        raise NeidError("weights of different networks can't be mixed")
    for own, other in pairs:
        if keras.backend.is_float_dtype(own.dtype):
            own.assign((1.0 - share) * own + share * other)


def _whole(model):
    """Return a network with its refinement, which is not in what a file is loaded as."""
    return models.as_part(model, "refined") if model.config.refinement else model


def main(arguments: list) -> None:
    """Mix and write."""
    del arguments
    sources = [flags.FLAGS[name].value for name in ("from_weights", "from_streams")]
    first, second = (_whole(pretrained.load_pretrained(source)) for source in sources)
    mix(first, second, _SHARE.value)
    card = {"command": command_line(__name__, "experiments.real_pictures.mix")}
    pretrained.save(first, common.required(common.OUTPUT), card)


if __name__ == "__main__":
    run(main)
