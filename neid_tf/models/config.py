"""What a model is made of, and the named variants; without Keras."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from neid_tf.support.errors import NeidError
from neid_tf.support.fields import check_fields, config_field, ineffective

ARCHITECTURES = ("unet", "le", "le_dr", "neid")
_WITH_DETAIL = ("le_dr", "neid")
PHASES = {
    "retinexnet": ("decom", "relight"),
    "glad": ("all",),
    "kind": ("decom", "restoration", "adjust"),
}
"""The learned rivals of Table 1, and the phases of their training in order."""
RIVALS = tuple(PHASES)
"""Their names."""
READING = ("tone_black", "tone_veil", "tone_gray")
"""Fields that a tone is read otherwise with than it learned to, where they are others."""
LIMITS = ("tone_dead_zone", "tone_darkening", "tone_least_lift", "tone_shade")
"""Fields that say what of a tone is left, and what comes in its place; training does not see it."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What a model is made of. The defaults are the paper's reading."""

    architecture: str = config_field(
        "neid",
        "unet: same size in and out; le: sub-pixel x2 after it; le_dr: a detail branch beside "
        "it in training; neid: and feature fusing.",
        choices=ARCHITECTURES,
    )
    filters: int = config_field(
        64, "Channels of the first level; they double with each level.", minimum=1, maximum=1024
    )
    depth: int = config_field(4, "Levels of the encoder.", minimum=1, maximum=12)
    convolutions: int = config_field(
        2,
        "3x3 convolutions in each level, in the bottleneck and in the refinement.",
        minimum=1,
        maximum=8,
    )
    up_kernel: int = config_field(
        2,
        "Side of the kernel of each step up: 2, behind the enlarging, as in section 2.1; 1 before "
        "it, where it costs a fourth.",
        minimum=1,
        maximum=2,
    )
    initializer: str = config_field(
        "normal",
        "normal: N(0, 0.02), section 3.2; he_normal: for narrow models.",
        choices=("normal", "he_normal"),
    )
    fusion: str = config_field(
        "bottleneck",
        "Fuse the streams at the bottleneck, or the skip connections as well.",
        choices=("bottleneck", "all"),
        only=("architecture", ("neid",)),
    )
    detail_target: str = config_field(
        "low",
        "What the detail branch restores at full size: the low-light picture, the reference, "
        "or the low-light picture as the tone brightens it.",
        choices=("low", "reference", "toned"),
        only=("architecture", _WITH_DETAIL),
    )
    tone: bool = config_field(
        False, "Read a brightness and colour curve off the whole picture (not in the paper)."
    )
    tone_kind: str = config_field(
        "curve",
        "What the tone is: one curve a channel; or a grid of gains by place and brightness, which "
        "keeps hues.",
        choices=("curve", "grid"),
        only=("tone", (True,)),
    )
    mirrored: bool = config_field(
        True,
        "Read the tone off the picture and off its mirror image, and take the mean.",
        only=("tone", (True,)),
    )
    tone_dead_zone: float = config_field(
        0.0,
        "Changes of the tone that are far smaller than this share of a picture's level are left "
        "out, so that a well-exposed picture comes back as it was; 0 for none.",
        minimum=0.0,
        maximum=1.0,
        only=("tone_kind", ("grid",)),
    )
    tone_darkening: float = config_field(
        0.0,
        "Of a tone that makes a picture darker in the mean by a share of far more than this hardly "
        "any is left, so that a bright picture comes back as it was, unless a tenth of it is "
        "clipped; 0 for a tone that may darken.",
        minimum=0.0,
        maximum=1.0,
        only=("tone_kind", ("grid",)),
    )
    tone_least_lift: float = config_field(
        0.0,
        "Of a tone that makes a picture brighter in the mean by far less than this (the logarithm "
        "of the ratio) hardly any is left, or a third where the picture has no white, so that one "
        "that is dark on purpose comes back as it was, unless a veil is taken off; 0 for none.",
        minimum=0.0,
        maximum=2.0,
        only=("tone_kind", ("grid",)),
    )
    tone_shade: float = config_field(
        1.0,
        "The most that the shade of a picture with much light beside it is multiplied by, where "
        "the tone is too slight a lift (tone_least_lift); 1 for none.",
        minimum=1.0,
        maximum=2.0,
        only=("tone_kind", ("grid",)),
    )
    tone_black: float = config_field(
        0.0,
        "The tone takes what is far below this level of 255 for black, and what is not far above "
        "it for colourless, since in 8 bits that is rounding and a codec's blocks; 0 to read all.",
        minimum=0.0,
        maximum=255.0,
        only=("tone_kind", ("grid",)),
    )
    tone_veil: float = config_field(
        0.0,
        "What share is taken off of a veil: the gray that a picture without white has for black; "
        "0 to leave it.",
        minimum=0.0,
        maximum=1.0,
        only=("tone_kind", ("grid",)),
    )
    tone_gray: int = config_field(
        0,
        "Units of the layer that corrects what the tone reads off a gray picture, also under a "
        "cast, which it would take for another one than in its colours; 0 for none.",
        minimum=0,
        maximum=1024,
        only=("tone_kind", ("grid",)),
    )
    refinement: int = config_field(
        0,
        "Channels of the block that puts full-size detail back where the picture is there at full "
        "size; 0 for none.",
        minimum=0,
        maximum=1024,
    )

    def __post_init__(self):
        check_fields(self)
        if self.detail_target == "toned" and not self.tone:
            raise NeidError("detail_target 'toned' needs tone=True")
        if self.architecture == "unet" and self.tone:
            raise NeidError("architecture 'unet' is the paper's baseline and has no tone")
        if self.tone_shade > 1.0 and not self.tone_least_lift:
            raise NeidError("tone_shade above 1 needs a tone_least_lift above 0")
        if self.refinement and not self.has_grid:
            raise NeidError("refinement needs tone=True and tone_kind='grid'")

    @property
    def has_detail(self) -> bool:
        """Whether there is a detail branch in training."""
        return self.architecture in _WITH_DETAIL

    @property
    def has_grid(self) -> bool:
        """Whether the tone differs from place to place."""
        return self.tone and self.tone_kind == "grid"

    @property
    def reading(self) -> dict:
        """What a grid's tone is read with: the arguments of ``grid_parameters`` that are fields."""
        return {name.removeprefix("tone_"): getattr(self, name) for name in READING}

    @property
    def least_parameters(self) -> int:
        """How many parameters the network has at the very least: those of its widest layer."""
        return 9 * (self.filters * 2**self.depth) ** 2

    @property
    def scale(self) -> int:
        """How many times larger the output is than the input."""
        return 1 if self.architecture == "unet" else 2


@dataclasses.dataclass(frozen=True)
class RivalConfig:
    """What a learned rival of Table 1 is made of; the width is the published one in its variant."""

    architecture: str = config_field(
        "retinexnet", "One of the learned rivals of Table 1.", choices=RIVALS
    )
    filters: int = config_field(64, "Channels of its first convolution.", minimum=1, maximum=1024)

    scale: ClassVar[int] = 1
    tone: ClassVar[bool] = False
    refinement: ClassVar[int] = 0

    def __post_init__(self):
        check_fields(self)

    @property
    def least_parameters(self) -> int:
        """How many parameters the network has at the very least: those of its widest layer."""
        widest = 16 * self.filters if self.architecture == "kind" else self.filters
        return 9 * widest**2


VARIANTS: dict[str, dict[str, Any]] = {name: {"architecture": name} for name in ARCHITECTURES}
"""Fields of every named variant; what is not named here has :class:`ModelConfig`'s default."""

VARIANTS["paper"] = {"architecture": "neid"}
VARIANTS["neid_tone"] = {
    "architecture": "neid",
    "filters": 16,
    "initializer": "he_normal",
    "detail_target": "toned",
    "tone": True,
}
VARIANTS["neid_grid"] = VARIANTS["neid_tone"] | {
    "filters": 32,
    "depth": 2,
    "tone_kind": "grid",
    "tone_dead_zone": 0.08,
    "tone_darkening": 0.04,
    "tone_least_lift": 0.34,
    "tone_shade": 1.6,
    "tone_black": 1.5,
    "tone_veil": 1.0,
    "tone_gray": 32,
    "refinement": 32,
}
VARIANTS["retinexnet"] = {"architecture": "retinexnet", "filters": 64}
VARIANTS["glad"] = {"architecture": "glad", "filters": 64}
VARIANTS["kind"] = {"architecture": "kind", "filters": 32}


def model_config(name: str = "neid", **fields) -> ModelConfig | RivalConfig:
    """Return the configuration that :func:`neid_tf.models.build` would build.

    Args:
        name: one of :data:`VARIANTS`.
        **fields: what differs from the variant. Where one of them takes the effect from another
            of the variant's, that one is left out.

    Raises:
        ValueError: for an unknown name or field, a bad value, or a field without effect.
    """
    if name not in VARIANTS:
        raise NeidError(f"unknown model {name!r}; there are {', '.join(VARIANTS)}")
    given = VARIANTS[name] | fields
    kind = _kind(given)
    unknown = set(fields) - {field.name for field in dataclasses.fields(kind)}
    if unknown:
        raise NeidError(f"a model {name} has no field {', '.join(sorted(unknown))}")
    return kind(**(_effective(kind, given) | fields))


def config_of(fields: Mapping[str, Any]) -> ModelConfig | RivalConfig:
    """Return the configuration with these fields, those of a weights file."""
    kind = _kind(fields)
    return kind(**_effective(kind, fields))


def _effective(kind, given):
    """Return the fields that have an effect beside the others."""
    idle = ineffective(kind, given)
    return {name: value for name, value in given.items() if name not in idle}


def _kind(fields):
    return RivalConfig if fields.get("architecture") in RIVALS else ModelConfig


def phases_to_come(architecture: str, card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the phases that weights of a learned rival still lack; none where it is not known.

    Args:
        architecture: of the weights.
        card: that they have.
    """
    phases = PHASES.get(architecture, ())
    settings = card.get("training", card).get("settings", {})
    last = settings.get("train") if isinstance(settings, Mapping) else None
    return phases[phases.index(last) + 1 :] if last in phases else ()
