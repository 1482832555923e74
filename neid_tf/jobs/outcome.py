"""What became of a job."""

from typing import NamedTuple

from neid_tf.jobs.plan import Job
from neid_tf.pictures import PictureError
from neid_tf.support.errors import FileError, reason_of


class Outcome(NamedTuple):
    """What became of a job.

    Attributes:
        job: what was to be done.
        error: what kept it from being done, or None.
        notes: what could not be kept of the source, a line each.
    """

    job: Job
    error: FileError | None = None
    notes: tuple[str, ...] = ()


def named(job: Job, error: Exception) -> FileError:
    """Return an error of any kind as one that names the file; its cause is the original.

    Args:
        job: its source is named, and its target where the error is that one's.
        error: what went wrong with it.
    """
    if isinstance(error, FileError):
        if str(error.path) != job.target or job.target == job.source:
            return error
        failure = type(error)(job.source, str(error))
        failure.__cause__ = error
        return failure
    reason = reason_of(error)
    if not isinstance(error, (ValueError, OSError, MemoryError)):
        reason = f"can't be enhanced: {type(error).__name__}: {reason}"
    failure = PictureError(job.source, reason)
    failure.__cause__ = error
    return failure
