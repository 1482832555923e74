"""What a packed picture says of itself in XMP: how it was made small, to be undone.

``neid pack`` halves a picture and lifts it by a curve. Any viewer shows it; whoever reads it here
gets it without the curve.
"""

from __future__ import annotations

import dataclasses
import re

from neid_tf.pixels.curve import Curve

NAMESPACE = b"urn:neid-tf:1#"
"""Of the property that tells of it; the packet is short, since it counts."""
MAX_HALVINGS = 6
"""How often a picture is halved at most."""
_HEAD = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
_HEAD += b'<rdf:Description rdf:about=""'
_TAIL = b"/></rdf:RDF>"
# Other programs write properties as elements.
_PROPERTY = re.compile(
    rb"(?<!\s)\s*(?:neid:Packed\s*=\s*(?:\"([^\"]*)\"|'([^']*)')|"
    rb"<neid:Packed>([^<]*)</neid:Packed>)"
)
_DECLARATION = re.compile(rb"(?<!\s)\s*xmlns:neid\s*=\s*[\"']" + NAMESPACE + rb"[\"']")
_MOST_BYTES = 2000  # That the property takes, behind the namespace.
DAMAGED = "its XMP, which tells how it was packed, is damaged: it is taken as it looks"


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
    """Return the XMP packet that tells of a packing: gain, gamma, width, height, halvings."""
    curve = packing.curve
    size = f"{packing.width} {packing.height} {packing.halvings}"
    value = f' neid:Packed="{curve.gain:.15g} {curve.gamma:.15g} {size}"'
    return _HEAD + b' xmlns:neid="' + NAMESPACE + b'"' + value.encode() + _TAIL


def announced_pixels(data: bytes) -> int:
    """Return the pixels that a file's packing tells of, without decoding it; 0 for none.

    Args:
        data: the file. XMP lies in it as it is.
    """
    at = data.find(NAMESPACE)
    packing = _parsed(data[at : at + _MOST_BYTES]) if at >= 0 else None
    return packing.height * packing.width if packing else 0


def taken_out(xmp: bytes | None) -> tuple[bytes | None, Packing | None, tuple[str, ...]]:
    """Take what tells of a packing out of a packet of XMP.

    Args:
        xmp: the packet, or None.

    Returns:
        The packet without it, or None where nothing else is in it or it is damaged; the packing,
        or None where there is none or it is damaged; and notes, a line each.
    """
    if not xmp or NAMESPACE not in xmp:
        return xmp, None, ()
    packing = _parsed(xmp)
    if packing is None:
        return None, None, (DAMAGED,)
    rest = _DECLARATION.sub(b"", _PROPERTY.sub(b"", xmp))
    rest = None if rest == _HEAD + _TAIL else rest
    return rest, packing, ()


def _parsed(xmp: bytes) -> Packing | None:
    """Return the packing that a packet tells of; None where that is damaged."""
    match = _PROPERTY.search(xmp)
    try:
        value = (match[1] or match[2] or match[3] or b"").decode("ascii") if match else ""
        gain, gamma, width, height, halvings = value.split()
        curve = Curve(float(gain), float(gamma))
        return Packing(curve, int(height), int(width), int(halvings))
    except ValueError:  # Also of text that is none.
        return None
