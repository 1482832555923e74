"""Many pictures: files are read and written beside the computing, in bounded memory."""

import collections
import concurrent.futures
import os
import queue
import threading

from neid_tf import pictures
from neid_tf.enhance import in_steps
from neid_tf.pictures import PictureError

MOST_PIXELS = 48_000_000
"""Pixels of the pictures between reading and writing; a larger picture is there alone."""
_LEAST_PIXELS = 500_000  # What a small picture counts, so that their number is bounded too.


def enhance_files(jobs, function, files, max_pixels=pictures.DEFAULT_MAX_PIXELS, threads=None):
    """Enhance pictures, each written whole or not at all.

    Args:
        jobs: iterable of objects with a ``source`` and a ``target``, such as
            :class:`neid_tf.folders.Job`.
        function: from H×W×3 RGB, uint8 or uint16, to an enhanced picture of that type; one in
            steps (:class:`neid_tf.enhance.Enhancement`) overlaps best. Its middle step runs in
            the thread of the caller.
        files: where jobs are read and written: ``check(job)``, ``read(job) -> bytes`` and
            ``write(job, bytes)``, which raise :class:`neid_tf.pictures.PictureError`, and are
            called from several threads.
        max_pixels: the largest picture read.
        threads: that decode and encode; None for one a core, 2 to 8.

    Yields:
        For each job, in their order, the job and the :class:`neid_tf.pictures.PictureError` that
        kept it from being done, or None. Closing the generator ends the pictures that are being
        written and leaves out the others.
    """
    line = _Line(in_steps(function), files, max_pixels, threads or _threads())
    feeder = threading.Thread(target=line.feed, args=(jobs,), name="neid-read", daemon=True)
    feeder.start()
    try:
        yield from line.outcomes()
    finally:
        line.room.close()
        feeder.join()
        line.pool.shutdown(cancel_futures=True)


def _threads():
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    return min(max(len(usable), 2), 8)


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
    """One thread reads files, a pool decodes and encodes, the caller's thread computes."""

    def __init__(self, steps, files, max_pixels, threads):
        self.steps, self.files, self.max_pixels = steps, files, max_pixels
        self.room, self.opened = _Room(MOST_PIXELS), queue.SimpleQueue()
        self.pool = concurrent.futures.ThreadPoolExecutor(threads, "neid-files")

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
        """Return the job, the pixels taken for it, and the future of its decoded picture."""
        pixels, data, opened = _LEAST_PIXELS, None, None
        try:
            self.files.check(job)
            data = self.files.read(job)
            pixels = max(pictures.count_pixels(data), pixels)
        except (PictureError, MemoryError) as error:
            opened = _failed(error)
        self.room.take(pixels)
        return job, pixels, opened or self.pool.submit(self._open, job, data)

    def _open(self, job, data):
        picture = pictures.decode(job.source, data, self.max_pixels)
        return picture, self.steps.prepare(picture.pixels)

    def _close(self, job, picture, output):
        enhanced = picture.with_pixels(self.steps.finish(picture.pixels, output))
        self.files.write(job, pictures.encode(job.target, enhanced))

    def outcomes(self):
        """Compute what was read, hand it on to be written, and yield what became of each job."""
        pending = collections.deque()
        while (item := self.opened.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            pending.append((item[0], self._compute(*item)))
            del item  # It holds a picture.
            while pending and pending[0][1].done():
                yield _outcome(*pending.popleft())
        while pending:
            yield _outcome(*pending.popleft())

    def _compute(self, job, pixels, opened):
        """Return the future of a job's writing, or of what went wrong before."""
        try:
            picture, batch = opened.result()
            written = self.pool.submit(self._close, job, picture, self.steps.predict(batch))
        except (ValueError, MemoryError) as error:
            written = _failed(error)
        written.add_done_callback(lambda _: self.room.give_back(pixels))
        return written


def _failed(error):
    future = concurrent.futures.Future()
    future.set_exception(error)
    return future


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
