"""XMP packets: what of them depends on the size of the picture and on how it lies."""

from __future__ import annotations

import re

_GPANO_LENGTHS = (
    *("CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels", "FullPanoWidthPixels"),
    *("FullPanoHeightPixels", "CroppedAreaLeftPixels", "CroppedAreaTopPixels"),
)
_VIDEO = rb"GCamera:(?:MotionPhoto|MicroVideo)\w*"
_TAGS = re.compile(rb"<(/?)(xmp:Thumbnails|Container:Directory|" + _VIDEO + rb")>")
# Here and elsewhere a match begins where the spaces do: or each of a million is a beginning.
_ATTRIBUTES = re.compile(
    rb"(?<!\s)\s+(?:xmpNote:HasExtendedXMP|hdrgm:Version|" + _VIDEO + rb")"
    rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')"
)
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
    return _ATTRIBUTES.sub(b"", _without_elements(packet))


def _without_elements(packet: bytes) -> bytes:
    """Take out the elements of :data:`_TAGS`, with all that is in them."""
    kept, at, opening = [], 0, None
    for tag in _TAGS.finditer(packet):
        if opening is None:
            opening = None if tag[1] else tag
        elif tag[1] and tag[2] == opening[2]:
            kept.append(packet[at : opening.start()])
            at, opening = tag.end(), None
    return b"".join([*kept, packet[at:]])


def refreshed(packet: bytes | None, height: int, width: int) -> bytes | None:
    """Set the picture's size, and that it is upright, where a packet says so.

    Args:
        packet: what :func:`sound` gave.
        height: of the picture that is written, in pixels.
        width: likewise.
    """
    if packet is None:
        return None
    for pattern, value in ((_WIDTH, width), (_HEIGHT, height), (_ORIENTATION, 1)):
        packet = pattern.sub(rb"\g<1>" + str(value).encode(), packet)
    return packet


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
