"""Large TIFFs, written by windows: with the place, the bands and the layout of their source."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from neid_tf.pictures import ome
from neid_tf.pictures.formats import FORMATS
from neid_tf.pictures.marks import SHAPE
from neid_tf.pictures.picture import Picture, to_raster
from neid_tf.pictures.raster import QUALITY
from neid_tf.pictures.windows import Windows
from neid_tf.pictures.writer import whole_target
from neid_tf.support.files import temporary_name

_BLOCK = 512
_STEP = 1024  # Windows begin at multiples of it: tiles that divide it are written once.
_FORESEEN = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "COLOR_PROFILE", "RPC", "EXIF", "xml:XMP")
_DESCRIPTION = "TIFFTAG_IMAGEDESCRIPTION"
_COMPRESSIONS = {"lerc_deflate": "deflate", "lerc_zstd": "zstd"}


class Target:
    """A TIFF of the place and layout of another that is written by windows.

    Args:
        source: what it is made of.
        path: the file, where nothing is yet.
        scale: how many times as wide and high as the source it is.
        metadata: "keep", or "none" for neither place nor tags.
        quality: of JPEG and WebP in it; None for the usual.
    """

    def __init__(
        self,
        source: Windows,
        path: pathlib.Path,
        scale: int,
        metadata: str = "keep",
        quality: int | None = None,
    ) -> None:
        self.source, self.path, self.scale, self.metadata = source, path, scale, metadata
        self.quality, self._format = quality or QUALITY, FORMATS["TIFF"]
        self._structure = source.file.tags(ns="IMAGE_STRUCTURE")
        self.is_cog = self._structure.get("LAYOUT") == "COG"
        self._order = list(source.roles.order)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Target]:
        """Open it for :meth:`write`; at the end it gets its overviews, or its cloud's layout."""
        import rasterio

        made = self.path.with_name(temporary_name()) if self.is_cog else self.path
        try:
            # What goes beside the file would outlive it where the run is interrupted.
            with rasterio.Env(GDAL_PAM_ENABLED=False):
                with rasterio.open(made, "w", **self._profile()) as self.file:
                    self._describe()
                    yield self
                self._finish(made)
        finally:
            if self.is_cog:
                with contextlib.suppress(OSError):
                    os.unlink(made)

    def write(self, rows: slice, columns: slice, picture: Picture) -> None:
        """Write a part.

        Args:
            rows, columns: of this file, slices with a start and a stop.
            picture: of that size.
        """
        raster = to_raster(picture, self._format)
        parts = [raster.samples] + ([] if raster.bands is None else [raster.bands])
        samples = np.concatenate(parts, -1) if len(parts) > 1 else raster.samples
        stored = np.empty((len(self._order), *samples.shape[:2]), samples.dtype)
        stored[self._order] = np.moveaxis(samples, -1, 0)
        window = ((rows.start, rows.stop), (columns.start, columns.stop))
        self.file.write(stored, window=window)
        if self.source.has_mask:
            valid = np.ones(stored.shape[1:], bool) if picture.valid is None else picture.valid
            self.file.write_mask(valid.astype(np.uint8) * np.uint8(255), window=window)

    def _profile(self) -> dict:
        """Return how the file is laid out: as its source, but tiled in any case."""
        old, scale = self.source.file.profile, self.scale
        sides = [side for side in (old["blockysize"], old["blockxsize"]) if old.get("tiled")]
        if not sides or any(_STEP % side for side in sides):
            sides = [_BLOCK, _BLOCK]
        kept = {key: old[key] for key in ("count", "dtype", "nodata", "interleave") if key in old}
        if profile := self.source.file.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE"):
            kept["SOURCE_ICC_PROFILE"] = profile
        place = {} if self.metadata == "none" else {"crs": old.get("crs")}
        if place and not old["transform"].is_identity:
            place["transform"] = old["transform"] * old["transform"].scale(1 / scale)
        return {
            **kept,
            **place,
            **self._colours(),
            **self._compression(),
            "driver": "GTiff",
            "height": self.source.height * scale,
            "width": self.source.width * scale,
            "tiled": True,
            "blockysize": sides[0],
            "blockxsize": sides[1],
            "BIGTIFF": "IF_SAFER",
        }

    def _colours(self) -> dict:
        """Return what the first bands are: told only afterwards, they count as further ones."""
        names = [kind.name for kind in self.source.file.colorinterp[:3]]
        return {"photometric": "rgb"} if names == ["red", "green", "blue"] else {}

    def _compression(self) -> dict:
        """Return the options of the source's compression; of a COG's first draft, quick ones."""
        name = (self.source.file.profile.get("compress") or "none").lower()
        name = _COMPRESSIONS.get(name, name)
        if self.is_cog:
            return {"compress": "lzw"}
        options = {"compress": name}
        if name == "jpeg":
            options["JPEG_QUALITY"] = self.quality
            if self.source.file.profile.get("photometric", "").lower() == "ycbcr":
                options["photometric"] = "ycbcr"
        if name == "webp":
            reversible = self._structure.get("COMPRESSION_REVERSIBILITY") == "LOSSLESS"
            options |= {"WEBP_LOSSLESS": reversible, "WEBP_LEVEL": self.quality}
        if "PREDICTOR" in self._structure and name in ("deflate", "lzw", "zstd"):
            options["PREDICTOR"] = self._structure["PREDICTOR"]
        return options

    def _describe(self) -> None:
        """Say of the file and its bands what the source says."""
        old, new = self.source.file, self.file
        new.colorinterp = old.colorinterp
        if self.metadata == "none":
            return
        new.descriptions, new.units = old.descriptions, old.units
        new.scales, new.offsets = old.scales, old.offsets
        points, crs = old.gcps
        if points:
            for point in points:
                point.row, point.col = point.row * self.scale, point.col * self.scale
            new.gcps = points, crs
        if old.rpcs:
            new.rpcs = _scaled_model(old.rpcs, self.scale)
        tags = old.tags()
        if tags.get(_DESCRIPTION, "").startswith(SHAPE):
            del tags[_DESCRIPTION]
        elif _DESCRIPTION in tags:
            tags[_DESCRIPTION] = ome.refreshed(tags[_DESCRIPTION], new.height, new.width)
        if tags.get("TIFFTAG_RESOLUTIONUNIT", "").startswith("1"):  # No dots per inch.
            for name in ("TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION"):
                tags[name] = str(float(tags.get(name, 1)) * self.scale)
        new.update_tags(**tags)
        for space in set(old.tag_namespaces()) - {*_FORESEEN}:
            new.update_tags(ns=space, **old.tags(ns=space))
        for band in range(1, old.count + 1):
            tags = old.tags(band).items()
            new.update_tags(band, **{k: v for k, v in tags if not k.startswith("STATISTICS_")})

    def _finish(self, made: pathlib.Path) -> None:
        import rasterio
        import rasterio.shutil

        factors = self.source.file.overviews(1)
        if self.is_cog:
            old = self.source.file.profile
            options = {"blocksize": old["blockxsize"], "BIGTIFF": "IF_SAFER"}
            options["OVERVIEWS"] = "AUTO" if factors else "NONE"
            options |= self._cog_compression()
            rasterio.shutil.copy(made, self.path, driver="COG", **options)
        elif factors:
            with rasterio.open(made, "r+") as file:
                file.build_overviews(factors, rasterio.enums.Resampling.average)

    def _cog_compression(self) -> dict:
        name = (self.source.file.profile.get("compress") or "none").lower()
        options = {"COMPRESS": _COMPRESSIONS.get(name, name), "RESAMPLING": "AVERAGE"}
        if "PREDICTOR" in self._structure:
            options["PREDICTOR"] = "YES"
        if name in ("jpeg", "webp"):
            reversible = self._structure.get("COMPRESSION_REVERSIBILITY") == "LOSSLESS"
            options["QUALITY"] = 100 if name == "webp" and reversible else self.quality
        return options


def _scaled_model(model: object, scale: int) -> object:
    """Return rational polynomials for a picture of so many times the pixels."""
    model.line_off = (model.line_off + 0.5) * scale - 0.5
    model.samp_off = (model.samp_off + 0.5) * scale - 0.5
    model.line_scale, model.samp_scale = model.line_scale * scale, model.samp_scale * scale
    return model


@contextlib.contextmanager
def target_of(
    source: Windows,
    path: str | os.PathLike[str],
    scale: int,
    metadata: str = "keep",
    quality: int | None = None,
    label: str = "",
    overwrite: bool = True,
) -> Iterator[Target]:
    """Give the file to write to, which is there whole or not at all.

    Args:
        source, scale, metadata, quality: as for :class:`Target`.
        path: what it is called at the end.
        label, overwrite: as for :func:`neid_tf.pictures.write_content`.
    """
    with (
        whole_target(path, label, overwrite) as temporary,
        Target(source, temporary, scale, metadata, quality).opened() as target,
    ):
        yield target
