"""Pictures packed for a narrow link: halved, lifted by a curve, encoded in a number of bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from neid_tf import pictures
from neid_tf.jobs.outcome import Outcome, named
from neid_tf.jobs.plan import Job
from neid_tf.jobs.transfer import Transfer
from neid_tf.pictures import exif
from neid_tf.pictures.codecs import CODECS, Codec, largest_within
from neid_tf.pictures.formats import FORMATS
from neid_tf.pictures.packing import MAX_HALVINGS, Packing, packet
from neid_tf.pictures.picture import held_icc
from neid_tf.pictures.writer import format_of_name
from neid_tf.pixels.curve import Curve
from neid_tf.pixels.resample import bands, halve
from neid_tf.pixels.samples import from_float, over_white, white
from neid_tf.support.errors import NeidError

DEFAULT_BYTES = 5000
"""The most bytes of a file, unless a quality or another number is asked for."""
_LEAST_SIDE = 32  # Of a picture that is halved once more, in pixels.
_ICC_SHARE = 4  # A colour profile may take this part of the bytes.


@dataclasses.dataclass(frozen=True)
class Settings:
    """How pictures are packed.

    Attributes:
        codec: one of :data:`neid_tf.pictures.codecs.CODECS`.
        most: the most bytes of a file, metadata included; None where the quality is given.
        quality: of the codec, 1 to 100; None for the highest within the bytes.
        exif: whether EXIF is sent too.
    """

    codec: str = "jpeg"
    most: int | None = DEFAULT_BYTES
    quality: int | None = None
    exif: bool = False


def pack_files(
    jobs: Iterable[Job],
    files: Transfer,
    settings: Settings = Settings(),
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
) -> Iterator[Outcome]:
    """Pack pictures, each written whole or not at all; one at a time, so that memory is small.

    Args:
        jobs: what to read and write.
        files: where, and what becomes of outputs that exist.
        settings: how they are packed.
        max_pixels: the largest picture read, in pixels.

    Yields:
        What became of each job, in their order. Whatever goes wrong with one ends it alone.
    """
    for job in jobs:
        try:
            if job.is_video:
                raise NeidError("is a video: only pictures are packed")
            files.check(job)
            picture = pictures.decode(job.source, files.read(job), max_pixels)
            notes = picture.notes + _left_out(picture, settings)
            # Nothing but the packing holds the large picture then.
            held = [picture]
            del picture
            content, further = pack(held.pop(), settings)
            files.write(job, content)
            yield Outcome(job, notes=notes + further)
        except Exception as error:
            yield Outcome(job, named(job, error))


def pack(
    picture: pictures.Picture, settings: Settings = Settings()
) -> tuple[bytes, tuple[str, ...]]:
    """Return a packed file, and notes on how small the picture became.

    It is halved once; where even a low quality takes too many bytes, or the codec knows no sides
    of such a length, once more, and so on.

    Args:
        picture: what to pack. Its further bands are left out, transparency is laid on white.
        settings: how.

    Raises:
        ValueError: where it is packed already, or does not fit; naming the least bytes that do.
        MissingLibraryError: where the codec is not installed.
    """
    if picture.packing:
        raise NeidError("is packed already")
    codec, size = CODECS[settings.codec], picture.pixels.shape[:2]
    metadata, _ = _metadata(picture, settings)
    picture = dataclasses.replace(picture, bands=None, valid=None)
    for halvings in range(1, MAX_HALVINGS + 1):
        pixels = picture.pixels
        picture = picture.with_pixels(halve(pixels, white(pixels.dtype)))
        del pixels
        if halvings == 1 and picture.alpha is not None:
            laid = over_white(picture.pixels, picture.alpha)
            picture = dataclasses.replace(picture, pixels=laid, alpha=None)
        image, curve = _shown(picture.pixels, picture.gray)
        is_last = halvings == MAX_HALVINGS or min(image.size) < _LEAST_SIDE
        if max(image.size) > codec.longest_side:
            if not is_last:
                continue
            raise NeidError(f"a {codec.format}'s sides are at most {codec.longest_side} pixels")
        fields = {**metadata, "xmp": packet(Packing(curve, *size, halvings))}
        if content := _encoded(image, codec, settings, fields, is_last):
            what = f"{settings.most} bytes" if settings.most else f"a {codec.format}"
            times = (f"halved {halvings} times, to fit in {what}",)
            return content, times if halvings > 1 else ()


def _shown(pixels: np.ndarray, gray: bool) -> tuple[Image.Image, Curve]:
    """Return the picture that is encoded, of 8 bits, and the curve that lifted it.

    Args:
        pixels: float H×W×3.
        gray: whether its channels are alike.
    """
    curve = Curve.for_picture(pixels)
    pixels = pixels[..., :1] if gray else pixels
    lifted = np.empty(pixels.shape, np.uint8)
    for rows in bands(*pixels.shape[:2]):
        from_float(curve.lifted(pixels[rows]), np.uint8, out=lifted[rows])
    return Image.fromarray(lifted[..., 0] if gray else lifted), curve


def _encoded(
    image: Image.Image, codec: Codec, settings: Settings, metadata: dict, is_last: bool
) -> bytes | None:
    """Return the file, or None where the picture is to be halved once more."""

    def encode(quality: int) -> bytes:
        return codec.encode(image, quality, **metadata)

    if settings.quality is not None:
        return encode(settings.quality)
    content = largest_within(encode, settings.most, 1 if is_last else codec.floor)
    if content is None and is_last:
        least = len(encode(1))
        raise NeidError(f"does not fit in {settings.most} bytes: the smallest has {least}")
    return content


def _metadata(
    picture: pictures.Picture, settings: Settings
) -> tuple[dict[str, bytes | None], bool]:
    """Return what is sent beside the pixels and what undoes the packing.

    And whether of what is sent the maker's notes are left out.
    """
    name = format_of_name(f"a{CODECS[settings.codec].extensions[0]}", picture.format)
    icc = held_icc(picture, FORMATS[name], transparent=False)
    small = settings.most is None or len(icc or b"") * _ICC_SHARE <= settings.most
    block, had_notes = exif.compact(picture.exif) if settings.exif else (None, False)
    return {"icc_profile": icc if small else None, "exif": block}, bool(block) and had_notes


def _left_out(picture: pictures.Picture, settings: Settings) -> tuple[str, ...]:
    """Say what of a picture is not sent."""
    kept = {"icc_profile": "ICC", "exif": "EXIF"}
    metadata, had_notes = _metadata(picture, settings)
    sent = {kept[name] for name, value in metadata.items() if value}
    lost = [kind for kind in pictures.held_metadata(picture) if kind not in sent]
    if had_notes:
        lost.append("MakerNote of its EXIF")
    dtype = picture.pixels.dtype
    lines = {
        "its transparency is laid on white": picture.alpha is not None,
        "its mask is left out": picture.has_mask,
        "further bands left out": picture.bands is not None,
        f"its {dtype} samples become uint8, behind a curve": dtype != np.uint8,
        f"{', '.join(lost)} left out": lost,
    }
    found = tuple(line for line, holds in lines.items() if holds)
    return (*pictures.pages_left_out(picture), *found)
