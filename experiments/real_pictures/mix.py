"""Mix the weights of two stages of one training, or give a network another tone or its settings.

    python -m experiments.real_pictures.mix --from_weights=first.npz --from_streams=second.npz
        --second_share=0.4 --output=mixed.npz
    python -m experiments.real_pictures.mix --from_weights=first.npz --tone_from=tone.npz
        --output=mixed.npz
    python -m experiments.real_pictures.mix --from_weights=first.npz --dead_zone=0.08
        --black_level=1.5 --veil_share=1 --both_sides --more_light=0.1 --output=mixed.npz

A mean of two stages is often better than either. --more_light corrects what the tone makes of
pictures that it has not learned from, which come out darker than their references.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from absl import flags

from experiments import run
from experiments.real_pictures import train  # noqa: F401 (its flags)
from experiments.record import command_line
from neid_tf import models
from neid_tf.commands import common
from neid_tf.models import grid, pretrained
from neid_tf.models.config import READING
from neid_tf.support.errors import NeidError

flags.declare_key_flag("from_weights")
flags.declare_key_flag("from_streams")
flags.declare_key_flag("both_sides")
flags.declare_key_flag("black_level")
flags.declare_key_flag("veil_share")
_TONE = common.define_path("tone_from", "", "Weights whose tone takes the place of the own one.")
_ZONE = flags.DEFINE_float(
    "dead_zone", 0.08, "The tone's dead zone, as `tone_dead_zone`.", 0.0, 1.0
)
_DARKENING = flags.DEFINE_float(
    "darkening", 0.04, "How much a tone may darken, as `tone_darkening`.", 0.0, 1.0
)
_LEAST = flags.DEFINE_float(
    "least_lift", 0.34, "The least a tone may brighten, as `tone_least_lift`.", 0.0, 2.0
)
_SHADE = flags.DEFINE_float(
    "shade", 1.6, "The most that shade is multiplied by, as `tone_shade`.", 1.0, 2.0
)
_LIGHT = flags.DEFINE_float(
    "more_light",
    0.0,
    "What is added to the logarithm of the gain of the brightest level, a seventh less for each "
    "level below, and nothing for the darkest one.",
    -1.0,
    1.0,
)
_SIDES, _BLACK, _VEIL = (flags.FLAGS[n] for n in ("both_sides", "black_level", "veil_share"))
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
    alike = len(first.weights) == len(second.weights) and same
    if not alike or first.config.reading != second.config.reading:
        raise NeidError("weights of different networks can't be mixed")
    for own, other in pairs:
        if keras.backend.is_float_dtype(own.dtype):
            own.assign((1.0 - share) * own + share * other)


def give_tone(network: keras.Model, source: keras.Model) -> None:
    """Give a network the tone of another.

    Args:
        network: that is changed.
        source: a network with a tone of the same make.

    Raises:
        ValueError: where the tones are of different makes.
    """
    kinds = [(c.tone, c.has_grid) for c in (network.config, source.config)]
    if kinds[0] != kinds[1]:
        raise NeidError("a tone is given to a network that has one of the same kind")
    layers = [x for x in network.layers if x.name.startswith("tone_") and x.weights]
    for layer in layers:
        layer.set_weights(source.get_layer(layer.name).get_weights())


def lift(network: keras.Model, most: float) -> None:
    """Let the tone of a network give more light, and some contrast.

    Args:
        network: that is changed.
        most: what is added to the logarithm of the gain of the brightest of the grid's levels;
            to those below it in proportion, to that of the darkest nothing.

    Raises:
        NeidError: where the network has no grid.
    """
    if not network.config.has_grid:
        raise NeidError("more light is for a tone that is a grid (tone_kind=grid)")
    head = network.get_layer("tone_head")
    kernel, bias = head.get_weights()
    bias[grid.EXPOSURE :] += np.linspace(0.0, most, grid.BINS)
    head.set_weights([kernel, bias])


def with_fields(network: models.NEID, **fields: Any) -> models.NEID:
    """Return a network with the same weights and other fields of its configuration."""
    whole = dataclasses.asdict(network.config) | fields
    made = models.NEID(part=network.part, name=network.name, **whole)
    models.load_matching(network, made)
    return made


def _whole(model):
    """Return a network with its refinement, which is not in what a file is loaded as."""
    return models.as_part(model, "refined") if model.config.refinement else model


def _training(source):
    """Return how weights were trained, by their card."""
    card = pretrained.card(source)
    return card.get("training", card)


def main(arguments: list) -> None:
    """Mix and write."""
    del arguments
    sources = [flags.FLAGS[name].value for name in ("from_weights", "from_streams")]
    output = common.required(common.OUTPUT)
    if not sources[0]:
        raise NeidError("--from_weights is needed: the weights that are mixed, or get a tone")
    fields = {"tone_dead_zone": _ZONE, "tone_darkening": _DARKENING, "mirrored": _SIDES}
    fields |= {"tone_least_lift": _LEAST, "tone_shade": _SHADE}
    fields |= {"tone_black": _BLACK, "tone_veil": _VEIL}
    fields = {name: holder.value for name, holder in fields.items() if holder.present}
    if not (sources[1] or _TONE.value or fields or _LIGHT.value):
        changed = (
            "--from_streams, --tone_from, --dead_zone, --darkening, --least_lift, --shade, "
            "--black_level, --veil_share, --both_sides or --more_light"
        )
        raise NeidError(f"{changed} is needed: what is changed")
    if _SHARE.present and not sources[1]:
        raise NeidError("--second_share needs --from_streams")
    tone = pretrained.load_pretrained(_TONE.value) if _TONE.value else None
    if tone:  # It reads what it learned to read, if no other level is told.
        fields = {name: getattr(tone.config, name) for name in READING} | fields
    first, *others = (
        with_fields(_whole(pretrained.load_pretrained(source)), **fields)
        for source in sources
        if source
    )
    for second in others:
        mix(first, second, _SHARE.value)
    if tone:
        give_tone(first, tone)
    if _LIGHT.value:
        lift(first, _LIGHT.value)
    card = {"command": command_line(__name__, "experiments.real_pictures.mix")}
    named = {"weights": sources[0], "streams": sources[1], "tone": _TONE.value}
    card["made_of"] = {name: _training(source) for name, source in named.items() if source}
    pretrained.save(first, output, card)


if __name__ == "__main__":
    run(main)
