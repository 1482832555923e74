"""Enhancing a video: decoded ahead, a few frames at a time computed, encoded in order."""

import contextlib
import dataclasses
import os
import queue
import threading
from collections.abc import Callable

from neid_tf.pictures import DEFAULT_MAX_PIXELS
from neid_tf.support import files
from neid_tf.video.coding import upright
from neid_tf.video.frames import SMOOTHING, Enhancer, Frame
from neid_tf.video.reader import Reader, VideoError
from neid_tf.video.tags import lost_tags
from neid_tf.video.writer import OthersRefused, Writer, container_for, whole_file

_END = object()


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        frames: how many were written.
        width: of the written frames, in pixels, as stored (before any rotation).
        height: likewise.
        cuts: scene cuts at which the average over time began anew; 0 where there is none.
        notes: what could not be kept or was damaged, one line each.
    """

    frames: int
    width: int
    height: int
    cuts: int
    notes: tuple


def enhance_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: object,
    scale: int = 1,
    strength: float = 1.0,
    smoothing: float = SMOOTHING,
    progress: Callable[[int, int | None], None] | None = None,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    metadata: str = "keep",
    quality: int | None = None,
    overwrite: bool = True,
) -> Summary:
    """Enhance a video file, wholly or not at all.

    Written as H.264 (VP9 in WebM), 8 bit 4:2:0, visually lossless. Kept: the time and duration of
    each frame, the pixels' shape, the rotation (frames are not turned), colour matrix and range,
    title and chapters; sound and subtitles are copied, and sound that such a file cannot hold is
    encoded anew. H.264 has no odd sizes: the last row or column is repeated. Memory does not grow
    with length.

    Args:
        source: the video file.
        target: the file to write, its suffix one of :data:`neid_tf.video.WRITABLE`. What is there
            is untouched until all is done.
        model: as in :func:`neid_tf.enhance`. What a :class:`neid_tf.models.NEID` reads off whole
            frames is averaged over time; another callable gets batches of up to 4 frames.
        scale: 1 or 2, as in :func:`neid_tf.enhance`.
        strength: as in :func:`neid_tf.enhance`.
        smoothing: time constant of that average in seconds; 0 for each frame by itself.
        progress: called after each frame with the number done and the total, or None if unknown.
        max_pixels: the most pixels of a frame; None for no limit. It is checked before a frame
            is decoded.
        metadata: ``keep``, or ``none`` to leave out title, place, dates, chapters and all other
            text about the video but the languages of its streams.
        quality: 1 to 100, less makes smaller files; None for 95, which is visually lossless.
        overwrite: whether what is there when all is done is replaced, or an error; the source
            itself is not.

    Returns:
        :class:`Summary`.

    Raises:
        VideoError: naming the file that cannot be read or written, with the reason; also where
            PyAV is missing.
        ValueError: for a bad scale, strength or smoothing, or a model that does not fit.
    """
    how = (source, target, (model, scale, strength, smoothing), progress, max_pixels, overwrite)
    try:
        return _enhance_once(*how, (metadata, quality))
    except OthersRefused as refused:
        # The picture is what counts: once more, without what the file does not take.
        return _enhance_once(*how, (metadata, quality, refused.reason))


def _enhance_once(source, target, settings, progress, max_pixels, overwrite, written):
    """Enhance a video; ``written`` is how, as :class:`Writer` takes it."""
    kind, scale = container_for(target), settings[1]
    if files.identity(source) == files.identity(target):
        raise VideoError(target, "the output is the input itself")
    with contextlib.closing(Reader(source, max_pixels)) as reader:
        enhancer = Enhancer(*settings, upright=upright(reader.first))
        with whole_file(target, overwrite) as temporary:
            how = (temporary, target, kind, reader, scale, *written)
            with contextlib.closing(Writer(*how)) as writer:
                _enhance_all(reader, enhancer, writer, progress)
            lost = lost_tags(temporary, reader, kind.format) if written[0] == "keep" else []
        notes = [*reader.notes, *writer.notes]
        if lost:
            notes.append(f"left out ({kind.format} has no place for them): {', '.join(lost)}")
        return Summary(writer.frames, *writer.size, enhancer.cuts, tuple(notes))


def _enhance_all(reader, enhancer, writer, progress):
    """Pass the frames through the enhancer, and all else straight to the writer."""
    size = enhancer.batch_size(reader.width, reader.height)
    waiting = 2 * size if size > 1 else 1  # large frames are few
    with (
        contextlib.closing(_ahead(reader.items(), waiting)) as items,
        contextlib.closing(enhancer.each(_frames(items, writer), size)) as made,
    ):
        for frame, pixels in made:
            writer.write_frame(frame, pixels)
            if progress:
                progress(writer.frames, reader.total)
            del frame, pixels  # Before the next one is waited for.
    writer.finish()


def _frames(items, writer):
    """Yield the frames among the items, and write the packets."""
    for item in items:
        if isinstance(item, Frame):
            yield item
        else:
            writer.write_packet(item)


def _ahead(items, size):
    """Yield from a generator that runs in a thread of its own, at most ``size`` items ahead."""
    ready, stop = queue.Queue(size), threading.Event()

    def work():
        try:
            for item in items:
                ready.put(item)
                if stop.is_set():
                    return
            ready.put(_END)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=work, name="neid-decode", daemon=True)
    try:
        # An interruption here may come when the thread runs already: closing the reader ends it.
        thread.start()
        while (item := ready.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):
                ready.get(timeout=0.05)
