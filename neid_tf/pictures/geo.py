"""GeoTIFF: the tags that say where on Earth a picture lies, and what of it is no picture."""

from __future__ import annotations

import re
import typing

import numpy as np

if typing.TYPE_CHECKING:
    import tifffile

PIXEL_SCALE, TIE_POINTS, TRANSFORMATION = 33550, 33922, 34264
GEO_KEYS, GDAL_METADATA, NODATA, CAMERA_MODEL = 34735, 42112, 42113, 50844
CARRIED = (
    *(PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS, 34736, 34737),
    *(GDAL_METADATA, NODATA, CAMERA_MODEL),
)
_PLACES = (PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, CAMERA_MODEL)
_RASTER_TYPE, _PIXEL_IS_POINT = 1025, 2
_STATISTICS = re.compile(r"(?<!\s)\s*<Item name=\"STATISTICS_[^>]*>[^<]*</Item>")


def carried_tags(page: tifffile.TiffPage) -> tuple[tuple, ...]:
    """Return the GeoTIFF tags of a page: number, TIFF type, count and value of each."""
    found = (page.tags.get(code) for code in CARRIED)
    return tuple((tag.code, int(tag.dtype), tag.count, tag.value) for tag in found if tag)


def nodata_of(tags: tuple[tuple, ...]) -> float | None:
    """Return the value that stands for no picture, or None."""
    for code, _, _, value in tags:
        if code == NODATA:
            try:
                return float(str(value).strip("\0 ").replace(",", "."))
            except ValueError:
                return None
    return None


def is_placed(tags: tuple[tuple, ...]) -> bool:
    """Tell whether there are tags that tie pixels to places."""
    return any(tag[0] in _PLACES for tag in tags)


def valid_pixels(samples: np.ndarray, nodata: float | None) -> np.ndarray | None:
    """Return where there is a picture.

    Args:
        samples: H×W×C as stored.
        nodata: the value of samples that are none.

    Returns:
        H×W booleans, False where all channels have that value; None where there is no such pixel.
    """
    if nodata is None:
        return None
    missing = np.isnan(samples) if np.isnan(nodata) else samples == nodata
    valid = ~missing.all(axis=-1)
    return None if valid.all() else valid


def scaled(tags: tuple[tuple, ...], down: float, across: float) -> tuple[tuple, ...]:
    """Bring the tags up to date for a picture of another size of the same place.

    Args:
        tags: of :func:`carried_tags`.
        down: the factor of the height, in pixels.
        across: the factor of the width, in pixels.

    Returns:
        The tags with pixels that are smaller by these factors, and statistics taken out.
    """
    # Coordinates count from the first pixel's corner, or (PixelIsPoint) from its centre.
    shift = 0.5 if _is_point(tags) else 0.0
    return tuple(_scaled_tag(tag, down, across, shift) for tag in tags)


def _is_point(tags: tuple[tuple, ...]) -> bool:
    for code, _, _, value in tags:
        if code == GEO_KEYS:
            keys = np.atleast_1d(value)[4:]
            entries = keys[: len(keys) // 4 * 4].reshape(-1, 4)
            return any(key == _RASTER_TYPE and v == _PIXEL_IS_POINT for key, _, _, v in entries)
    return False


def _scaled_tag(tag: tuple, down: float, across: float, shift: float) -> tuple:
    code, kind, count, value = tag
    if code == GDAL_METADATA:
        text = _STATISTICS.sub("", str(value))
        return code, kind, 0, text
    if code not in _PLACES or (down == across == 1.0):
        return tag
    numbers = np.atleast_1d(np.array(value, np.float64))
    if code == PIXEL_SCALE:
        numbers[:2] /= (across, down)
    elif code == TIE_POINTS:
        points = numbers.reshape(-1, 6)
        points[:, :2] = (points[:, :2] + shift) * (across, down) - shift
    elif code == TRANSFORMATION:
        matrix = numbers.reshape(4, 4)
        matrix[:, 3] += matrix[:, :2] @ (shift / np.array([across, down]) - shift)
        matrix[:, :2] /= (across, down)
    elif len(numbers) >= 9:
        _scale_camera(numbers, down, across)
    return code, kind, count, tuple(numbers.reshape(-1).tolist())


def _scale_camera(numbers: np.ndarray, down: float, across: float) -> None:
    """Scale the rows and columns of rational polynomials, which count from pixels' centres."""
    numbers[2:4] = (numbers[2:4] + 0.5) * (down, across) - 0.5
    numbers[7:9] *= (down, across)
