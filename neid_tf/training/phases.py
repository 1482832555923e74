"""The phases in which Table 1's learned rivals are trained: what learns, from what, by which loss.

Each phase is a run of its own, which starts from the weights of the phase before (``--init``).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from neid_tf.models.glad import SIDE, nearest
from neid_tf.models.rivals import Rival
from neid_tf.training import rival_losses as losses
from neid_tf.training.losses import mse, one_minus_ssim

Pictures = Mapping[str, Any]
"""Tensors by name, each N×H×W×C."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A phase of training.

    Attributes:
        learns: what the names of the layers that learn begin with; empty for all.
        names: of the terms of the loss.
        prepare: from a network to the function of low-light crops, references (both N×S×S×3 in
            [0, 1]) and N uniform draws that gives outputs and targets by name.
        terms: from outputs and targets to the weighted terms by name, N values each.
        enhances: whether the network gives enhanced pictures by then.
        tells_psnr: whether they are among the outputs and targets, as ``le``.
    """

    learns: str
    names: tuple[str, ...]
    prepare: Callable[[Rival], Callable[[Any, Any, Any], tuple[Pictures, Pictures]]]
    terms: Callable[[Pictures, Pictures], dict[str, Any]]
    enhances: bool = False
    tells_psnr: bool = False


def _split(network: Rival) -> Callable[[Any, Any], tuple[Pictures, Pictures]]:
    """Return the function that takes low-light crops and references apart."""
    # KinD's crops are cut from pictures that were stretched whole.
    given = "stretched" if "stretched" in network.graph.named else "image"
    view = network.graph.cut([given], ["reflectance", "illumination"])
    return lambda low, high: (view({given: low}), view({given: high}))


def _both(network):
    """Let a network take both pictures of a pair apart."""
    split = _split(network)

    def outputs(low, high, _):
        parts = zip(("low", "high"), split(low, high), strict=True)
        named = {f"{what}_{side}": part[what] for side, part in parts for what in part}
        return named, {"low": low, "high": high}

    return outputs


def _reconstructions(outputs, targets):
    """Compute the errors of both pictures made again of their parts."""
    return {
        f"reconstruction_{side}": losses.absolute(
            targets[side], outputs[f"reflectance_{side}"] * outputs[f"illumination_{side}"]
        )
        for side in ("low", "high")
    }


def _of_decom(outputs, targets):
    """Compute Retinex-Net's loss of the decomposition."""
    terms, sides = _reconstructions(outputs, targets), {"low": "high", "high": "low"}
    for side, other in sides.items():
        mutual = outputs[f"reflectance_{other}"] * outputs[f"illumination_{side}"]
        terms[f"mutual_{side}"] = 0.001 * losses.absolute(targets[side], mutual)
        parts = outputs[f"illumination_{side}"], outputs[f"reflectance_{side}"]
        terms[f"smoothness_{side}"] = 0.1 * losses.smoothness(*parts)
    both = outputs["reflectance_low"], outputs["reflectance_high"]
    return terms | {"equal": 0.01 * losses.absolute(*both)}


def _relit(network):
    """Let a network brighten the illumination of low-light crops."""
    view = network.graph.cut(["image"], ["reflectance", "relit", "le"])
    return lambda low, high, _: (view({"image": low}), {"le": high})


def _of_relight(outputs, targets):
    """Compute Retinex-Net's loss of the enhanced picture."""
    smooth = losses.smoothness(outputs["relit"], outputs["reflectance"])
    error = losses.absolute(targets["le"], outputs["le"])
    return {"absolute": error, "smoothness": 3.0 * smooth}


_WINDOW = 4
"""GLAD's detail learns from windows of a crop, one this many times smaller than the crop."""


def _windows(network):
    """Let GLAD enhance a window of each crop, under the overview of the whole crop."""
    overview = network.graph.cut(["small"], ["overview"])
    detail = network.graph.cut(["enlarged", "image"], ["le"])

    def outputs(low, high, draws):
        crop = low.shape[1]
        window = crop // _WINDOW
        found = overview({"small": nearest(low, SIDE, SIDE)})["overview"]
        # Both places of one draw: its digits, and those after them.
        for axis, draw in ((1, draws[0]), (2, (1009.0 * draws[0]) % 1.0)):
            places = ops.cast(draw * (crop - window + 1), "int32") + ops.arange(window)
            low, high = (ops.take(images, places, axis=axis) for images in (low, high))
            found = ops.take(found, places * SIDE // crop, axis=axis)
        return detail({"enlarged": found, "image": low}), {"le": high}

    return outputs


def _of_glad(outputs, targets):
    """Compute GLAD's loss."""
    return {"absolute": losses.weighted_absolute(targets["le"], outputs["le"])}


def _of_kind_decom(outputs, targets):
    """Compute KinD's loss of the decomposition."""
    terms = _reconstructions(outputs, targets)
    both = [[outputs[f"{what}_{s}"] for s in _SIDES] for what in ("reflectance", "illumination")]
    terms["equal"] = 0.01 * losses.absolute(*both[0])
    terms["mutual"] = 0.2 * losses.mutual_smoothness(*both[1])
    for side, light in zip(_SIDES, both[1], strict=True):
        terms[f"smoothness_{side}"] = 0.15 * losses.relative_smoothness(light, targets[side])
    return terms


_CONTRAST = 1.2
"""The power of the reference's reflectance that KinD restores: a little more contrast."""


def _restored(network):
    """Let KinD restore the reflectance of low-light crops."""
    split = _split(network)
    restore = network.graph.cut(["reflectance", "illumination"], ["restored"])

    def outputs(low, high, _):
        dark, bright = split(low, high)
        return restore(dark), {"restored": bright["reflectance"] ** _CONTRAST}

    return outputs


def _of_restoration(outputs, targets):
    """Compute KinD's loss of the restored reflectance."""
    return _squares(targets["restored"], outputs["restored"]) | {
        "structure": one_minus_ssim(targets["restored"], outputs["restored"])
    }


def _squares(*both):
    """Compute the mean squared errors of values and of gradients."""
    return {"mse": mse(*both), "gradient": losses.gradient_error(*both)}


_SMALL = 1e-4


def _adjusted(network):
    """Let KinD turn the illumination of one side of each pair into the other's."""
    split = _split(network)
    adjust = network.graph.cut(["illumination", "ratio"], ["adjusted"])

    def outputs(low, high, draws):
        dark, bright = (part["illumination"] for part in split(low, high))
        darker = ops.mean(dark / (bright + _SMALL), axis=(1, 2, 3), keepdims=True)
        up = ops.reshape(draws < 0.5, (-1, 1, 1, 1))
        ratio = ops.where(up, 1.0 / (darker + _SMALL), darker) * ops.ones_like(dark)
        given = {"illumination": ops.where(up, dark, bright), "ratio": ratio}
        return adjust(given), {"adjusted": ops.where(up, bright, dark)}

    return outputs


def _of_adjust(outputs, targets):
    """Compute KinD's loss of the brightened illumination."""
    return _squares(targets["adjusted"], outputs["adjusted"])


def _names(*terms):
    """Return the names of terms that both pictures of a pair have."""
    return [f"{term}_{side}" for term in terms for side in _SIDES]


_SIDES = ("low", "high")
PHASES: dict[str, dict[str, Phase]] = {
    "retinexnet": {
        "decom": Phase(
            "decom",
            (*_names("reconstruction", "mutual", "smoothness"), "equal"),
            _both,
            _of_decom,
        ),
        "relight": Phase("relight", ("absolute", "smoothness"), _relit, _of_relight, True, True),
    },
    "glad": {"all": Phase("", ("absolute",), _windows, _of_glad, True, True)},
    "kind": {
        "decom": Phase(
            "decom",
            (*_names("reconstruction"), "equal", "mutual", *_names("smoothness")),
            _both,
            _of_kind_decom,
        ),
        "restoration": Phase(
            "restoration", ("mse", "gradient", "structure"), _restored, _of_restoration
        ),
        "adjust": Phase("adjust", ("mse", "gradient"), _adjusted, _of_adjust, True),
    },
}
"""The phases of each rival by ``--train``: those of :data:`neid_tf.models.config.PHASES`."""
