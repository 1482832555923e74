"""What a client may ask for beside the picture, and how it is checked."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterable
from typing import Any

from neid_tf.inference.enhance import MAX_STRENGTH, check_strength
from neid_tf.pictures.formats import FORMATS, NAMES, is_available
from neid_tf.service.errors import Refused

TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
    "JPEG XL": "image/jxl",
    "JPEG 2000": "image/jp2",
    "PNM": "image/x-portable-anymap",
    "PAM": "image/x-portable-arbitrarymap",
}
"""What the web calls the formats that are written."""
WRITTEN = {
    asked: FORMATS[name].suffixes[0] for asked, name in NAMES.items() if is_available(FORMATS[name])
}
"""The formats that can be asked for, and the suffixes of their files."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a client asks for.

    Attributes:
        scale: 1 or 2.
        unpack: whether pictures of ``neid pack`` get the size that they had; so where no scale is
            given.
        strength: 0 to 8.
        weights: a name that the service offers.
        suffix: of the result; empty for the format of the picture.
    """

    scale: int
    unpack: bool
    strength: float
    weights: str
    suffix: str


def parameters(weights: Collection[str]) -> list[dict[str, Any]]:
    """Return the parameters as OpenAPI has them.

    Args:
        weights: the names that can be asked for, the default first.
    """
    default = next(iter(weights))
    strength = {"type": "number", "minimum": 0, "maximum": MAX_STRENGTH, "default": 1}
    rows = (
        (
            "scale",
            {"type": "integer", "enum": [1, 2]},
            "1, the size that it has, if it is not given, and the size from before for pictures of "
            "neid pack; 2: twice the size",
        ),
        ("strength", strength, "0: the picture as it is; above 1: more light"),
        ("weights", {"type": "string", "enum": list(weights), "default": default}, "the network"),
        (
            "format",
            {"type": "string", "enum": list(WRITTEN)},
            "of the result; the picture's own if it is not given",
        ),
    )
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
        for name, schema, text in rows
    ]


def parsed(pairs: Iterable[tuple[str, str]], weights: Collection[str]) -> Settings:
    """Read the parameters of a request.

    Args:
        pairs: name and value of each.
        weights: the names that can be asked for, the default first.

    Raises:
        Refused: for an unknown parameter, two values of one, or a bad value.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in ("scale", "strength", "weights", "format"):
            known = "scale, strength, weights and format"
            raise Refused(422, f"no parameter {name[:40]!r}; there are {known}")
        if given.setdefault(name, value) != value:
            raise Refused(422, f"{name} is given twice")
    return Settings(
        scale=int(_one_of("scale", given.get("scale", "1"), ("1", "2"))),
        unpack="scale" not in given,
        strength=_strength(given.get("strength", "1")),
        weights=_one_of("weights", given.get("weights", next(iter(weights))), weights),
        suffix=WRITTEN[_one_of("format", given["format"], WRITTEN)] if "format" in given else "",
    )


def _one_of(name: str, value: str, allowed: Collection[str]) -> str:
    if value not in allowed:
        raise Refused(422, f"{name} is one of {', '.join(allowed)}, not {value[:40]!r}")
    return value


def _strength(text: str) -> float:
    value: Any = text[:40]
    with contextlib.suppress(ValueError):
        value = float(text)
    try:
        check_strength(value)
    except ValueError as error:
        raise Refused(422, str(error)) from error
    return value
