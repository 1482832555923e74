"""What the page does with an upload: the picture read, enhanced, and written for the browser."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from neid_tf import pictures
from neid_tf.inference.enhance import enhance
from neid_tf.inference.network import Network, as_network
from neid_tf.pixels.samples import over_white, to_type
from neid_tf.support.errors import NeidError

MAX_PIXELS = 50_000_000
"""The largest picture read by default, in pixels."""
MAX_STRENGTH = 3.0
"""Where the page's strength control ends."""
PREVIEW_SIDE = 1600
"""The longest side of the pictures under the slider, in pixels; the download has them all."""


class Remembering(Network):
    """A network that remembers its last result: another strength then costs only the blend.

    Args:
        model: as for :func:`neid_tf.enhance`.
    """

    def __init__(self, model):
        self.network, self._last = as_network(model), None
        self.scale, self.refines = self.network.scale, self.network.refines

    def _run(self, batch, context, box, picture):
        last = self._last
        if last is None or not np.array_equal(last[0], batch):
            self._last = None
            last = self._last = batch, self.network(batch, picture)
        return last[1]


@dataclasses.dataclass(frozen=True)
class Result:
    """Files made of one upload.

    Attributes:
        before: 8-bit PNG of the original, upright, of the size of ``after``.
        after: 8-bit PNG of the enhanced picture, no side above :data:`PREVIEW_SIDE`.
        download: PNG of the enhanced picture, of full size and depth.
    """

    before: Path
    after: Path
    download: Path


class Enhancer:
    """What the page does with an upload; one call at a time.

    Args:
        model: as for :func:`neid_tf.enhance`.
        folder: where the files of the latest result are written.
        max_pixels: the largest picture read, in pixels.
    """

    def __init__(self, model, folder, max_pixels=MAX_PIXELS):
        self.model, self.folder, self.max_pixels = Remembering(model), Path(folder), max_pixels

    def __call__(self, path, strength=1.0, scale=1):
        """Enhance the picture of a file.

        Args:
            path: the file.
            strength: 0 to :data:`MAX_STRENGTH`; see :func:`neid_tf.enhance`.
            scale: 1 or 2.

        Returns:
            :class:`Result`. The files of earlier results are gone.

        Raises:
            PictureError: if the file is no sound picture, or too large.
            ValueError: for another strength or scale.
        """
        if not 0.0 <= strength <= MAX_STRENGTH:
            raise NeidError(f"strength must be from 0 to {MAX_STRENGTH:g}, not {strength!r}")
        picture = pictures.read(path, self.max_pixels)
        pixels = enhance(picture.pixels, self.model, scale=scale, strength=strength)
        return self._write(picture, picture.with_pixels(pixels), Path(path).stem)

    def _write(self, before, after, stem):
        folder = self.folder / "result"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        size = _preview_size(*after.pixels.shape[:2])
        files = {
            folder / "before.png": _preview(before, size),
            folder / "after.png": _preview(after, size),
            folder / f"{stem}_neid.png": after,
        }
        for path, picture in files.items():
            pictures.write(path, picture)
        return Result(*files)


def _preview_size(height, width):
    """Return the width and height of a preview, as cv2 takes them."""
    factor = min(1.0, PREVIEW_SIDE / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _preview(picture, size):
    """Return a picture of that size, 8 bits and no transparency."""
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = over_white(pixels, picture.alpha)
    if pixels.shape[1::-1] != size:
        import cv2

        way = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_CUBIC
        pixels = cv2.resize(pixels, size, interpolation=way)
    pixels = to_type(pixels, np.uint8)
    return dataclasses.replace(picture, pixels=pixels, alpha=None, exif=None)


def sample_pictures(folder):
    """Return the paths of a folder's pictures, sorted by name.

    Raises:
        OSError: if there is no such folder.
    """
    found = (path.resolve() for path in Path(folder).iterdir())
    return sorted(path for path in found if path.suffix.lower() in pictures.SUFFIXES)
