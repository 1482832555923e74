"""OME-XML, by which microscopes describe a TIFF: the sizes in it."""

import re

_DOCUMENT = re.compile(r"<(?:\w+:)?OME\b")
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\s[^>]*>")
_SIZE = re.compile(r"(\bSize([XY])\s*=\s*[\"'])(\d+)")
_STEP = re.compile(r"(\bPhysicalSize([XY])\s*=\s*[\"'])(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)")


def refreshed(description: str, height: int, width: int) -> str:
    """Set the size of the picture, and what a pixel measures, where a description says so.

    All pictures of the file are taken to be scaled as the first is.

    Args:
        description: of a TIFF; what is no OME-XML is left as it is.
        height: of the picture that is written, in pixels.
        width: likewise.
    """
    first = _PIXELS.search(description) if _DOCUMENT.search(description) else None
    before = {axis: int(size) for _, axis, size in _SIZE.findall(first[0])} if first else {}
    if not (before.get("X") and before.get("Y")) or before == {"X": width, "Y": height}:
        return description
    factors = {"X": width / before["X"], "Y": height / before["Y"]}

    def scaled(pixels: re.Match[str]) -> str:
        larger = _SIZE.sub(lambda m: f"{m[1]}{round(int(m[3]) * factors[m[2]])}", pixels[0])
        return _STEP.sub(lambda m: f"{m[1]}{float(m[3]) / factors[m[2]]!r}", larger)

    return _PIXELS.sub(scaled, description)
