"""Where the files of jobs are read and written, and what may be written there."""

import dataclasses

from neid_tf.jobs.plan import Job
from neid_tf.jobs.storage import LocalStorage, Storage
from neid_tf.pictures import PictureError

EXISTING = ("fail", "skip", "overwrite")
"""What becomes of an output that exists already: an error, left as it is, or replaced."""


class AlreadyThere(PictureError):
    """What was to be written exists, and is not to be replaced."""


class Skipped(AlreadyThere):
    """What was to be written exists, and is left as it is; no failure."""


@dataclasses.dataclass(frozen=True)
class Transfer:
    """From some file systems to another, for :func:`neid_tf.jobs.pipeline.enhance_files`.

    Attributes:
        sources: the file systems that a job's ``storage`` counts.
        target: the file system of what is written.
        existing: one of :data:`EXISTING`.
        label: in the names of temporary files, so that leftovers can be found.
    """

    sources: tuple[Storage, ...] = (LocalStorage(),)
    target: Storage = LocalStorage()  # noqa: RUF009
    existing: str = "fail"
    label: str = ""

    def check(self, job: Job) -> None:
        """Make sure that the output may be written.

        Raises:
            Skipped: where it exists and is to be left as it is.
            AlreadyThere: where it exists and that is an error.
            PictureError: where it is the input itself, or can't be looked at.
        """
        if not self.target.exists(job.target):
            return
        source = self.sources[job.storage]
        if source.identity(job.source) == self.target.identity(job.target):
            raise PictureError(job.target, "the output is the input itself")
        if self.existing == "skip":
            raise Skipped(job.target, "is there already")
        if self.existing == "fail":
            raise AlreadyThere(
                job.target, "is there already; --overwrite replaces it, --existing=skip leaves it"
            )

    def read(self, job: Job) -> bytes:
        """Return the content of the source."""
        return self.sources[job.storage].read(job.source)

    def write(self, job: Job, data: bytes) -> None:
        """Write the target, whole or not at all.

        Args:
            job: names it.
            data: its content.
        """
        self.target.write(job.target, data, self.label)
