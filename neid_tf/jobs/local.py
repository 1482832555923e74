"""Enhancing pictures and videos in this process, in the order of a plan."""

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator

from neid_tf import pictures, video
from neid_tf.jobs import pipeline
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
) -> Iterator[Outcome]:
    """Enhance pictures and videos, each written whole or not at all.

    Args:
        jobs: what to read and write.
        transfer: where, and what becomes of outputs that exist.
        make_function: gives what :func:`neid_tf.jobs.pipeline.enhance_files` takes as its
            function; called once there is a picture to do.
        enhance_clip: enhances the video of a job (:func:`neid_tf.video.enhance_video`).
        max_pixels: the largest picture read, in pixels.
        coding: how pictures are encoded.

    Yields:
        What became of each job, in their order. Whatever goes wrong with a job ends it alone.

    Raises:
        NeidError: where ``make_function`` does.
    """
    jobs, function = list(jobs), functools.cache(make_function)
    for folder in {os.path.dirname(os.path.abspath(job.target)) for job in jobs}:
        files.sweep(folder)
    for is_video, group in itertools.groupby(jobs, key=lambda job: job.is_video):
        if is_video:
            yield from (_clip_done(job, transfer, enhance_clip) for job in group)
        else:
            how = (function(), transfer, max_pixels, None, coding)
            done = pipeline.enhance_files(list(group), *how)
            with contextlib.closing(done):
                yield from done


def _clip_done(
    job: Job, transfer: Transfer, enhance_clip: Callable[[Job], video.Summary]
) -> Outcome:
    try:
        transfer.check(job)
        transfer.target.make_folder(job.target)
        return Outcome(job, notes=enhance_clip(job).notes)
    except Exception as error:
        return Outcome(job, named(job, error))
