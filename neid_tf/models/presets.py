"""The trained networks of the package, as data: what each is, and where it comes from.

How large a network is and what it scores stands in the card of its weights file, and is
read from there, so that no number is written down twice.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import os
from collections.abc import Mapping
from typing import Any

from neid_tf.models.weights_file import WeightsFile

FOLDER = importlib.resources.files("neid_tf.models") / "weights"
PICTURE_MEGAPIXELS = 0.24
"""600×400 pixels, the size that times are told for."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """A trained network of the package.

    Attributes:
        name: what ``load_pretrained`` and ``--weights`` take.
        architecture: the variant (:data:`neid_tf.models.VARIANTS`) that it is built from. A
            preset's name is not that of a variant: ``build("neid")`` gives the paper's network.
        fields: what differs from the variant.
        summary: whom it is for, in a few words.
        weights: the name of the weights file.
        licence: of the weights, and the terms of what they were trained on.
        origin: the training data.
    """

    name: str
    architecture: str
    fields: Mapping[str, Any]
    summary: str
    weights: str
    licence: str
    origin: str

    @functools.cached_property
    def card(self) -> dict:
        """How the weights were trained, and what they score: see ``neid_tf.models.pretrained``."""
        with WeightsFile(FOLDER / self.weights) as file:
            return file.header["card"]

    @property
    def parameters(self) -> int | None:
        """How many parameters the network has."""
        return self.card.get("parameters")

    @property
    def scores(self) -> dict[str, float]:
        """Scores on the held-out pictures: ``psnr`` in dB, ``ssim`` from 0 to 1, and others."""
        return self.card.get("validation", {})

    @property
    def seconds(self) -> float | None:
        """Seconds for a picture of 600×400 in TensorFlow on the CPU that scored the weights."""
        found = self.scores.get("seconds_per_megapixel")
        return None if found is None else found * PICTURE_MEGAPIXELS

    @property
    def megabytes(self) -> float:
        """Size of the weights file, in 10⁶ bytes."""
        with (FOLDER / self.weights).open("rb") as file:
            return file.seek(0, 2) / 1e6


_LICENCE = (
    "Apache-2.0; LoL's pictures are for research by their authors' terms, SICE's for academic use "
    "(CC BY-NC 4.0)"
)
_REAL = (
    "LoL (470 of its 485 pairs of rooms), SICE (exposure brackets of 199 places, mostly "
    "outdoors) and 753 photographs under free licences, over EfficientNet-lite0's ImageNet features"
)


def _for_real_pictures(name: str, summary: str, **fields: Any) -> Preset:
    return Preset(name, "neid_grid", fields, summary, f"{name}.npz", _LICENCE, _REAL)


PRESETS = (
    _for_real_pictures("neid", "the best result, indoors and out", filters=32, refinement=64),
    _for_real_pictures(
        "neid_s", "the fastest", filters=16, refinement=16, convolutions=1, up_kernel=1
    ),
)


FORMER = {"neid_m": "neid"}
"""Names from before, and the presets that took their place."""


def current(name: str | os.PathLike) -> str | os.PathLike:
    """Return the preset's name that stands for a name from before; else the name itself."""
    return FORMER.get(name, name)


def presets() -> tuple[Preset, ...]:
    """Return the trained networks that come with the package, the default first."""
    return tuple(preset for preset in PRESETS if (FOLDER / preset.weights).is_file())


def table() -> str:
    """Return the presets as a text table: size, time, scores, and whom each is for."""
    rows = [("name", "file", "parameters", "600x400", "PSNR", "SSIM", "")]
    for number, preset in enumerate(presets()):
        scores, default = preset.scores, "" if number else "the default: "
        cells = (
            ("{:.1f} MB", preset.megabytes),
            ("{:,}", preset.parameters),
            ("{:.2f} s", preset.seconds),
            ("{:.2f} dB", scores.get("psnr")),
            ("{:.3f}", scores.get("ssim")),
        )
        texts = ["-" if value is None else form.format(value) for form, value in cells]
        rows.append((preset.name, *texts, default + preset.summary))
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)]
    lines = ["  ".join(map(str.ljust, row, [*widths, 0])).rstrip() for row in rows]
    return "\n".join(
        [
            *lines,
            "",
            "Scores: LoL's held-out pictures. Times: TensorFlow on the CPU that scored them.",
            "A path of weights (.npz, of neid train) or of an export is taken as well.",
        ]
    )


def nearest(name: str) -> str | None:
    """Return the preset's name that is most like a name, or None where none is."""
    import difflib

    found = difflib.get_close_matches(name, [preset.name for preset in presets()], 1)
    return found[0] if found else None
