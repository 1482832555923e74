"""The seven classical methods of the paper's Table 1, one file each, without TensorFlow.

Each takes a float RGB picture, H×W×3 in [0, 1], and returns the enhanced picture as float64 of
the same shape and range; its keyword parameters default to those behind the published tables.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neid_tf.baselines.bimef import bimef
from neid_tf.baselines.crm import crm
from neid_tf.baselines.dong import dong
from neid_tf.baselines.lime import lime
from neid_tf.baselines.mf import mf
from neid_tf.baselines.msr import msr
from neid_tf.baselines.npe import npe
from neid_tf.support.errors import NeidError

METHODS: dict[str, Callable[..., np.ndarray]] = {
    "bimef": bimef,
    "crm": crm,
    "dong": dong,
    "lime": lime,
    "mf": mf,
    "msr": msr,
    "npe": npe,
}

__all__ = ["METHODS", "get", *METHODS]


def get(name: str) -> Callable[..., np.ndarray]:
    """Return the method called `name` in Table 1, in lower case.

    Raises:
        ValueError: no such method; the message names the known ones.
    """
    if name not in METHODS:
        raise NeidError(f"unknown method {name!r}, known: {', '.join(METHODS)}")
    return METHODS[name]
