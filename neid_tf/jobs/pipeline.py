"""Many pictures: files are read and written beside the computing, in bounded memory."""

import collections
import concurrent.futures
import contextlib
import functools
import os
import queue
import threading

from neid_tf import pictures
from neid_tf.inference.enhance import in_steps
from neid_tf.pictures import PictureError

MOST_PIXELS = 48_000_000
"""Pixels of the pictures between reading and writing; a larger picture is there alone."""
_LEAST_PIXELS = 500_000  # What a small picture counts, so that their number is bounded too.


def enhance_files(jobs, function, files, max_pixels=pictures.DEFAULT_MAX_PIXELS, threads=None):
    """Enhance pictures, each written whole or not at all.

    A small picture does not keep all cores busy, so as many are computed at a time as there are
    cores, each on one of them where the model can; a large one is computed alone, on all.

    Args:
        jobs: iterable of objects with a ``source`` and a ``target``, such as
            :class:`neid_tf.jobs.plan.Job`.
        function: from H×W×3 RGB, uint8 or uint16, to an enhanced picture of that type, or one in
            steps (:class:`neid_tf.enhance.Enhancement`). It is called from several threads; the
            first picture is computed alone.
        files: where jobs are read and written: ``check(job)``, ``read(job) -> bytes`` and
            ``write(job, bytes)``, which raise :class:`neid_tf.pictures.PictureError`, and are
            called from several threads.
        max_pixels: the largest picture read.
        threads: cores to use; None for all, 8 at most.

    Yields:
        For each job, in their order, the job and the :class:`neid_tf.pictures.PictureError` that
        kept it from being done, or None. Closing the generator ends the pictures that are being
        computed or written and leaves out the others.
    """
    line = _Line(in_steps(function), files, max_pixels, threads or _threads())
    feeder = threading.Thread(target=line.feed, args=(jobs,), name="neid-read", daemon=True)
    feeder.start()
    try:
        yield from line.outcomes()
    finally:
        line.room.close()
        line.computing.close()
        feeder.join()
        line.pool.shutdown(cancel_futures=True)


def _threads():
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    return min(len(usable), 8)


class _Room:
    """Bounds the pixels under way; who takes waits until there is room."""

    def __init__(self, most):
        self.most, self.taken, self.closed = most, 0, False
        self._changed = threading.Condition()

    def take(self, pixels):
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._has_room(pixels))
            self.taken += pixels

    def _has_room(self, pixels):
        return not self.taken or self.taken + pixels <= self.most

    def give_back(self, pixels):
        with self._changed:
            self.taken -= pixels
            self._changed.notify_all()

    def close(self):
        """Let nobody wait any more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


class _Line:
    """One thread reads files; a pool decodes, computes and encodes a picture in each thread."""

    def __init__(self, steps, files, max_pixels, threads):
        self.steps, self.files, self.max_pixels = steps, files, max_pixels
        self.room, self.opened = _Room(MOST_PIXELS), queue.SimpleQueue()
        self.computing, self.next = _Room(threads * _LEAST_PIXELS), threading.Lock()
        self.warm = False
        self.pool = concurrent.futures.ThreadPoolExecutor(max(2 * threads, 3), "neid-files")

    def feed(self, jobs):
        """Read the files in order, as far ahead as there is room."""
        written = set()
        try:
            for job in jobs:
                if os.path.realpath(job.source) in written:
                    # It is what an earlier job writes: that must be done first.
                    self.room.take(self.room.most)
                    self.room.give_back(self.room.most)
                written.add(os.path.realpath(job.target))
                self.opened.put(self._read(job))
                if self.room.closed:
                    return
            self.opened.put(None)
        except BaseException as error:
            self.opened.put(error)

    def _read(self, job):
        """Return the job and the future of its being done."""
        pixels, data, done = _LEAST_PIXELS, None, None
        try:
            self.files.check(job)
            data = self.files.read(job)
            pixels = max(pictures.count_pixels(data), pixels)
        except (PictureError, MemoryError) as error:
            done = concurrent.futures.Future()
            done.set_exception(error)
        self.room.take(pixels)
        done = done or self.pool.submit(self._do, job, data, pixels)
        done.add_done_callback(lambda _: self.room.give_back(pixels))
        return job, done

    def _do(self, job, data, pixels):
        picture = pictures.decode(job.source, data, self.max_pixels)
        # The decoded pixels, and what was computed with, are not kept while it is encoded.
        picture = picture.with_pixels(self._enhanced(picture.pixels, pixels))
        self.files.write(job, pictures.encode(job.target, picture))

    def _enhanced(self, image, pixels):
        batch = self.steps.prepare(image)
        with self._turn(pixels) as steps:
            return steps.compute(image, batch)

    @functools.cached_property
    def on_one_core(self):
        return self.steps.on_one_core()

    @contextlib.contextmanager
    def _turn(self, pixels):
        """Wait until a picture may be computed beside the others; give what computes it."""
        with self.next:  # One waits at a time, so that small pictures do not overtake a large one.
            # What a model makes when it is called first is made once.
            steps, pixels = self.steps, pixels if self.warm else self.computing.most
            self.computing.take(pixels)
            if pixels == _LEAST_PIXELS < self.computing.most and not self.computing.closed:
                steps = self.on_one_core
        try:
            if self.computing.closed:
                raise concurrent.futures.CancelledError
            yield steps
            self.warm = True
        finally:
            self.computing.give_back(pixels)

    def outcomes(self):
        """Yield what became of each job."""
        pending = collections.deque()
        while (item := self.opened.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            pending.append(item)
            while pending and pending[0][1].done():
                yield _outcome(*pending.popleft())
        while pending:
            yield _outcome(*pending.popleft())


def _outcome(job, written):
    try:
        written.result()
    except PictureError as error:
        return job, error
    except ValueError as error:
        # Such as a picture that is too large for a model of one size.
        return job, PictureError(job.source, str(error))
    except MemoryError:
        return job, PictureError(job.source, "not enough memory")
    return job, None
