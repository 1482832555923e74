"""The enhancing function that a method's name stands for: NEID, or a classical method."""

import functools

import numpy as np
from absl import flags

from neid_tf.commands import quiet

METHODS = ("neid", "msr", "npe", "dong", "mf", "lime", "crm", "bimef")


def check(method, weights, scale=1, runtime="keras"):
    """Raise what :func:`load` would for a bad method, scale or weights, without loading any."""
    if method not in METHODS:
        raise flags.ValidationError(f"--method is one of {', '.join(METHODS)}, not {method!r}")
    if method != "neid" and scale != 1:
        raise flags.ValidationError(f"--scale=2 needs --method=neid, {method} keeps the size")
    if method == "neid" and runtime == "keras":
        from neid_tf import pretrained

        pretrained.card(weights)


def load(method, weights, scale=1, strength=1.0, tile=None, runtime="keras"):
    """Make a function from H×W×3 RGB pixels (uint8 or uint16) to enhanced ones.

    Args:
        method: one of :data:`METHODS`.
        weights: for ``neid``: name or path of weights.
        scale: 1 or 2; the classical methods know 1 only.
        strength: see :func:`neid_tf.enhance`.
        tile: side of tiles in input pixels; None for a size that fits.
        runtime: ``keras``, or one of ``runtimes.SUFFIXES``; ``weights`` is then the path of an
            export, which does a picture in one piece.
    """
    check(method, weights, scale, runtime)
    if method == "neid" and runtime != "keras":
        return _exported(weights, runtime, scale, strength)
    if method == "neid":
        return _neid(weights, scale, strength, tile)
    from neid_tf import baselines

    return functools.partial(_classical, baselines.get(method), strength=strength)


def _exported(path, runtime, scale, strength):
    from neid_tf import runtimes
    from neid_tf.enhance import Enhancement

    model = runtimes.load(path, runtime)
    return Enhancement(model, scale, strength)


def _neid(weights, scale, strength, tile):
    quiet.load_keras()
    from neid_tf import tiles
    from neid_tf.enhance import Enhancement
    from neid_tf.pretrained import load_pretrained

    pixels = tiles.TILE if tile is None else max(tile // (2 if scale == 1 else 1), 32)
    model = tiles.Tiled(load_pretrained(weights), pixels)
    return Enhancement(model, scale, strength)


@functools.cache
def load_for_video(method, weights):
    """Return the model that videos are enhanced with."""
    if method != "neid":
        raise flags.ValidationError(f"videos need --method=neid, not {method}")
    quiet.load_keras()
    from neid_tf.pretrained import load_pretrained

    return load_pretrained(weights)


def _classical(function, pixels, strength):
    from neid_tf.enhance import adjust

    white = np.iinfo(pixels.dtype).max
    image = pixels / np.float64(white)
    output = np.clip(function(image), 0.0, 1.0)
    if strength != 1.0:
        output = adjust(image, output, strength)
    return np.rint(output * white).astype(pixels.dtype)
