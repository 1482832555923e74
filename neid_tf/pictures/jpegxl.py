"""JPEG XL, bare or in boxes (ISO 18181), with pillow-jxl-plugin (the extra ``jxl``)."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct

import imagecodecs
from PIL import ImageCms

from neid_tf.pictures import budget, metadata
from neid_tf.pictures.exif import EXIF_HEADER
from neid_tf.pictures.jpeg2000 import boxes
from neid_tf.pictures.marks import JPEG_XL, JPEG_XL_CODESTREAM
from neid_tf.pictures.pillow import image_of, opened, raster_of
from neid_tf.pictures.raster import QUALITY, Extras, FormatError, Raster, with_channels
from neid_tf.pixels.samples import from_levels
from neid_tf.support.libraries import optional_import

_MOST_METADATA = 2**24
_KNOWN = {b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp", b"jxli", b"jbrd", b"Exif", b"xml "}
_LONGEST_HEADER = 66
_SRGB = ("sRGB", "Gra_D65_Rel_SRG")


def decode_jpegxl(data: bytes, max_pixels: int) -> Raster:
    """Decode a JPEG XL of 8 to 16 bits; of an animation the first frame.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged or too large.
        MissingLibraryError: if pillow-jxl-plugin is not installed.
    """
    header = _Header(data)
    budget.check_size(*header.size, max_pixels)
    found = _metadata(data)
    notes = ("its frames but the first are left out",) if header.is_animated else ()
    notes += metadata.left_out("boxes", found.keys() - _KNOWN)
    with opened(_plugin().JXLImageFile, data, max_pixels) as image:
        image.info.setdefault("exif", _exif_block(found.get(b"Exif", b"")))
        raster = raster_of(image, lossless=False, notes=notes)
    extras = Extras(xmp=raster.extras.xmp or found.get(b"xml "))
    icc = None if _is_srgb(raster.icc) else raster.icc
    raster = dataclasses.replace(raster, icc=icc, extras=extras)
    if header.bits == 8 and not header.is_animated:
        return raster
    return _with_all_bits(raster, data, header.bits)


def _plugin():
    """Return the module that reads the format; with it, Pillow writes the format too."""
    with optional_import("JPEG XL"):
        import pillow_jxl
    return pillow_jxl.JpegXLImagePlugin


def _with_all_bits(raster: Raster, data: bytes, bits: int) -> Raster:
    """Return a raster with the samples of the first frame, of 16 bits where there are so many.

    The plugin gives 8 bits, and of an animation the last frame.

    Args:
        raster: as the plugin gives it.
        data: the file.
        bits: of a sample; 0 for floats.
    """
    stored = with_channels(imagecodecs.jpegxl_decode(data, index=0))
    if stored.dtype.kind != "u" or not 0 < bits <= 16 or stored.shape != raster.samples.shape:
        return dataclasses.replace(raster, notes=(*raster.notes, "8 bits of its samples are read"))
    # The decoder gives the levels that the file has: 0 to 4095 for 12 bits.
    samples = from_levels(stored, 2**bits - 1, stored.dtype)
    return dataclasses.replace(raster, samples=samples)


def _is_srgb(icc: bytes | None) -> bool:
    """Tell whether a profile is the one that the decoder makes where a file says sRGB."""
    with contextlib.suppress(OSError, ImageCms.PyCMSError):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc or b""))
        return profile.profile.profile_description in _SRGB
    return False


def _metadata(data: bytes) -> dict[bytes, bytes]:
    """Return the bodies of boxes by their names, those of metadata unpacked."""
    found = {}
    for name, body in boxes(data) if data.startswith(JPEG_XL) else ():
        if name != b"brob":
            found[name] = body
        elif body[:4] in (b"Exif", b"xml "):
            # What unpacks to more than this is no metadata.
            with contextlib.suppress(Exception):
                found[body[:4]] = imagecodecs.brotli_decode(body[4:], out=_MOST_METADATA)
        else:
            found[body[:4]] = b""
    return found


def _exif_block(body: bytes) -> bytes | None:
    """Return the block in a box, which begins with where it does; some programs leave that out."""
    if body[:2] in (b"II", b"MM"):
        return body
    return body[4 + int.from_bytes(body[:4], "big") :] or None


class _Header:
    """The start of the first codestream.

    Attributes:
        size: width and height in pixels.
        is_animated: whether there are several frames.
        bits: of a sample; 0 for floats.
    """

    def __init__(self, data: bytes) -> None:
        stream = data if data[:2] == JPEG_XL_CODESTREAM else _codestream(data)
        if stream[:2] != JPEG_XL_CODESTREAM:
            raise FormatError("truncated or damaged JPEG XL: it has no codestream")
        self._bits, self._at = int.from_bytes(stream[2:_LONGEST_HEADER], "little"), 0
        self.size, self.is_animated = self._size(), False
        self.bits = self._depth()

    def _size(self) -> tuple[int, int]:
        small = self._read(1)
        height = self._length(small)
        ratio = self._read(3)
        if not ratio:
            return self._length(small), height
        across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        return height * across // down, height

    def _read(self, count: int) -> int:
        self._at += count
        return self._bits >> (self._at - count) & ((1 << count) - 1)

    def _length(self, small: int) -> int:
        return 8 * (self._read(5) + 1) if small else self._read((9, 13, 18, 30)[self._read(2)]) + 1

    def _choice(self, *choices: tuple[int, int]) -> int:
        """Read one of four numbers, each a least one and the bits of what is added to it."""
        least, bits = choices[self._read(2)]
        return least + self._read(bits)

    def _depth(self) -> int:
        if self._read(1):  # All of the rest is as usual.
            return 8
        if self._read(1):  # Further fields come first: how it is turned, its size on paper.
            self._read(3)
            if self._read(1):
                self._size()
            if self._read(1):
                self._skip_preview()
            self.is_animated = bool(self._read(1))
            if self.is_animated:  # The length of a tick, loops, and whether there is a timecode.
                self._choice((100, 0), (1000, 0), (1, 10), (1, 30))
                self._choice((1, 0), (1001, 0), (1, 8), (1, 10))
                self._choice((0, 0), (0, 3), (0, 16), (0, 32))
                self._read(1)
        if self._read(1):  # Floats.
            return 0
        return self._choice((8, 0), (10, 0), (12, 0), (1, 6))

    def _skip_preview(self) -> None:
        eighths = ((16, 0), (32, 0), (1, 5), (33, 9))
        lengths = eighths if self._read(1) else ((1, 6), (65, 8), (321, 10), (1345, 12))
        self._choice(*lengths)
        if not self._read(3):
            self._choice(*lengths)


def _codestream(data: bytes) -> bytes:
    """Return the codestream in a file's boxes, or its beginning."""
    parts = []
    for name, body in boxes(data):
        if name in (b"jxlc", b"jxlp"):
            start = 0 if name == b"jxlc" else 4
            parts.append(body[start : start + _LONGEST_HEADER])
    return b"".join(parts)


def encode_jpegxl(raster: Raster) -> bytes:
    """Encode 8-bit samples, without loss where the raster is and no quality is asked for."""
    _plugin()
    lossless = (raster.lossless and raster.quality is None) or raster.quality == 100
    exif, file = (raster.exif or b"").removeprefix(EXIF_HEADER), io.BytesIO()
    image_of(raster.samples).save(
        file,
        "JXL",
        lossless=lossless,
        quality=raster.quality or QUALITY,
        # The box begins with where the block in it does.
        exif=struct.pack(">I", 0) + exif if exif else b"",
        xmp=raster.extras.xmp,
    )
    return file.getvalue()
