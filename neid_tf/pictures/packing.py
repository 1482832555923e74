"""What a packed picture says of itself in XMP: how it was made small, to be undone.

``neid pack`` halves a picture and lifts it by a curve. Any viewer shows it; whoever reads it here
gets it without the curve.
"""

from __future__ import annotations

import dataclasses
import re

from neid_tf.pixels.curve import Curve

NAMESPACE = b"urn:neid-tf:pack:1#"
"""Of the properties below."""
MAX_HALVINGS = 6
"""How often a picture is halved at most."""
_HEAD = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
_HEAD += b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
_TAIL = b"/></rdf:RDF></x:xmpmeta>"
_NAMES = ("Gain", "Gamma", "Width", "Height", "Halvings")
# Other programs write properties as elements, or with a space after their value.
_PROPERTY = re.compile(
    rb"\s*neid:(\w+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')|\s*<neid:(\w+)>([^<]*)</neid:\4>"
)
_DECLARATION = re.compile(rb"\s*xmlns:neid\s*=\s*[\"']" + NAMESPACE + rb"[\"']")
_MOST_BYTES = 2000  # That its properties take, behind the namespace.
DAMAGED = "what it says of how it was packed is damaged: it is taken as it looks"


@dataclasses.dataclass(frozen=True)
class Packing:
    """How a picture was packed.

    Attributes:
        curve: that its samples were lifted by.
        height, width: of the picture before, upright as its packed pixels are.
        halvings: how often it was halved.

    Raises:
        ValueError: for sizes or halvings that no packed picture has.
    """

    curve: Curve
    height: int
    width: int
    halvings: int = 1

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(f"no picture is {self.width}x{self.height}")
        if not 1 <= self.halvings <= MAX_HALVINGS:
            raise ValueError(f"no picture is halved {self.halvings} times")

    @property
    def packed_size(self) -> tuple[int, int]:
        """Height and width after the halvings."""
        return tuple(-(-side // 2**self.halvings) for side in (self.height, self.width))

    def fitted(self, height: int, width: int) -> tuple[Packing, tuple[str, ...]]:
        """Return the packing for a file of this size, which may have been turned or resized since.

        Args:
            height, width: of the file, upright, in pixels.

        Returns:
            The packing with the size that this file is to become, and a note where it was resized.
        """
        if self.packed_size == (height, width):
            return self, ()
        if self.packed_size == (width, height):
            return dataclasses.replace(self, height=self.width, width=self.height), ()
        size = {"height": height << self.halvings, "width": width << self.halvings}
        note = f"was resized since it was packed: it becomes {size['width']}x{size['height']}"
        return dataclasses.replace(self, **size), (note,)


def packet(packing: Packing) -> bytes:
    """Return the XMP packet that tells of a packing."""
    curve = packing.curve
    values = (curve.gain, curve.gamma, packing.width, packing.height, packing.halvings)
    pairs = zip(_NAMES, values, strict=True)
    fields = "".join(f' neid:{name}="{value:.15g}"' for name, value in pairs).encode()
    return _HEAD + b' xmlns:neid="' + NAMESPACE + b'"' + fields + _TAIL


def pixels_told(data: bytes) -> int:
    """Return the pixels that a file's packing tells of, without decoding it; 0 for none.

    Args:
        data: the file. XMP lies in it as it is.
    """
    at = data.find(NAMESPACE)
    packing = _parsed(_properties(data[at : at + _MOST_BYTES])) if at >= 0 else None
    return packing.height * packing.width if packing else 0


def taken_out(xmp: bytes | None) -> tuple[bytes | None, Packing | None, tuple[str, ...]]:
    """Take what tells of a packing out of a packet of XMP.

    Args:
        xmp: the packet, or None.

    Returns:
        The packet without it, or None where nothing else is in it; the packing, or None where
        there is none or it is damaged; and notes, a line each.
    """
    if not xmp or NAMESPACE not in xmp:
        return xmp, None, ()
    packing = _parsed(_properties(xmp))
    rest = _DECLARATION.sub(b"", _PROPERTY.sub(b"", xmp))
    rest = None if rest == _HEAD + _TAIL else rest
    return rest, packing, () if packing else (DAMAGED,)


def _properties(xmp: bytes) -> dict[str, str]:
    found = {}
    for match in _PROPERTY.finditer(xmp):
        name, value = match[1] or match[4], match[2] or match[3] or match[5] or b""
        found[name.decode("ascii", "replace")] = value.decode("ascii", "replace")
    return found


def _parsed(found: dict[str, str]) -> Packing | None:
    """Return the packing that properties tell of; None where they are damaged."""
    try:
        curve = Curve(*(float(found[name]) for name in _NAMES[:2]))
        width, height, halvings = (int(found[name]) for name in _NAMES[2:])
        return Packing(curve, height, width, halvings)
    except (KeyError, ValueError):
        return None
