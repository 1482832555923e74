"""WebP: stills and animations, with loss and without."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator

import imagecodecs
import numpy as np
from PIL import WebPImagePlugin

from neid_tf.pictures import budget, metadata
from neid_tf.pictures.marks import LONGEST_WEBP
from neid_tf.pictures.pillow import image_of, opened
from neid_tf.pictures.raster import QUALITY, Extras, FormatError, Raster, with_channels

# The method is the encoder's effort: the default, 4, takes twice the time, for files of the
# same size with loss and 2 to 5% smaller ones without.
_LOSSLESS = {"lossless": True, "exact": True, "quality": 0, "method": 1}
_EFFORT = 2
_MOST_PLAYS = 2**16 - 1
_ALPHA = 0x10  # The header's flag of a picture with transparency.
_KNOWN = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "}
_CANVASES = 4  # What the decoder of animations keeps at a time.


def decode_webp(data: bytes, max_pixels: int) -> Raster:
    """Decode a WebP; of an animation the first picture, :func:`decode_frames` gives all.

    Args:
        data: the file.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    found = list(_chunks(data))
    if not found:
        raise FormatError("truncated or damaged WebP: it has no header")
    for name, body in found[:1] + [c for c in found if c[0] in (b"VP8 ", b"VP8L")]:
        size = _size(name, body)
        budget.check_size(*size, max_pixels)
    frames, chunks = sum(name == b"ANMF" for name, _ in found), dict(found)
    if frames > sum(name in (b"VP8 ", b"VP8L") for name, _ in found):
        raise FormatError("damaged WebP: a frame has no picture")
    width, height = _size(*found[0])
    budget.check_bytes(4 * (_CANVASES if frames else 1) * width * height, 2 * max_pixels)
    # Not with Pillow, which enforces a limit of its own on this format.
    samples = with_channels(imagecodecs.webp_decode(data, index=0))
    flags = int.from_bytes(chunks.get(b"VP8X", b"")[:1], "little")
    if frames and samples.shape[-1] == 3 and flags & _ALPHA:
        # The first frame covers all; others do not.
        samples = np.concatenate([samples, np.full_like(samples[..., :1], 255)], axis=-1)
    return Raster(
        samples,
        chunks.get(b"EXIF"),
        chunks.get(b"ICCP"),
        b"VP8L" in chunks,
        Extras(xmp=chunks.get(b"XMP ")),
        pages=max(frames, 1),
        notes=(
            *metadata.left_out("chunks", set(chunks) - _KNOWN),
            *metadata.behind_left_out(data[_end_of(data) :]),
        ),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, end = 12, _end_of(data)
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        picture = name in (b"VP8 ", b"VP8L", b"ANMF")  # Of these the header will do.
        yield name, data[at + 8 : at + 8 + (min(length, 16) if picture else length)]
        # A frame of an animation holds 16 bytes of its own and then chunks like the others.
        at += 8 + (16 if name == b"ANMF" else length + length % 2)


def _end_of(data: bytes) -> int:
    """Return where the file ends by its own word."""
    return min(8 + int.from_bytes(data[4:8], "little"), len(data))


def size_of(data: bytes) -> tuple[int, int]:
    """Return width and height from the start of a WebP file; 64 bytes suffice."""
    return _size(*next(_chunks(data), (b"", b"")))


def _size(name: bytes, header: bytes) -> tuple[int, int]:
    """Return width and height from a chunk: an extended, a lossless or a lossy header."""
    if len(header) >= 10 and name == b"VP8X":
        extent = struct.unpack("<HBHB", header[4:10])
        return extent[0] + (extent[1] << 16) + 1, extent[2] + (extent[3] << 16) + 1
    if len(header) >= 10 and name == b"VP8L":
        bits = int.from_bytes(header[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if len(header) >= 10 and name == b"VP8 ":
        width, height = struct.unpack("<HH", header[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise FormatError("truncated or damaged WebP: it has no header")


def decode_frames(data: bytes, max_pixels: int) -> Iterator[Raster]:
    """Yield the frames of an animation, each as the whole picture that is shown.

    Args:
        data: the file, which has frames.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    first = decode_webp(data, max_pixels)
    budget.check_effort(first.pages * first.samples[..., 0].size, max_pixels, "its frames")
    with opened(WebPImagePlugin.WebPImageFile, data, max_pixels) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            extras = Extras(
                xmp=first.extras.xmp,
                duration=image.info.get("duration", 0) / 1000,
                loops=image.info.get("loop", 0),
            )
            samples = with_channels(np.asarray(image))[..., : first.samples.shape[-1]]
            yield Raster(
                samples, first.exif, first.icc, first.lossless, extras, pages=image.n_frames
            )


def encode_webp(raster: Raster) -> bytes:
    """Encode 8-bit RGB or RGB and alpha as WebP: lossless as its source, or else of a quality.

    Raises:
        FormatError: if a side is longer than 16,383 pixels.
    """
    return encode_frames([raster])


def encode_frames(rasters: Iterable[Raster]) -> bytes:
    """Encode pictures of one size as one WebP, animated where there are several.

    Raises:
        FormatError: if a side is longer than 16,383 pixels.
    """
    file, rasters = io.BytesIO(), list(rasters)
    first, images = rasters[0], [image_of(raster.samples) for raster in rasters]
    if max(first.samples.shape[:2]) > LONGEST_WEBP:
        raise FormatError(f"a WebP's sides are at most {LONGEST_WEBP} pixels")
    several = {
        "save_all": True,
        "append_images": images[1:],
        "duration": [round(raster.extras.duration * 1000) for raster in rasters],
        "loop": min(first.extras.loops, _MOST_PLAYS),
    }
    images[0].save(
        file,
        "WEBP",
        exif=first.exif or b"",
        icc_profile=first.icc,
        xmp=first.extras.xmp or b"",
        **_loss(first),
        **(several if len(images) > 1 else {}),
    )
    return file.getvalue()


def _loss(raster: Raster) -> dict:
    if raster.lossless and raster.quality is None:
        return _LOSSLESS
    return {"quality": raster.quality or QUALITY, "method": _EFFORT}
