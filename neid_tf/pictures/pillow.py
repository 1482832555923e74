"""The formats that Pillow and its plugins decode: GIF, AVIF, HEIC, JPEG XL; what all share."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import AvifImagePlugin, GifImagePlugin, Image, ImageFile

from neid_tf.pictures import budget, metadata, xmp
from neid_tf.pictures.raster import Extras, FormatError, Raster, with_channels
from neid_tf.pixels.resample import bands
from neid_tf.support.libraries import MissingLibraryError

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's modes of 8 bits by the number of channels."""
_WANTED = {
    **{"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBX": "RGB"},
    **{"RGBA": "RGBA", "I;16": "I;16", "I;16L": "I;16", "I;16B": "I;16"},
}
_FREE_PIXELS = 2**20
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
    if image.mode in ("L", "P", "RGB", "1") and "transparency" in image.info:
        wanted = "RGBA"
    return with_channels(_array(image if image.mode == wanted else image.convert(wanted)))


def _array(image: Image.Image) -> np.ndarray:
    """Return a picture's samples; NumPy alone would have them twice for a while."""
    if image.mode not in MODES.values():
        return np.asarray(image)
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


def _raster(image: ImageFile.ImageFile, **fields: object) -> Raster:
    extras = Extras(xmp=xmp.sound(image.info.get("xmp")))
    if comment := image.info.get("comment"):
        extras = Extras(xmp=extras.xmp, comments=(bytes(comment),))
    exif, icc = image.info.get("exif"), image.info.get("icc_profile")
    return Raster(samples_of(image), exif, icc, **{"extras": extras, **fields})


# GIF


def decode_gif(data: bytes, max_pixels: int) -> Raster:
    """Decode the first frame of a GIF; :func:`decode_gif_frames` gives all.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    with opened(GifImagePlugin.GifImageFile, data, max_pixels) as image:
        # Counting the frames goes through the file once, and decodes none.
        return _raster(image, pages=image.n_frames)


def decode_gif_frames(data: bytes, max_pixels: int) -> Iterator[Raster]:
    """Yield the frames of a GIF, each as the whole picture that is shown.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    with opened(GifImagePlugin.GifImageFile, data, max_pixels) as image:
        budget.check_effort(image.n_frames * image.width * image.height, max_pixels, "its frames")
        for number in range(image.n_frames):
            image.seek(number)
            budget.check_size(*image.size, max_pixels)
            samples = with_channels(np.asarray(image.convert("RGBA")))
            wait, loops = image.info.get("duration", 0) / 1000, image.info.get("loop", 1)
            extras = Extras(duration=wait, loops=loops)
            yield Raster(samples, extras=extras, pages=image.n_frames)


# AVIF, HEIC, JPEG XL


def decode_avif(data: bytes, max_pixels: int) -> Raster:
    """Decode an AVIF of 8, 10 or 12 bits; of a sequence the first picture.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    _check_boxes(data, max_pixels)
    with opened(AvifImagePlugin.AvifImageFile, data, max_pixels) as image:
        raster = _raster(image, lossless=False, notes=_further(image))
    if (bits := _bits(data)) > 8:
        import imagecodecs

        deep = with_channels(imagecodecs.avif_decode(data, index=0)).astype(np.float32)
        scaled = np.rint(deep * (65535 / (2**bits - 1))).astype(np.uint16)
        raster = Raster(scaled, raster.exif, raster.icc, False, raster.extras, notes=raster.notes)
    return raster


def _further(image: ImageFile.ImageFile) -> tuple[str, ...]:
    count = getattr(image, "n_frames", 1) - 1
    return (f"{count} further pictures of it are left out",) if count > 0 else ()


def _check_boxes(data: bytes, max_pixels: int) -> None:
    """Check every size that the file's boxes announce: decoders trust them before they decode.

    Pictures are coded a little larger than they are shown.
    """
    at, limit = data.find(b"ispe"), max(2 * max_pixels, _FREE_PIXELS)
    while 0 <= at < len(data) - 16:
        width, height = (int.from_bytes(data[p : p + 4], "big") for p in (at + 8, at + 12))
        if width and height:
            budget.check_size(width, height, limit)
        at = data.find(b"ispe", at + 4)


def _bits(data: bytes) -> int:
    """Return the bits of a sample, from the first box that says it; 8 if none does."""
    at = data.find(b"pixi")
    return data[at + 9] if 0 <= at < len(data) - 10 and data[at + 8] else 8


def decode_heic(data: bytes, max_pixels: int) -> Raster:
    """Decode a HEIC, such as phones write, with pillow-heif (the extra ``heif``).

    Args:
        data: the file; of several pictures the main one is decoded, in 8 bits.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged or too large, or pillow-heif is not installed.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise FormatError(str(MissingLibraryError("HEIC", "pillow_heif"))) from error
    _check_boxes(data, max_pixels)
    with opened(HeifImageFile, data, max_pixels) as image:
        deep = ("it has more than 8 bits, of which 8 are read",) if _bits(data) > 8 else ()
        return _raster(image, lossless=False, notes=(*_further(image), *deep))


def decode_jxl(data: bytes, max_pixels: int) -> Raster:
    """Decode a JPEG XL with pillow-jxl-plugin (the extra ``jxl``); of an animation the first frame.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged or too large, or pillow-jxl-plugin is not installed.
    """
    budget.check_size(*_jxl_size(data), max_pixels)
    try:
        from pillow_jxl.JpegXLImagePlugin import JXLImageFile
    except ImportError as error:
        raise FormatError(str(MissingLibraryError("JPEG XL", "pillow_jxl"))) from error
    with opened(JXLImageFile, data, max_pixels) as image:
        return _raster(image, lossless=False, extras=Extras(xmp=xmp.sound(_jxl_xmp(data))))


def _jxl_xmp(data: bytes) -> bytes | None:
    """Return the XMP in a container of boxes (ISO 18181-2), which the plugin does not read."""
    at = 0 if data[4:8] == b"JXL " else len(data)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        start = at + 8
        if length == 1:
            length, start = int.from_bytes(data[start : start + 8], "big"), at + 16
        end = at + length if length else len(data)
        if data[at + 4 : at + 8] == b"xml ":
            return data[start:end]
        at = max(end, start)
    return None


def _jxl_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the header of the first codestream (ISO 18181-1)."""
    start = 0 if data[:2] == b"\xff\x0a" else _jxl_codestream(data)
    bits, at = int.from_bytes(data[start + 2 : start + 18], "little"), 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & ((1 << count) - 1)

    def length(small: int) -> int:
        return 8 * (read(5) + 1) if small else read((9, 13, 18, 30)[read(2)]) + 1

    small = read(1)
    height = length(small)
    ratio = read(3)
    if not ratio:
        return length(small), height
    across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height * across // down, height


def _jxl_codestream(data: bytes) -> int:
    with contextlib.suppress(ValueError):
        for box, skipped in ((b"jxlc", 4), (b"jxlp", 8)):
            at = data.find(box, 12)
            if at >= 0:
                return data.index(b"\xff\x0a", at + skipped, at + skipped + 2)
    raise FormatError("truncated or damaged JPEG XL: it has no codestream")
