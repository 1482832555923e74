"""Pictures encoded with loss, in a number of bytes: what is sent over a narrow link."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

from PIL import Image

from neid_tf.pictures.formats import FORMATS
from neid_tf.support.libraries import optional_import


@dataclasses.dataclass(frozen=True)
class Codec:
    """A codec with loss.

    Attributes:
        extensions: of its files' names, lower case, the usual one first.
        format: what Pillow calls it.
        options: for Pillow: those that make the smallest files in a sensible time.
        floor: the quality below which a picture is better halved once more and sent at a higher
            one (docs/link.md).
        plugin: a module that adds it to Pillow and may be missing, or "".
        longest_side: in pixels.
        best: the highest quality that it has, of those up to 100.
    """

    extensions: tuple[str, ...]
    format: str
    options: dict
    floor: int
    plugin: str = ""
    longest_side: int = 65_500
    best: int = 100

    def encode(self, image: Image.Image, quality: int, **metadata: bytes | None) -> bytes:
        """Return the file of a picture.

        Args:
            image: 8 bits, gray (``L``) or ``RGB``.
            quality: 1 to 100.
            **metadata: ``xmp``, ``icc_profile`` and ``exif``; None for none.

        Raises:
            MissingLibraryError: where the codec is not installed.
        """
        if self.plugin:
            with optional_import(self.format):
                __import__(self.plugin)
        file, given = io.BytesIO(), {key: value for key, value in metadata.items() if value}
        quality = min(quality, self.best)
        image.save(file, self.format, quality=quality, **self.options, **given)
        return file.getvalue()


CODECS = {
    "jpeg": Codec(
        FORMATS["JPEG"].suffixes,
        "JPEG",
        # Scans of a progressive one cost 300 bytes, which they save from 12 kB on.
        {"optimize": True, "subsampling": "4:2:0"},
        floor=8,
    ),
    "webp": Codec((".webp",), "WEBP", {"method": 4}, 4, longest_side=16_383),
    "avif": Codec((".avif",), "AVIF", {"speed": 6, "subsampling": "4:2:0"}, 3),
    # A quality of 100 would be without loss, which the plugin does not do with these options.
    "jxl": Codec((".jxl",), "JXL", {"effort": 7, "use_container": True}, 3, "pillow_jxl", best=99),
}
"""The codecs by the names that ``neid pack`` knows them by."""


def largest_within(encode: Callable[[int], bytes], most: int, low: int = 1) -> bytes | None:
    """Return the file of the highest quality, up to 100, that has at most so many bytes.

    Args:
        encode: from a quality to a file; the files grow with it, but for small steps.
        most: bytes.
        low: the lowest quality to try.

    Returns:
        None where that of the lowest quality is larger.
    """
    best, high = encode(low), 100
    if len(best) > most:
        return None
    while low < high:
        middle = (low + high + 1) // 2
        found = encode(middle)
        if len(found) <= most:
            low, best = middle, found
        else:
            high = middle - 1
    return best
