"""TIFFs that are too large to be read whole: enhanced by windows."""

from __future__ import annotations

import contextlib
import pathlib
import typing
from collections.abc import Callable

from neid_tf.inference.enhance import Enhancement
from neid_tf.inference.tiles import Tiled
from neid_tf.jobs.pipeline import Coding
from neid_tf.jobs.plan import Job
from neid_tf.jobs.transfer import Transfer
from neid_tf.pictures import PictureError
from neid_tf.pictures.formats import FORMATS
from neid_tf.pictures.raster import FormatError
from neid_tf.support import files
from neid_tf.support.errors import NeidError, errors_named, reason_of

if typing.TYPE_CHECKING:
    from neid_tf.pictures.windows import Windows

LARGE = 100_000_000
"""A TIFF of more pixels is done by windows, where that can be."""
Progress = Callable[[Job, int, int], None]
"""What is told how many of how many tiles of a job are done."""


def is_large(job: Job, max_pixels: int) -> bool:
    """Tell whether a job's source is a TIFF that is better not read whole.

    Args:
        job: of a picture or a video.
        max_pixels: the largest picture that may be read whole.
    """
    return not job.is_video and _pixels_of(job.source) > min(max_pixels, LARGE)


def _pixels_of(source):
    """Return width × height of a TIFF, without loading what reads them for other files."""
    with contextlib.suppress(OSError, NeidError), files.open_regular(source) as file:
        if FORMATS["TIFF"].matches(file.read(4)):
            from neid_tf.pictures.windows import pixels_of

            return pixels_of(source)
    return 0


def opened(job: Job, steps: object, max_pixels: int) -> Windows | None:
    """Return the source of a job for :func:`enhance`; None where it has to be read whole.

    Args:
        job: one that :func:`is_large`.
        steps: what enhances, as :func:`neid_tf.jobs.pipeline.enhance_files` takes it.
        max_pixels: as for :func:`is_large`.

    Raises:
        PictureError: where it can be done in neither way.
    """
    from neid_tf.pictures.windows import Windows

    try:
        if pathlib.PurePath(job.target).suffix.lower() not in FORMATS["TIFF"].suffixes:
            raise FormatError("of this size only TIFF is written")
        model = getattr(steps, "model", None)
        if not (isinstance(steps, Enhancement) and isinstance(model, Tiled) and model.scale == 2):
            raise FormatError("what enhances needs it whole; neid in --runtime=onnx does not")
        return Windows(job.source)
    except (NeidError, OSError) as error:
        pixels = _pixels_of(job.source)
        if pixels <= max_pixels:
            return None
        raise PictureError(
            job.source,
            f"{pixels} pixels, over the limit of {max_pixels}, and by windows it can't be done: "
            f"{reason_of(error)}",
        ) from error


def enhance(
    job: Job,
    source: Windows,
    transfer: Transfer,
    enhancement: Enhancement,
    coding: Coding | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Enhance a TIFF by windows; it is written whole or not at all.

    Args:
        job: what to read and write, on this machine.
        source: what :func:`opened` gave.
        transfer: what may be written.
        enhancement: in tiles.
        coding: how it is encoded.
        progress: called after each tile.

    Returns:
        What could not be kept, a line each.
    """
    from neid_tf.inference.windows import count_pieces, enhanced_pieces
    from neid_tf.pictures.windows_write import target_of

    coding = coding or Coding()
    transfer.target.make_folder(job.target)
    with errors_named(job.source, PictureError), source, contextlib.ExitStack() as stack:
        total, started = count_pieces(source, enhancement), False
        for done, (rows, columns, piece) in enumerate(enhanced_pieces(source, enhancement), 1):
            if not started:  # What is refused by its values is refused before anything is written.
                how = (enhancement.scale, *coding.of_files, transfer.label, transfer.overwrites)
                target = stack.enter_context(target_of(source, job.target, *how))
                started = True
            target.write(rows, columns, piece)
            if progress:
                progress(job, done, total)
    return source.notes + (source.metadata_notes if coding.metadata == "keep" else ())
