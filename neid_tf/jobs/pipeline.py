"""Many pictures: files are read and written beside the computing, in bounded memory."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from neid_tf import pictures, video
from neid_tf.inference.enhance import Enhancement, in_steps
from neid_tf.inference.unpack import size_of_result, steps_for
from neid_tf.jobs.outcome import Outcome, named
from neid_tf.jobs.plan import Job
from neid_tf.support.machine import usable_cores

MOST_PIXELS = 48_000_000
"""Pixels of the pictures between reading and writing; a larger picture is there alone."""
_SHOWN = 0.1  # Seconds for which a frame is shown that says none, as browsers have it.
_LEAST_PIXELS = 2**20  # What a small picture counts, so that their number is bounded too.


class Files(Protocol):
    """Where jobs are read and written, such as :class:`neid_tf.jobs.transfer.Transfer`.

    It is called from several threads. What it raises ends the job alone.
    """

    def check(self, job: Job) -> None:
        """Raise the reason why the output must not be written, if there is one."""

    def read(self, job: Job) -> bytes:
        """Return the content of the source."""

    def write(self, job: Job, data: bytes) -> None:
        """Write the target, whole or not at all.

        Args:
            job: names it.
            data: its content.
        """


@dataclasses.dataclass(frozen=True)
class Coding:
    """How pictures are encoded.

    Attributes:
        metadata: one of :data:`neid_tf.pictures.METADATA`.
        quality: of what is written with loss, 1 to 100; see :func:`neid_tf.pictures.write`.
        unpack: whether packed pictures get the size that they had before.
    """

    metadata: str = "keep"
    quality: int | None = None
    unpack: bool = True

    @property
    def of_files(self) -> tuple[str, int | None]:
        """What :func:`neid_tf.pictures.write` is given."""
        return self.metadata, self.quality

    def check(
        self, job: Job, picture: pictures.Picture, height: int, width: int
    ) -> tuple[str, ...]:
        """Return notes on what is lost, before anything is computed.

        Args:
            job: names the target.
            picture: as it was read.
            height, width: of the target, in pixels.

        Raises:
            PictureError: where the target can't hold so large a picture.
        """
        pictures.check_target(job.target, height, width, picture.format)
        return self.notes(job, picture)

    def notes(self, job: Job, picture: pictures.Picture) -> tuple[str, ...]:
        """Return what is lost of a picture, or of a page."""
        return picture.notes + pictures.left_out(job.target, picture, self.metadata)


@dataclasses.dataclass(frozen=True)
class Made:
    """A function that is made while the first pictures are read and decoded.

    Attributes:
        make: makes it, in the thread that waits for the outcomes.
    """

    make: Callable[[], Callable]


def enhance_files(
    jobs: Iterable[Job],
    function: Callable | Enhancement | Made,
    files: Files,
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
    threads: int | None = None,
    coding: Coding | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Enhance pictures, each written whole or not at all.

    A small picture does not keep all cores busy, so as many are computed at a time as there are
    cores, each on one of them where the model can; a large one is computed alone, on all.

    Args:
        jobs: what to read and write.
        function: from H×W×3 RGB, uint8 or uint16, to an enhanced picture of that type, or one in
            steps (:class:`neid_tf.inference.enhance.Enhancement`). It is called from several
            threads; the first picture is computed alone. Or :class:`Made`, what makes it.
        files: where jobs are read and written.
        max_pixels: the largest picture read, in pixels.
        threads: cores to use; None for all, 8 at most.
        coding: how pictures are encoded.
        stop: is asked whether to end; pictures that are being computed or written are finished
            then, and the others left out, without an outcome.

    Yields:
        What became of each job, in their order. Whatever goes wrong with a picture ends that
        picture alone. Closing the generator ends the pictures that are being computed or written
        and leaves out the others.

    Raises:
        Exception: whatever :class:`Made` raises; nothing is written then.
    """
    threads = threads or min(usable_cores(), 8)
    line = _FilePipeline(files, max_pixels, threads, coding or Coding())
    feeder = threading.Thread(target=line.feed, args=(jobs,), name="neid-read", daemon=True)
    try:
        feeder.start()
        line.take(function)
        yield from line.outcomes(stop)
    finally:
        line.close()
        with contextlib.suppress(RuntimeError):  # It was interrupted at its start.
            feeder.join()
        line.pool.shutdown(cancel_futures=True)


class _NotesOnPages:
    """What is lost of the pages of a file, but for what is told of the whole of it."""

    def __init__(self, told: Collection[str]) -> None:
        self.told, self._pages = told, collections.defaultdict(list)

    def take(self, number: int, notes: Iterable[str]) -> None:
        """Take what is said of a page, counted from 1."""
        for note in notes:
            if note not in self.told:
                self._pages[note].append(number)

    def lines(self) -> tuple[str, ...]:
        """Return a line for each, which names its pages."""
        return tuple(
            f"page{'s' * (len(pages) > 1)} {', '.join(map(str, pages))}: {note}"
            for note, pages in self._pages.items()
        )


class _PixelBudget:
    """Bounds the pixels under way; who takes waits until there is room."""

    def __init__(self, most: int) -> None:
        self.most, self.taken, self.closed = most, 0, False
        self._changed = threading.Condition()

    def take(self, pixels: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._has_room(pixels))
            self.taken += pixels

    def _has_room(self, pixels: int) -> bool:
        return not self.taken or self.taken + pixels <= self.most

    def give_back(self, pixels: int) -> None:
        with self._changed:
            self.taken -= pixels
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


class _FilePipeline:
    """One thread reads files; a pool decodes, computes and encodes a picture in each thread."""

    def __init__(self, files: Files, max_pixels: int, threads: int, coding: Coding) -> None:
        self.files, self.max_pixels, self.coding = files, max_pixels, coding
        self._taken = concurrent.futures.Future()
        self.budget, self.opened = _PixelBudget(MOST_PIXELS), queue.SimpleQueue()
        self.computing, self.next = _PixelBudget(threads * _LEAST_PIXELS), threading.Lock()
        self.warm, self._making = False, threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(max(2 * threads, 3), "neid-files")

    def take(self, function: Callable | Made) -> None:
        """Take what computes the pictures; whatever needs it waits for it."""
        function = function.make() if isinstance(function, Made) else function
        self._taken.set_result(in_steps(function))

    def close(self) -> None:
        """Let nobody wait any more."""
        self._taken.cancel()
        self.budget.close()
        self.computing.close()

    @property
    def steps(self) -> Any:
        """What computes the pictures."""
        return self._taken.result()

    def feed(self, jobs: Iterable[Job]) -> None:
        """Read the files in order, as far ahead as there is room."""
        written = set()
        try:
            for job in jobs:
                if os.path.realpath(job.source) in written:
                    # It is what an earlier job writes: that must be done first.
                    self.budget.take(self.budget.most)
                    self.budget.give_back(self.budget.most)
                written.add(os.path.realpath(job.target))
                self.opened.put((job, self._read(job)))
                if self.budget.closed:
                    break
            self.opened.put(None)
        except BaseException as error:
            self.opened.put(error)

    def _read(self, job: Job) -> concurrent.futures.Future:
        """Return the future of a job's being done."""
        try:
            self.files.check(job)
            data = self.files.read(job)
            pixels = max(pictures.count_pixels(data), _LEAST_PIXELS)
        except Exception as error:
            failed = concurrent.futures.Future()
            failed.set_exception(error)
            return failed
        self.budget.take(pixels)
        try:
            if pixels > _LEAST_PIXELS:  # Its tiles need it; it is made while this one is decoded.
                self.pool.submit(self.on_one_core)
            done = self.pool.submit(self._do, job, [data], pixels)
            del data
        except BaseException:
            self.budget.give_back(pixels)
            raise
        done.add_done_callback(lambda _: self.budget.give_back(pixels))
        return done

    def _do(self, job: Job, content: list[bytes], pixels: int) -> tuple[str, ...]:
        """Do a job; return notes on what could not be kept."""
        data = content.pop()  # So that the pool, which keeps the arguments, does not keep it.
        picture = pictures.decode(job.source, data, self.max_pixels, self.coding.unpack)
        steps = steps_for(self.steps, picture.packing, self.coding.unpack)
        size = size_of_result(steps, *picture.pixels.shape[:2])
        notes = self.coding.check(job, picture, *size)
        if picture.pages > 1 and pictures.holds_all(job.target, picture):
            del picture
            further = _NotesOnPages(notes)
            pages = self._pages(job, data, pixels, further)
            content = pictures.encode_all(job.target, pages, *self.coding.of_files)
            notes += further.lines()
        else:
            # What is not needed any more is not kept: the file while the picture is computed,
            # the decoded pixels and the enhanced ones without their alpha while it is encoded.
            del data
            picture = picture.with_pixels(self._enhanced(picture, pixels))
            stored = pictures.as_stored(job.target, picture, *self.coding.of_files)
            del picture
            content = pictures.encode_stored(job.target, stored)
        self.files.write(job, content)
        return notes

    def _pages(self, job: Job, data: bytes, pixels: int, notes) -> Iterator[pictures.Picture]:
        """Yield the pages of a file, or the frames of an animation, enhanced; note what is lost."""
        enhance, time = None, 0.0
        for number, page in enumerate(pictures.decode_all(job.source, data, self.max_pixels), 1):
            notes.take(number, self.coding.notes(job, page))
            enhance = enhance or self._frame_enhancer(page)
            try:
                yield page.with_pixels(self._enhanced(page, pixels, enhance, time))
            except Exception as error:
                raise named(job, error) from error
            time += page.extras.duration or _SHOWN

    def _frame_enhancer(self, frame: pictures.Picture):
        """Return what enhances the frames of an animation as those of a video; None for others."""
        is_8_bit = frame.pixels.dtype == np.uint8  # As the frames of a video are.
        if pictures.is_animation(frame) and is_8_bit and isinstance(self.steps, Enhancement):
            return video.Enhancer(self.steps.model, self.steps.scale, self.steps.strength)
        return None

    def _enhanced(self, picture: pictures.Picture, pixels: int, enhancer=None, time: float = 0.0):
        image, how = picture.pixels, (picture.packing, self.coding.unpack)
        if enhancer:
            with self._compute_slot(pixels):
                return enhancer([video.Frame(image, 0, 0, time)])[0]
        batch = steps_for(self.steps, *how).prepare(image)
        with self._compute_slot(pixels) as steps:
            return steps_for(steps, *how).compute(image, batch)

    def on_one_core(self) -> Any:
        """Return what computes a picture on one core, which is made once."""
        with self._making:
            return self._alone

    @functools.cached_property
    def _alone(self):
        try:
            return self.steps.on_one_core()
        except Exception:
            # Such as no memory for a second copy of the model: slower, but it works.
            return self.steps

    @contextlib.contextmanager
    def _compute_slot(self, pixels: int):
        """Wait until a picture may be computed beside the others; give what computes it."""
        with self.next:  # One waits at a time, so that small pictures do not overtake a large one.
            # What a model makes when it is called first is made once.
            pixels = pixels if self.warm else self.computing.most
            self.computing.take(pixels)
        try:
            yield self._steps_for(pixels)
            self.warm = True
        finally:
            self.computing.give_back(pixels)

    def _steps_for(self, pixels: int):
        if self.computing.closed:
            raise concurrent.futures.CancelledError
        small = pixels == _LEAST_PIXELS < self.computing.most
        return self.on_one_core() if small else self.steps

    def outcomes(self, stop: Callable[[], bool]) -> Iterator[Outcome]:
        """Yield what became of each job; once it is to stop, of each that had begun."""
        pending = collections.deque()
        while (item := self.opened.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            pending.append(item)
            if stop():
                self.close()
            while pending and pending[0][1].done() and not stop():
                yield _outcome(*pending.popleft())
        while pending and not stop():
            yield _outcome(*pending.popleft())
        self.close()
        begun = [(job, done) for job, done in pending if not done.cancel()]
        for job, done in begun:
            if not isinstance(done.exception(), concurrent.futures.CancelledError):
                yield _outcome(job, done)


def _outcome(job: Job, done: concurrent.futures.Future) -> Outcome:
    try:
        return Outcome(job, notes=done.result())
    except Exception as error:
        return Outcome(job, named(job, error))
