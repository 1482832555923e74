"""Enhancing pictures and videos in this process, in the order of a plan."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator

from neid_tf import pictures, video
from neid_tf.jobs import large, pipeline
from neid_tf.jobs.outcome import Outcome, named
from neid_tf.jobs.plan import Job
from neid_tf.jobs.transfer import Transfer
from neid_tf.support import files


def enhance(
    jobs: Iterable[Job],
    transfer: Transfer,
    make_function: Callable[[], Callable],
    enhance_clip: Callable[[Job], video.Summary],
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
    coding: pipeline.Coding | None = None,
    progress: large.Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Enhance pictures and videos, each written whole or not at all.

    Args:
        jobs: what to read and write.
        transfer: where, and what becomes of outputs that exist.
        make_function: gives what :func:`neid_tf.jobs.pipeline.enhance_files` takes as its
            function; called once there is a picture to do.
        enhance_clip: enhances the video of a job (:func:`neid_tf.video.enhance_video`).
        max_pixels: the largest picture read, in pixels; larger TIFFs are done by windows, where
            that can be (:mod:`neid_tf.jobs.large`).
        coding: how pictures are encoded.
        progress: told of the tiles of large TIFFs.
        stop: as for :func:`neid_tf.jobs.pipeline.enhance_files`.

    Yields:
        What became of each job, in their order. Whatever goes wrong with a job ends it alone.

    Raises:
        NeidError: where ``make_function`` does.
    """
    jobs, function = list(jobs), functools.cache(make_function)
    for folder in {os.path.dirname(os.path.abspath(job.target)) for job in jobs}:
        files.sweep(folder)

    def kind(job: Job) -> str:
        if job.is_video:
            return "video"
        return "large" if large.is_large(job, max_pixels) else "picture"

    for name, group in itertools.groupby(jobs, key=kind):
        group = itertools.takewhile(lambda _: not stop(), group)
        if name == "video":
            yield from (_clip_done(job, transfer, enhance_clip) for job in group)
            continue
        how = (transfer, max_pixels, None, coding, stop)
        if name == "large":
            for job in group:
                yield from _large_done(job, (function(), *how), progress)
        elif jobs := list(group):
            yield from _pictures_done(jobs, (pipeline.Made(function), *how))


def _pictures_done(jobs: list[Job], how: tuple) -> Iterator[Outcome]:
    done = pipeline.enhance_files(jobs, *how)
    with contextlib.closing(done):
        yield from done


def _large_done(job: Job, how: tuple, progress: large.Progress | None) -> Iterator[Outcome]:
    """Do a large TIFF by windows, or as the others where that can't be."""
    steps, transfer, max_pixels, _, coding, _ = how
    try:
        transfer.check(job)
        if source := large.opened(job, steps, max_pixels):
            with transfer.placing(job):
                notes = large.enhance(job, source, transfer, steps, coding, progress)
            yield Outcome(job, notes=notes)
            return
    except Exception as error:
        yield Outcome(job, named(job, error))
        return
    yield from _pictures_done([job], how)


def _clip_done(
    job: Job, transfer: Transfer, enhance_clip: Callable[[Job], video.Summary]
) -> Outcome:
    try:
        transfer.check(job)
        transfer.target.make_folder(job.target)
        with transfer.placing(job):
            return Outcome(job, notes=enhance_clip(job).notes)
    except Exception as error:
        return Outcome(job, named(job, error))
