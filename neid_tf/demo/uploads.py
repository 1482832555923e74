"""What the page does with an upload: the picture read, enhanced, and written for the browser."""

import collections
import dataclasses
import functools
import itertools
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from neid_tf import pictures
from neid_tf.data.pairs import is_picture
from neid_tf.inference.enhance import Enhancement, check_strength
from neid_tf.inference.network import Network, as_network
from neid_tf.inference.unpack import steps_for
from neid_tf.pixels.samples import over_white, to_type
from neid_tf.support.errors import NeidError

MAX_STRENGTH = 3.0
"""Where the page's strength control ends."""
PREVIEW_SIDE = 1600
"""The longest side of the pictures under the slider, in pixels; the download has them all."""
SUFFIXES = (".png", ".jpg")
"""What a download can be."""
KEPT = 8
"""Of how many answers, of all who ask, the files are kept."""


class Remembering(Network):
    """A network that remembers its last result: another strength then costs only the blend.

    Args:
        model: as for :func:`neid_tf.enhance`.
    """

    def __init__(self, model: object) -> None:
        self.network, self._last = as_network(model), None
        self.scale, self.refines = self.network.scale, self.network.refines
        self.context = self.network.context

    def whole_context(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the pieces of one picture are given, as the network reads it."""
        return self.network.whole_context(batch)

    def _read(self, batch, known):
        return self.network.read_context(batch, known)

    def _run(self, batch, context, box, picture):
        last = self._last
        # What is read off a picture is a function of it and of the scale: empty or not.
        given = bool(context), batch, picture
        if last is None or not all(map(np.array_equal, given, last[0])):
            self._last = None
            last = self._last = given, self.network.run_with_context(batch, context, box, picture)
        return last[1]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the page's controls say.

    Attributes:
        strength: 0 to :data:`MAX_STRENGTH`; see :func:`neid_tf.enhance`.
        scale: 1 for the original's size, of a packed picture that from before it was packed; 2 for
            twice the file's.
        weights: name of the weights; None for the enhancer's first ones.
        suffix: of the download: one of :data:`SUFFIXES`.
    """

    strength: float = 1.0
    scale: int = 1
    weights: str | None = None
    suffix: str = ".png"

    def __post_init__(self) -> None:
        check_strength(self.strength, MAX_STRENGTH)
        if self.suffix not in SUFFIXES:
            raise NeidError(f"a download is {' or '.join(SUFFIXES)}, not {self.suffix!r}")


@dataclasses.dataclass(frozen=True)
class Result:
    """Files made of one upload.

    Attributes:
        name: of the upload.
        before: 8-bit PNG of the original, upright, of the size of ``after``.
        after: 8-bit PNG of the enhanced picture, no side above :data:`PREVIEW_SIDE`.
        download: the enhanced picture, of full size, and depth where its format holds that.
        notes: what of the upload the download has not, a line each.
    """

    name: str
    before: Path
    after: Path
    download: Path
    notes: tuple[str, ...] = ()


class Enhancer:
    """What the page does with uploads; one call at a time.

    Args:
        load: function from the name of weights to a model, as for :func:`neid_tf.enhance`. It is
            called once for each name that is asked for.
        folder: where the files of the latest answers are written.
        max_pixels: the largest picture read, in pixels.
        weights: the names that can be asked for, the usual one first.
    """

    def __init__(
        self,
        load: Callable[[str], object],
        folder: str | os.PathLike,
        max_pixels: int = pictures.SERVED_MAX_PIXELS,
        weights: Sequence[str] = ("neid",),
    ) -> None:
        self.network = functools.cache(lambda name: Remembering(load(name)))
        self.folder, self.max_pixels, self.weights = Path(folder), max_pixels, tuple(weights)
        self._count, self._answers = itertools.count(1), collections.deque()
        self.begin()

    def begin(self) -> None:
        """Begin an answer, whose files get a folder; remove all but the last :data:`KEPT`."""
        # Never a folder that there was: a page may still hold paths of what was in it.
        self._answers.append(self.folder / "result" / str(next(self._count)))
        while len(self._answers) > KEPT:
            shutil.rmtree(self._answers.popleft(), ignore_errors=True)

    def __call__(
        self, path: str | os.PathLike, settings: Settings = Settings(), number: int = 0
    ) -> Result:
        """Enhance the picture of a file.

        Args:
            path: the file.
            settings: what the controls say.
            number: tells its files from those of other results since :meth:`begin`.

        Raises:
            PictureError: if the file is no sound picture, or too large.
            ValueError: for unknown weights or another scale.
        """
        name = settings.weights or self.weights[0]
        if name not in self.weights:
            raise NeidError(f"no weights {name!r}; there are {', '.join(self.weights)}")
        picture = pictures.read(path, self.max_pixels)
        steps = Enhancement(self.network(name), settings.scale, settings.strength)
        whole = settings.scale == 1
        pixels = steps_for(steps, picture.packing, whole)(picture.pixels)
        stem = f"{Path(path).stem}_neid{settings.suffix}"
        return self._write(Path(path).name, number, picture, picture.with_pixels(pixels), stem)

    def _write(self, name, number, before, after, download):
        folder = self._answers[-1] / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        size = _preview_size(*after.pixels.shape[:2])
        files = {
            folder / "before.png": _preview(before, size),
            folder / "after.png": _preview(after, size),
            folder / download: after,
        }
        for path, picture in files.items():
            pictures.write(path, picture)
        return Result(name, *files, notes=_notes(before, download))

    def original(self, path: str | os.PathLike) -> np.ndarray:
        """Return an upload as the page shows it before it is enhanced, uint8 H×W×3.

        Raises:
            PictureError: if the file is no sound picture, or too large.
        """
        picture = pictures.read(path, self.max_pixels)
        return _preview(picture, _preview_size(*picture.pixels.shape[:2])).pixels

    def packed(self, results: Sequence[Result]) -> Path:
        """Return the one file to download for several results: a ZIP of their downloads."""
        path = self._answers[-1] / "enhanced.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for result in results:
                name = result.download.name
                others = (f"{number}_{name}" for number in itertools.count(2))
                free = (n for n in itertools.chain([name], others) if n not in archive.NameToInfo)
                archive.write(result.download, next(free))
        return path


def _notes(picture, download):
    """Return what of an upload its download has not: also frames that its format could hold."""
    alone = dataclasses.replace(picture, pages=1)
    pages = pictures.pages_left_out(picture)
    return (*picture.notes, *pages, *pictures.left_out(download, alone))


def _preview_size(height, width):
    """Return the width and height of a preview, as Pillow takes them."""
    factor = min(1.0, PREVIEW_SIDE / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _preview(picture, size):
    """Return a picture of that size, 8 bits and no transparency."""
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = over_white(pixels, picture.alpha)
    pixels = to_type(pixels, np.uint8)
    if pixels.shape[1::-1] != size:
        pixels = np.asarray(Image.fromarray(pixels).resize(size))
    return dataclasses.replace(picture, pixels=pixels, alpha=None, exif=None)


def sample_pictures(folder: str | os.PathLike) -> list[Path]:
    """Return the paths of a folder's pictures, sorted by name.

    Raises:
        OSError: if there is no such folder.
    """
    return sorted(path.resolve() for path in Path(folder).iterdir() if is_picture(path))
