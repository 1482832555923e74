"""XMP packets: what of them depends on the size of the picture and on how it lies."""

from __future__ import annotations

import re
from collections.abc import Iterable

_GPANO_LENGTHS = (
    *("CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels", "FullPanoWidthPixels"),
    *("FullPanoHeightPixels", "CroppedAreaLeftPixels", "CroppedAreaTopPixels"),
)
_NAMESPACES = {
    b"xmp": b"http://ns.adobe.com/xap/1.0/",
    b"xmpNote": b"http://ns.adobe.com/xmp/note/",
    b"hdrgm": b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"GCamera": b"http://ns.google.com/photos/1.0/camera/",
    b"Container": b"http://ns.google.com/photos/1.0/container/",
}
"""The namespaces of what is taken out, by the prefixes that they usually have."""
_DECLARED = re.compile(rb"xmlns:([\w.-]+)\s*=\s*[\"']([^\"'<>]*)[\"']")
_MOST_PREFIXES = 8  # Of a namespace; a packet with more of them is no one's.
_OTHER_PARTS = (
    *((b"xmpNote", rb"HasExtendedXMP"), (b"hdrgm", rb"Version")),
    (b"GCamera", rb"(?:MotionPhoto|MicroVideo)\w*"),
)
_ELEMENTS = (*_OTHER_PARTS, (b"xmp", rb"Thumbnails"), (b"Container", rb"Directory"))
MAX_BYTES = 2**24
"""The longest packet that is kept."""


def _valued(names: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return the pattern of whole numbers, as attributes or as elements, of these names."""
    choice = "|".join(names).encode()
    return re.compile(rb"(\b(" + choice + rb")(?:\s*=\s*[\"']|\s*>\s*))(\d+)")


_WIDTH = _valued(("tiff:ImageWidth", "exif:PixelXDimension"))
_HEIGHT = _valued(("tiff:ImageLength", "exif:PixelYDimension"))
_ORIENTATION = _valued(("tiff:Orientation",))
_GPANO = _valued(tuple(f"GPano:{name}" for name in _GPANO_LENGTHS))


def sound(packet: bytes | None) -> bytes | None:
    """Return a packet that can be carried over: UTF-8 of a sensible length; else None.

    What tells of other parts of the file, which are left out, is taken out: of extended XMP, of a
    video or a gain map behind the picture; and thumbnails, which would show the dark picture.
    """
    packet = (packet or b"").rstrip(b"\0")
    if not packet or len(packet) > MAX_BYTES:
        return None
    try:
        packet.decode("utf-8")
    except UnicodeDecodeError:
        return None
    own = {}
    for prefix, namespace in _DECLARED.findall(packet):
        own.setdefault(namespace, {})[prefix] = None
    # A match begins where the spaces do: or each of a million is a beginning.
    attributes = rb"(?<!\s)\s+" + _any_of(_OTHER_PARTS, own)
    attributes += rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    return re.sub(attributes, b"", _without_elements(packet, _any_of(_ELEMENTS, own)))


def _any_of(names: tuple[tuple[bytes, bytes], ...], own: dict[bytes, Iterable[bytes]]) -> bytes:
    """Return the pattern of names with their prefixes: the usual ones, and those of a packet.

    Args:
        names: the usual prefixes, and patterns of what follows them.
        own: the prefixes that a packet declares for each namespace.
    """
    pattern = []
    for usual, name in names:
        prefixes = [usual, *list(own.get(_NAMESPACES[usual], ()))[:_MOST_PREFIXES]]
        pattern.append(rb"(?:" + b"|".join(map(re.escape, prefixes)) + rb"):" + name)
    return rb"(?:" + b"|".join(pattern) + rb")"


def _without_elements(packet: bytes, names: bytes) -> bytes:
    """Take out the elements whose names are of a pattern, with all that is in them."""
    kept, at, opening = [], 0, None
    for tag in re.finditer(rb"<(/?)(" + names + rb")>", packet):
        if opening is None:
            opening = None if tag[1] else tag
        elif tag[1] and tag[2] == opening[2]:
            kept.append(packet[at : opening.start()])
            at, opening = tag.end(), None
    return b"".join([*kept, packet[at:]])


def refreshed(packet: bytes | None, height: int, width: int) -> bytes | None:
    """Set the picture's size, where a packet tells it.

    Args:
        packet: what :func:`sound` gave.
        height: of the picture that is written, in pixels.
        width: likewise.
    """
    if packet is None:
        return None
    for pattern, value in ((_WIDTH, width), (_HEIGHT, height)):
        packet = pattern.sub(rb"\g<1>" + str(value).encode(), packet)
    return packet


def upright(packet: bytes | None) -> bytes | None:
    """Let a packet that tells how a picture is turned say that it is upright.

    Args:
        packet: what :func:`sound` gave.
    """
    return packet and _ORIENTATION.sub(rb"\g<1>1", packet)


def scaled(packet: bytes | None, down: float, across: float) -> bytes | None:
    """Scale the lengths of a panorama (GPano), by which 360° viewers place it.

    Args:
        packet: what :func:`sound` gave.
        down: the factor of the height.
        across: the factor of the width.
    """
    if packet is None:
        return None

    def longer(match: re.Match[bytes]) -> bytes:
        vertical = b"Height" in match[2] or b"Top" in match[2]
        return match[1] + str(round(int(match[3]) * (down if vertical else across))).encode()

    return _GPANO.sub(longer, packet)
