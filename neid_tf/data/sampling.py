"""How training draws its samples from pairs; without Keras."""

import dataclasses
from collections.abc import Sized

from neid_tf.support.errors import NeidError
from neid_tf.support.fields import check_fields, config_field


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How training draws its samples; the defaults are the paper's (section 3.2)."""

    batch_size: int = config_field(8, "Pictures in a batch, over all devices together.", minimum=1)
    crop: int = config_field(
        256,
        "Side of the square crops, in pixels of the reference: even, and 32 or more to train.",
        minimum=2,
    )
    smallest_view: float = config_field(
        0.7,
        "Least share of each side of the picture that the tone's thumbnail shows.",
        minimum=0.01,
        maximum=1.0,
    )
    exposure: float = config_field(
        0.0, "Inputs are made up to exp(this) times brighter or darker at random.", minimum=0.0
    )
    seed: int = config_field(
        0, "Seed of weights, order, crops, flips and turns.", minimum=0, maximum=2**31 - 1
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.crop % 2:
            raise NeidError(f"crop must be even, not {self.crop}")

    def steps_per_epoch(self, pairs: Sized) -> int:
        """Return the batches that show every picture about once."""
        return -(-len(pairs) // self.batch_size)
