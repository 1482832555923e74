"""The weighted total loss (section 2.3, equation 7); Keras is imported only when it is computed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from neid_tf.support.fields import check_fields, config_field

RECONSTRUCTIONS = ("huber", "mse", "charbonnier", "log_mse")
"""The names of :data:`neid_tf.training.losses.RECONSTRUCTIONS`."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """The weights of the loss terms; the defaults are the paper's, and 0 leaves a term out."""

    reconstruction: str = config_field(
        "huber",
        "Loss between LE's output and the reference; all losses of that are the refined picture's "
        "too, where there is one.",
        choices=RECONSTRUCTIONS,
    )
    delta: float = config_field(
        1.0,
        "Delta of the Huber loss, in units of white.",
        minimum=1e-6,
        only=("reconstruction", ("huber",)),
    )
    detail_weight: float = config_field(0.1, "Lambda 1, weight of DR's MSE loss.", minimum=0.0)
    colour_weight: float = config_field(0.1, "Lambda 2, weight of the colour loss.", minimum=0.0)
    aligned_weight: float = config_field(
        0.0, "Weight of the absolute error at the reference's mean brightness.", minimum=0.0
    )
    structure_weight: float = config_field(0.0, "Weight of 1 - SSIM.", minimum=0.0)
    tone_weight: float = config_field(1.0, "Weight of the toned thumbnail's error.", minimum=0.0)

    def __post_init__(self) -> None:
        check_fields(self)

    def terms(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Any]:
        """Compute each weighted term of equation 7.

        Args:
            outputs: pictures N×H×W×3 by name: those of ``le``, ``refined``, ``dr`` and ``tone``
                that the network has.
            targets: a picture of the same shape for each of the outputs.

        Returns:
            The term's values, each of shape N, by the term's name. Their sum is the total. The
            refined picture has the same terms as LE's, named ``refined_…``.
        """
        from neid_tf.training import losses

        terms = self._of_light(targets["le"], outputs["le"]) if "le" in outputs else {}
        if "refined" in outputs:
            refined = self._of_light(targets["refined"], outputs["refined"])
            terms |= {f"refined_{name}": values for name, values in refined.items()}
        if "dr" in outputs and self.detail_weight:
            terms["detail"] = self.detail_weight * losses.mse(targets["dr"], outputs["dr"])
        if "tone" in outputs and self.tone_weight:
            terms["tone"] = self.tone_weight * losses.log_mse(targets["tone"], outputs["tone"])
        return terms

    def _of_light(self, *light: Any) -> dict[str, Any]:
        """Compute the terms of an enhanced picture."""
        from neid_tf.training import losses

        options = {"delta": self.delta} if self.reconstruction == "huber" else {}
        reconstruction = losses.RECONSTRUCTIONS[self.reconstruction]
        terms = {self.reconstruction: reconstruction(*light, **options)}
        if self.aligned_weight:
            terms["aligned"] = self.aligned_weight * losses.exposure_aligned(*light)
        if self.colour_weight:
            terms["colour"] = self.colour_weight * losses.colour(*light)
        if self.structure_weight:
            terms["structure"] = self.structure_weight * losses.one_minus_ssim(*light)
        return terms
