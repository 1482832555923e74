"""Where the files of jobs are read and written, and what may be written there."""

import contextlib
import dataclasses
from collections.abc import Iterator

from neid_tf.jobs.plan import Job
from neid_tf.jobs.storage import LocalStorage, Storage
from neid_tf.pictures import PictureError
from neid_tf.support.errors import FileError
from neid_tf.support.files import NameTaken

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
        if not self.overwrites:
            raise self._left_alone(job)

    @property
    def overwrites(self) -> bool:
        """Whether an output that exists is replaced."""
        return self.existing == "overwrite"

    def _left_alone(self, job):
        if self.existing == "skip":
            return Skipped(job.target, "is there already")
        reason = "is there already; --overwrite replaces it, --existing=skip leaves it"
        return AlreadyThere(job.target, reason)

    @contextlib.contextmanager
    def placing(self, job: Job) -> Iterator[None]:
        """Say of an output that has appeared since :meth:`check` what that says.

        Args:
            job: whose target is written inside.

        Raises:
            Skipped, AlreadyThere: as :meth:`check`.
        """
        try:
            yield
        except FileError as error:
            if not isinstance(error.__cause__, NameTaken):
                raise
            raise self._left_alone(job) from error

    def read(self, job: Job) -> bytes:
        """Return the content of the source."""
        return self.sources[job.storage].read(job.source)

    def write(self, job: Job, data: bytes) -> None:
        """Write the target, whole or not at all.

        Args:
            job: names it.
            data: its content.
        """
        with self.placing(job):
            self.target.write(job.target, data, self.label, self.overwrites)
