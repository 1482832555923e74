"""Writing TIFFs: pages with all that belongs to them."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterable

import numpy as np
import tifffile
from PIL import ExifTags, Image, TiffImagePlugin

from neid_tf.pictures import ome
from neid_tf.pictures.exif import MAKER_NOTES, density_of, directories, text_of
from neid_tf.pictures.marks import LAYOUT_TAGS
from neid_tf.pictures.raster import QUALITY, FormatError, Layout, Raster, without_single_channel
from neid_tf.pictures.tiff import IPTC, KEPT_TAGS, MASK, TEXT_TAGS, WHOLE_TAGS, XMP

_DESCRIPTION = 270
_DEFLATE = {"compression": "zlib", "compressionargs": {"level": 4}, "predictor": True}
_COMPRESSIONS = {
    "none": {},
    "lzw": {"compression": "lzw", "predictor": True},
    "packbits": {"compression": "packbits"},
    "lzma": {"compression": "lzma", "predictor": True},
    "zstd": {"compression": "zstd", "predictor": True},
}


def encode_tiff(raster: Raster) -> bytes:
    """Encode any raster as a TIFF, with the main tags of its EXIF."""
    return encode_pages([raster])


def encode_pages(rasters: Iterable[Raster]) -> bytes:
    """Encode rasters as the pages of one TIFF; each is asked for when those before are encoded."""
    file, directories = io.BytesIO(), []
    with tifffile.TiffWriter(file, byteorder="<") as writer:
        for raster in rasters:
            tags, below = _exif_tags(raster)
            directories.append(below)
            _write_page(writer, raster, [*tags, *_other_tags(raster)])
            if raster.valid is not None:
                directories.append({})
                _write_mask(writer, raster.valid)
    if not any(directories):
        return file.getvalue()
    data = bytearray(file.getvalue())
    for page, below in enumerate(directories):
        for tag, entries in below.items():
            _append_directory(data, page, tag, entries)
    return bytes(data)


def _exif_tags(raster: Raster) -> tuple[list[tuple], dict[int, dict]]:
    """Return the tags of EXIF that a page holds itself, and the directories below it."""
    # Metadata that does not fit into a TIFF must not cost the user the picture.
    with contextlib.suppress(Exception):
        exif, present, _ = _fitting(raster.exif)
        texts = {tag: text_of(exif[tag]) for tag in TEXT_TAGS if tag in exif}
        if _DESCRIPTION in texts:
            described = ome.refreshed(texts[_DESCRIPTION], *raster.samples.shape[:2])
            texts[_DESCRIPTION] = text_of(described)
        tags = [(tag, "s", 0, text.encode(), True) for tag, text in texts.items()]
        for tag, kind in WHOLE_TAGS.items():
            if isinstance(value := exif.get(tag), (int, bytes)):
                tags.append((tag, kind, 1 if isinstance(value, int) else len(value), value, True))
        # tifffile refuses to write these two tags: their neighbours keep the places for them.
        return tags + [(tag - 1, "I", 1, 0, True) for tag in present], present
    return [], {}


def _fitting(block: bytes | None) -> tuple[Image.Exif, dict[int, dict], bool]:
    """Return EXIF, the directories below it, and whether there were maker's notes in them.

    Raises:
        Exception: of any kind, where they don't fit a TIFF.
    """
    exif = Image.Exif()
    exif.load(block or b"")
    present, had_notes = directories(exif)
    for tag, entries in present.items():
        _directory(tag, entries).tobytes(8)
    return exif, present, had_notes


def exif_left_out(block: bytes | None) -> list[str]:
    """Return the names of what of an EXIF block a TIFF is not given.

    Args:
        block: with its header, or None.
    """
    try:
        exif, _, had_notes = _fitting(block)
    except Exception:
        return ["EXIF"]
    lost = [tag for tag in exif if tag not in KEPT_TAGS and tag not in LAYOUT_TAGS]
    lost += [MAKER_NOTES] * had_notes
    return [f"{ExifTags.TAGS.get(tag, tag)} of its EXIF" for tag in lost]


def _other_tags(raster: Raster) -> list[tuple]:
    extras, tags = raster.extras, []
    for code, value in ((XMP, extras.xmp), (IPTC, extras.iptc)):
        if value:
            tags.append((code, 1 if code == XMP else 7, len(value), value, True))
    return tags + [(*tag, True) for tag in extras.tags]


def _directory(tag: int, entries: dict) -> TiffImagePlugin.ImageFileDirectory_v2:
    directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=tag)
    directory.update(entries)
    return directory


def _append_directory(data: bytearray, page: int, tag: int, entries: dict) -> None:
    """Write a sub-directory at the end of the file and its address into the tag's place."""
    data += bytes(len(data) % 2)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if file.is_bigtiff:
            raise FormatError("EXIF is not written into a TIFF of over 4 GB")
        place = file.pages[page].tags[tag - 1].offset
    struct.pack_into("<HHII", data, place, tag, 4, 1, len(data))
    data += _directory(tag, entries).tobytes(len(data))


def _write_page(writer: tifffile.TiffWriter, raster: Raster, tags: list[tuple]) -> None:
    samples, extras = raster.samples, raster.extras
    density = extras.density or density_of(raster.exif)  # A TIFF has one place for both.
    channels, alpha = samples.shape[-1], samples.shape[-1] in (2, 4)
    meanings, layout = ["unassalpha"] * alpha, extras.layout or Layout()
    if raster.bands is not None:
        meanings += ["unspecified"] * raster.bands.shape[-1]
        samples, meanings = _in_order(layout.order, samples, raster.bands, meanings)
    writer.write(
        without_single_channel(samples),
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig=None if samples.shape[-1] == 1 else "contig",
        extrasamples=meanings or None,
        tile=layout.tile,
        metadata=None,
        contiguous=False,
        software=False,
        iccprofile=raster.icc,
        extratags=tags,
        resolution=density[:2] if density else None,
        resolutionunit=(2 if density[2] else 1) if density else None,
        **_compression(layout, samples, bool(meanings), raster.quality or QUALITY),
    )


def _in_order(order, samples, bands, meanings):
    """Return all samples, and what those beside the colours are, in the order of their source."""
    samples = np.concatenate([samples, bands], -1)
    if len(order) != samples.shape[-1]:  # Such as where colours were gray, or of a palette.
        return samples, meanings
    places = np.argsort(order)
    colours = len(order) - len(meanings)
    return samples[..., places], [meanings[at - colours] for at in places[colours:]]


def _write_mask(writer: tifffile.TiffWriter, valid: np.ndarray) -> None:
    """Write where there is a picture as the mask of the page before, as GDAL does."""
    writer.write(
        valid,
        photometric="mask",
        subfiletype=MASK,
        metadata=None,
        contiguous=False,
        software=False,
        compression="zlib",
    )


def _compression(layout: Layout, samples: np.ndarray, has_extra: bool, quality: int) -> dict:
    if layout.compression in ("jpeg", "ojpeg") and samples.dtype == np.uint8 and not has_extra:
        jpeg = {"compression": "jpeg", "compressionargs": {"level": quality}}
        return jpeg | ({"subsampling": (1, 1)} if samples.shape[-1] == 3 else {})
    return _COMPRESSIONS.get(layout.compression, _DEFLATE)
