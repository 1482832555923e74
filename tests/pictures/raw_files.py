"""Raw files of a camera that there is not, of known light: DNGs of a Bayer sensor."""

import io

import numpy as np
import tifffile

from neid_tf.pictures import tiff_write

XYZ_TO_CAMERA = (
    *(3.2404542, -1.5371385, -0.4985314, -0.9692660, 1.8760108, 0.0415560),
    *(0.0556434, -0.2040259, 1.0572252),
)
"""The camera sees as sRGB does, so that its colours are known."""
BLACK, WHITE = 256, 16383


def srgb(linear):
    """What linear light is in sRGB, both in [0, 1]."""
    bright = 1.055 * np.clip(linear, 1e-9, None) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bright)


def mosaic(linear):
    """What each pixel of the sensor sees: red and green, green and blue."""
    seen = np.empty(linear.shape[:2])
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        seen[row::2, column::2] = linear[row::2, column::2, channel]
    return np.rint(BLACK + seen * (WHITE - BLACK)).clip(0, 65535).astype(np.uint16)


def ratios(values):
    """Numbers as pairs of integers, as TIFF has them."""
    return tuple(part for value in values for part in (round(value * 10000), 10000))


def dng(linear, neutral=(1.0, 1.0, 1.0), orientation=1, thumbnail=True, entries=None, xmp=b""):
    """A DNG: a bright thumbnail, and below it the sensor's samples.

    ``neutral`` is what the camera sees of white, ``entries`` what its EXIF directory holds.
    """
    camera = [
        *((271, 2, 0, "Maker", True), (272, 2, 0, "Model", True), (274, 3, 1, orientation, True)),
        *((306, 2, 0, "2026:01:02 03:04:05", True), (50708, 2, 0, "Maker Model", True)),
        *((50706, 1, 4, (1, 4, 0, 0), True), (50707, 1, 4, (1, 1, 0, 0), True)),
        *((50721, 10, 9, ratios(XYZ_TO_CAMERA), True), (50778, 3, 1, 21, True)),
        (50728, 5, 3, ratios(neutral), True),
    ]
    camera += [(0x8768, "I", 1, 0, True)] * bool(entries)  # A place for the directory's address.
    camera += [(700, 1, len(xmp), xmp, True)] * bool(xmp)
    sensor = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, (0, 1, 1, 2), True)]
    sensor += [(50714, 3, 1, BLACK, True), (50717, 3, 1, WHITE, True)]
    file, seen = io.BytesIO(), mosaic(linear * np.array(neutral))
    with tifffile.TiffWriter(file) as writer:
        if thumbnail:
            small = np.full((16, 24, 3), 250, np.uint8)
            options = {"subfiletype": 1, "subifds": 1, "extratags": camera}
            writer.write(small, photometric="rgb", metadata=None, **options)
            writer.write(seen, photometric="cfa", metadata=None, extratags=sensor)
        else:
            writer.write(seen, photometric="cfa", metadata=None, extratags=camera + sensor)
    data = bytearray(file.getvalue())
    if entries:
        tiff_write._append_directory(data, 0, 0x8769, entries)
    return bytes(data)


def scene(height=96, width=128):
    """Dark linear light of many colours, and a gray patch in the corner."""
    y, x = np.mgrid[:height, :width]
    linear = np.stack([x / width, y / height, 1 - x / width], -1) * 0.18
    linear[: height // 2, : width // 2] = 0.05
    return linear
