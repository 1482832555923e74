"""A picture in memory, between the samples of a file and the pixels that are enhanced."""

from __future__ import annotations

import dataclasses

import numpy as np

from neid_tf.pictures import exif as exif_blocks
from neid_tf.pictures import geo, hidden, metadata, packing, xmp
from neid_tf.pictures.formats import FORMATS, Format
from neid_tf.pictures.png import TEXT_CHUNKS
from neid_tf.pictures.raster import Extras, Raster, resize_alpha, resize_mask
from neid_tf.pixels.samples import over_white, to_gray, to_type, white
from neid_tf.support.errors import FileError, NeidError

_TYPES = ("uint8", "uint16", "float32")
_TURNED_BY_THEIR_DECODERS = ("AVIF", "HEIC")


class PictureError(FileError):
    """A picture file that cannot be read or written; names it, and says why in one line."""


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what its file said of it.

    Attributes:
        pixels: H×W×3, uint8, uint16 or float32 in [0, 1], RGB, upright (the EXIF orientation is
            applied). Where nothing can be seen (alpha 0, no data) they continue what is beside.
        alpha: H×W opacity of the same type, or None.
        gray: whether the file was gray, and is to be gray when saved.
        format: a name of :data:`neid_tf.pictures.formats.FORMATS`.
        exif: EXIF block with its `Exif` header and an orientation of 1, or None.
        icc: ICC profile of the pixels, or of their gray where `gray` is set; or None.
        lossless: whether the file kept every sample; a WebP is saved losslessly if so.
        extras: what else the file held.
        bands: H×W×K further bands of the same type, which are not enhanced, or None.
        valid: H×W, False where the file holds no picture (GeoTIFF's nodata, a mask), or None.
        pages: how many pages or frames the file has, of which this is one.
        notes: what of the file was left out, a line each.
        packing: how the file was packed, or None; its pixels are uint16 then, without the curve.

    Raises:
        ValueError: if pixels, alpha, bands or valid have another shape or type.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    format: str = "PNG"
    exif: bytes | None = None
    icc: bytes | None = None
    lossless: bool = True
    extras: Extras = dataclasses.field(default_factory=Extras)
    bands: np.ndarray | None = None
    valid: np.ndarray | None = None
    pages: int = 1
    notes: tuple[str, ...] = ()
    packing: packing.Packing | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype.name not in _TYPES:
            raise NeidError(
                f"pixels must be H×W×3 of {', '.join(_TYPES)}, not {shape} of {dtype.name}"
            )
        for name, kind in (("alpha", dtype), ("bands", dtype), ("valid", np.dtype(bool))):
            array = getattr(self, name)
            if array is not None and (array.shape[:2] != shape[:2] or array.dtype != kind):
                raise NeidError(
                    f"{name} must be {shape[:2]} of {kind}, not {array.shape} of {array.dtype}"
                )
        if self.format not in FORMATS:
            raise NeidError(f"format must be one of {', '.join(FORMATS)}, not {self.format!r}")

    @property
    def has_mask(self) -> bool:
        """Whether a mask of the file's own says where it holds a picture."""
        return self.extras.masked and self.valid is not None

    def with_pixels(self, pixels: np.ndarray) -> Picture:
        """Return the picture with enhanced pixels; all that depends on their size follows.

        Args:
            pixels: h×w×3, uint8, uint16 or float32, RGB.

        Raises:
            ValueError: if pixels have another shape or type.
        """
        changed = dataclasses.replace(self, pixels=pixels, alpha=None, bands=None, valid=None)
        height, width = pixels.shape[:2]
        factors = height / self.pixels.shape[0], width / self.pixels.shape[1]
        extras = dataclasses.replace(
            self.extras,
            tags=geo.scaled(self.extras.tags, *factors),
            xmp=xmp.scaled(self.extras.xmp, *factors),
            density=_scaled_density(self.extras.density, *factors),
        )
        alpha, bands, valid = self.alpha, self.bands, self.valid
        if alpha is not None:
            alpha = to_type(resize_alpha(alpha, height, width), pixels.dtype)
        if bands is not None:
            planes = [resize_alpha(plane, height, width) for plane in np.moveaxis(bands, -1, 0)]
            bands = to_type(np.stack(planes, -1), pixels.dtype)
        if valid is not None:
            valid = resize_mask(valid, height, width)
        return dataclasses.replace(changed, alpha=alpha, bands=bands, valid=valid, extras=extras)

    def part(self, rows: slice, columns: slice) -> Picture:
        """Return a part of the picture, with the alpha, bands and mask of that part."""
        arrays = {name: getattr(self, name) for name in ("pixels", "alpha", "bands", "valid")}
        cut = {name: a[rows, columns] for name, a in arrays.items() if a is not None}
        return dataclasses.replace(self, **cut)


def from_raster(raster: Raster, name: str) -> Picture:
    """Make a picture of what a decoder gave: upright, and no hidden colour deciding anything.

    Args:
        raster: samples and what lay beside them.
        name: the format's, as in :data:`neid_tf.pictures.formats.FORMATS`.
    """
    exif, orientation = exif_blocks.settle_exif(raster.exif)

    def turned(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else metadata.upright(array, orientation)

    samples, bands, valid = (
        turned(array) for array in (raster.samples, raster.bands, raster.valid)
    )
    packet = xmp.sound(raster.extras.xmp)
    if orientation > 1 or name in _TURNED_BY_THEIR_DECODERS:
        packet = xmp.upright(packet)  # One that XMP alone tells is left to who shows the picture.
    extras = dataclasses.replace(raster.extras, xmp=packet)
    extras, packed, further = _unpacked(extras, *samples.shape[:2])
    gray = samples.shape[-1] < 3
    # Parts of the samples, not copies; but the alpha outlives the colours.
    colours = samples[..., : 1 if gray else 3]
    alpha = samples[..., -1].copy() if samples.shape[-1] in (2, 4) else None
    icc, notes = metadata.matching_icc(raster.icc, gray), [*raster.notes, *further]
    if raster.exif and not exif:
        notes.append("its EXIF block, which is broken, is left out")
    if raster.extras.xmp and packet is None:
        notes.append("its XMP, which is no UTF-8 or too long, is left out")
    if raster.icc and not icc:
        notes.append(metadata.PROFILE_LEFT_OUT)
    if metadata.is_linear(icc):
        notes.append(metadata.LINEAR_TAKEN_FOR_SRGB)
    seen = hidden.visible(alpha, valid)
    if seen is not None:
        colours = hidden.fill(colours, seen)
    if bands is not None and valid is not None and not valid.all():
        bands = hidden.fill(bands, valid)  # What is transparent has bands of its own.
    if packed:
        colours = packed.curve.undone(colours)
        alpha, bands = (a if a is None else to_type(a, np.uint16) for a in (alpha, bands))
    return Picture(
        pixels=np.repeat(colours, 3, axis=-1) if gray else colours,
        alpha=alpha,
        gray=gray,
        format=name,
        exif=exif,
        icc=icc,
        lossless=raster.lossless,
        extras=_turned_extras(extras, orientation),
        bands=bands,
        valid=valid,
        pages=raster.pages,
        notes=tuple(notes),
        packing=packed,
    )


def _unpacked(
    extras: Extras, height: int, width: int
) -> tuple[Extras, packing.Packing | None, tuple[str, ...]]:
    """Return extras that do not tell of a packing any more, the packing, and notes on it."""
    rest, packed, notes = packing.taken_out(extras.xmp)
    if packed:
        packed, notes = packed.fitted(height, width)
    return dataclasses.replace(extras, xmp=rest), packed, notes


def _scaled_density(density, down_factor, across_factor):
    """Return the density of an enlarged picture: what is no dots per inch is of what is shown."""
    if density is None or density[2]:
        return density
    return density[0] * across_factor, density[1] * down_factor, False


def _turned_extras(extras: Extras, orientation: int) -> Extras:
    if orientation < 5 or not extras.density:
        return extras
    across, down, per_inch = extras.density
    return dataclasses.replace(extras, density=(down, across, per_inch))


def to_raster(picture: Picture, format: Format, metadata_kept: bool = True) -> Raster:
    """Make the samples that a format can hold, and bring what lies beside them up to date.

    Args:
        picture: the picture.
        format: what is written.
        metadata_kept: whether more is kept than what tells how the samples are to be seen.
    """
    if not metadata_kept:
        picture = _bare(picture)
    transparent = picture.alpha is not None and 4 in format.channels
    gray = picture.gray and 1 + transparent in format.channels
    icc = held_icc(picture, format, transparent)
    samples = to_gray(picture.pixels) if picture.gray else picture.pixels
    if picture.gray and not gray:
        samples = np.repeat(samples, 3, axis=-1)
    if picture.alpha is not None and not transparent:
        samples = over_white(samples, picture.alpha)
    dtype = format.type_for(samples.dtype)
    samples = to_type(samples, dtype)
    bands = None if picture.bands is None or not format.bands else to_type(picture.bands, dtype)
    if picture.extras.nodata is not None:  # Last, so that it is what the file holds.
        samples, bands = _with_nodata(picture, samples, bands)
    if transparent:
        alpha = to_type(picture.alpha[..., None], dtype)
        samples = np.concatenate([samples, alpha], axis=-1)
    height, width = samples.shape[:2]
    return Raster(
        np.ascontiguousarray(samples),
        exif_blocks.refreshed(picture.exif, picture.pixels),
        icc,
        picture.lossless,
        dataclasses.replace(picture.extras, xmp=xmp.refreshed(picture.extras.xmp, height, width)),
        bands,
        picture.valid if picture.extras.masked else None,
    )


def held_icc(picture: Picture, format: Format, transparent: bool) -> bytes | None:
    """Return the colour profile that a file can hold: none of gray where gray is written as RGB.

    Args:
        picture: what is written.
        format: as what.
        transparent: whether it is written with an alpha.
    """
    gray = picture.gray and 1 + transparent in format.channels
    return metadata.matching_icc(picture.icc, gray) if "ICC" in format.keeps else None


def _bare(picture: Picture) -> Picture:
    """Return a picture without its metadata but for what its samples mean."""
    extras = picture.extras
    bare = Extras(
        chunks=tuple(chunk for chunk in extras.chunks if chunk[0] not in TEXT_CHUNKS),
        tags=tuple(tag for tag in extras.tags if tag[0] == geo.NODATA),
        nodata=extras.nodata,
        layout=extras.layout,
        masked=extras.masked,
        duration=extras.duration,
        loops=extras.loops,
    )
    exif = None if picture.icc else exif_blocks.adobe_rgb_alone(picture.exif)
    return dataclasses.replace(picture, exif=exif, extras=bare)


def _with_nodata(
    picture: Picture, samples: np.ndarray, bands: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return samples and bands that say where there is no picture, and only there."""
    value, top = picture.extras.nodata, white(picture.pixels.dtype)
    if picture.pixels.dtype.kind != "f":
        value = value if 0 <= value <= top else 0
    if samples.dtype.kind != "f":
        value = np.nan_to_num(value)
    value = to_type(np.full((1, 1), value, picture.pixels.dtype), samples.dtype)[0, 0]
    top = white(samples.dtype)
    same = (samples == value).all(axis=-1)
    if picture.valid is not None:
        same &= picture.valid
    if same.any():
        step = samples.dtype.type(1e-6 if samples.dtype.kind == "f" else 1)
        samples = samples.copy()
        samples[same] = value + step if value < top else value - step
    if picture.valid is not None:
        missing = ~picture.valid[..., None]
        samples = np.where(missing, value, samples)
        bands = bands if bands is None else np.where(missing, value, bands)
    return samples, bands
