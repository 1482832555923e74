"""What decoding a picture may cost, derived from the pixels that are allowed.

Every decoder asks here before it decodes: a small file may announce, or unfold to, gigabytes.
"""

from __future__ import annotations

from neid_tf.pictures.raster import FormatError

BYTES_PER_PIXEL = 8
"""Bytes of decoded samples for each pixel allowed: RGB and alpha of 16 bits."""
PASSES = 16
"""How often the pixels allowed may be gone over: by scans of a progressive JPEG, pages, frames."""
LONGEST_SIDE = 1_000_000
"""The longest side of a picture, in pixels: beyond it are headers that nobody meant."""
_FREE_BYTES = 2**25  # Small things are done whatever they are made of.
_FREE_PIXELS = 2**22


class TooLargeError(FormatError):
    """A picture over the limit; its attribute ``pixels`` says how many it has."""

    def __init__(self, width: int, height: int, max_pixels: int) -> None:
        self.pixels = width * height
        super().__init__(
            f"{width}x{height} is {self.pixels} pixels, over the limit of {max_pixels}"
        )


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an empty or too large picture; called on the header, before any decoding.

    Args:
        width: in pixels.
        height: in pixels.
        max_pixels: the largest width × height allowed.

    Raises:
        FormatError: if a side is zero, or longer than a million pixels.
        TooLargeError: if width × height exceeds max_pixels.
    """
    if width < 1 or height < 1:
        raise FormatError(f"the picture is {width}x{height} pixels: it is empty")
    if width * height > max_pixels:
        raise TooLargeError(width, height, max_pixels)
    if max(width, height) > LONGEST_SIDE:
        raise FormatError(f"{width}x{height} pixels: a side is over the limit of {LONGEST_SIDE}")


def check_bytes(size: int, max_pixels: int, what: str = "its samples") -> None:
    """Refuse what takes more memory than the pixels allowed would.

    Args:
        size: bytes that decoding unfolds to.
        max_pixels: the pixels allowed.
        what: the thing, for the message.

    Raises:
        FormatError: if they exceed 8 bytes for each pixel allowed (and 32 MB, which are free).
    """
    limit = max(BYTES_PER_PIXEL * max_pixels, _FREE_BYTES)
    if size > limit:
        raise FormatError(
            f"{what} take {size} bytes, over the limit of {limit} (8 for each pixel allowed)"
        )


def check_effort(pixels: int, max_pixels: int, what: str) -> None:
    """Refuse what takes more time than the pixels allowed should.

    Args:
        pixels: pixels that are gone over, each as often as it is.
        max_pixels: the pixels allowed.
        what: the thing, for the message.

    Raises:
        FormatError: if they exceed 16 times the pixels allowed (and 4 megapixels).
    """
    limit = PASSES * max(max_pixels, _FREE_PIXELS)
    if pixels > limit:
        raise FormatError(f"{what}: {pixels} pixels to go over, over the limit of {limit}")
