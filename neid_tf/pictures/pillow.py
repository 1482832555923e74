"""What all formats that Pillow and its plugins decode share."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile

from neid_tf.pictures import budget, metadata
from neid_tf.pictures.exif import settle_exif
from neid_tf.pictures.raster import Extras, FormatError, Raster, with_channels
from neid_tf.pixels.resample import bands

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's modes of 8 bits by the number of channels."""
_WANTED = {
    **{"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBX": "RGB"},
    **{"RGBA": "RGBA", "La": "LA", "RGBa": "RGBA", "YCbCr": "RGB", "HSV": "RGB"},
    # NumPy knows their order of bytes; Pillow's conversion of one to the other cuts to 8 bits.
    **{mode: mode for mode in ("I;16", "I;16L", "I;16B", "I;16N")},
}
TAKEN = (*_WANTED, "CMYK")
"""Pillow's modes that :func:`samples_of` takes."""
Plugin = Callable[[io.BytesIO], ImageFile.ImageFile]
"""What opens a file: a plugin's class."""


def opened(plugin: Plugin, data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Open a file with one of Pillow's plugins, and check its size before it is decoded.

    Args:
        plugin: the plugin's class. Not Image.open, which enforces a limit of the whole process's
            and prints warnings.
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if the plugin can't make out the header, or the picture is too large.
    """
    try:
        image = plugin(io.BytesIO(data))
    except SyntaxError as error:
        raise FormatError(f"truncated, damaged or unsupported header ({error})") from error
    budget.check_size(*image.size, max_pixels)
    return image


def samples_of(image: Image.Image) -> np.ndarray:
    """Return the samples of an open picture, H×W×C uint8 or uint16; CMYK becomes sRGB.

    Raises:
        FormatError: for pixels of another kind.
    """
    image.load()
    if image.mode == "CMYK":
        return metadata.cmyk_to_rgb(np.asarray(image), image.info.get("icc_profile"))
    if image.mode not in _WANTED:
        raise FormatError(f"pixels of mode {image.mode} are not supported")
    wanted = _WANTED[image.mode]
    if "transparency" in image.info:
        wanted = {"L": "LA", "1": "LA", "P": "RGBA", "RGB": "RGBA"}.get(image.mode, wanted)
    return with_channels(_array(image if image.mode == wanted else image.convert(wanted)))


def _array(image: Image.Image) -> np.ndarray:
    """Return a picture's samples; NumPy alone would have them twice for a while."""
    if image.mode not in MODES.values():
        return np.asarray(image).astype(np.uint16, copy=False)
    shape = (image.height, image.width, len(image.getbands()))
    samples = np.empty(shape, np.uint8)
    for rows in bands(*shape[:2]):
        part = image.crop((0, rows.start, image.width, rows.stop))
        samples[rows] = np.frombuffer(part.tobytes(), np.uint8).reshape(-1, *shape[1:])
    return samples


def image_of(samples: np.ndarray) -> Image.Image:
    """Return uint8 H×W×C samples of 1 to 4 channels as a picture of Pillow's."""
    height, width, channels = samples.shape
    return Image.frombuffer(
        MODES[channels],
        (width, height),
        np.ascontiguousarray(samples),
        "raw",
        MODES[channels],
        0,
        1,
    )


def raster_of(image: Image.Image, **fields: object) -> Raster:
    """Return a picture of Pillow's with its EXIF, ICC profile, XMP and comment.

    Args:
        image: of a mode in :data:`TAKEN`.
        **fields: others of the raster.
    """
    extras = Extras(xmp=image.info.get("xmp"))
    if isinstance(comment := image.info.get("comment"), bytes):
        extras = Extras(xmp=extras.xmp, comments=(comment,))
    # The profile of inks is applied.
    icc = None if image.mode == "CMYK" else image.info.get("icc_profile")
    exif = image.info.get("exif") or _of_imagemagick(image)
    if image.format == "JXL" and not image.jpeg:
        # It comes upright, as the file itself says; but not a JPEG that was packed without loss.
        exif = settle_exif(exif)[0] or exif
    if image.mode.startswith("I;16") and "transparency" in image.info:
        # Pillow has no pictures of 16 bits with transparency.
        fields["notes"] = (*fields.get("notes", ()), "its transparent value is left out")
    return Raster(samples_of(image), exif, icc, **{"extras": extras, **fields})


def _of_imagemagick(image):
    """Return EXIF from the text of a PNG, where ImageMagick writes it; None for what is broken."""
    if text := image.info.get("Raw profile type exif"):
        with contextlib.suppress(ValueError):
            return bytes.fromhex("".join(text.split("\n")[3:]))
    return None
