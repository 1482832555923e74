"""Many pictures and videos: which file becomes which, and enhancing each of them."""

import dataclasses
import glob
import os
from pathlib import Path

from neid_tf import pictures, video
from neid_tf.jobs import pipeline
from neid_tf.pictures import PictureError
from neid_tf.support.errors import UsageError

SUFFIXES = pictures.SUFFIXES | video.SUFFIXES
"""The suffixes, lower case, of the files that are looked for in folders."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture or video to read and the file to write."""

    source: Path
    target: Path

    @property
    def is_video(self):
        """Whether the source is taken for a video, by its suffix."""
        return self.source.suffix.lower() in video.SUFFIXES


def plan(inputs, output, suffix=""):
    """Decide what is read and written.

    Args:
        inputs: files, folders (with all below them; ``FOLDER/**`` means the same) and globs.
        output: a folder, or a file where the only input is a file.
        suffix: text put behind each name, before its extension.

    Returns:
        The list of jobs, and a list of (input, reason) for those that can't be done.

    Raises:
        UsageError: where several inputs would go to one file.
    """
    found, failures = [], []
    for item in inputs:
        found += expand(item, failures)
    output = Path(output)
    if _is_file_name(output):
        if len(inputs) > 1 or len(found) > 1 or any(Path(item).is_dir() for item in inputs):
            raise UsageError(f"{output} is one file, but there are several inputs: name a folder")
        return [Job(source, output) for source, _ in found], failures
    jobs = [Job(source, output / target_name(name, suffix)) for source, name in found]
    return without_collisions(jobs, failures), failures


def _is_file_name(output):
    known = pictures.SUFFIXES | video.WRITABLE
    return output.suffix.lower() in known and not output.is_dir()


def expand(item, failures):
    """Return (file, path below the output) of what an input names; a folder keeps its tree.

    An input that names nothing is added to ``failures``, with the reason.
    """
    path = Path(item)
    if path.name == "**" and path.parent.is_dir():
        # All below a folder, as the folder itself means.
        path = path.parent
    if path.is_dir() and path.suffix.lower() not in SUFFIXES:
        files = [f for f in sorted(path.rglob("*")) if is_known(f) and not f.is_dir()]
        if not files:
            failures.append((item, "no pictures or videos in this folder"))
        return [(file, file.relative_to(path)) for file in files]
    if not os.path.lexists(path) and glob.has_magic(item):
        matches = [Path(match) for match in sorted(glob.glob(item, recursive=True))]
        matches = [match for match in matches if not match.is_dir()]
        if not matches:
            failures.append((item, "nothing matches this pattern"))
        return [(match, Path(match.name)) for match in matches]
    return [(path, Path(path.name))]


def is_known(path):
    """Tell whether a name is one that is looked for in folders."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def target_name(name, suffix):
    """Return what a file below the output is called that is made of one called ``name``."""
    is_video = name.suffix.lower() in video.SUFFIXES
    extension = video.written_suffix(name) if is_video else name.suffix
    return name.with_name(f"{name.stem}{suffix}{extension}")


def without_collisions(jobs, failures):
    """Return the jobs without those whose output an earlier job writes already."""
    taken, kept = {}, []
    for job in jobs:
        if job.target in taken:
            reason = f"{job.target} is already the output of {taken[job.target]}"
            failures.append((str(job.source), reason))
        else:
            taken[job.target] = job.source
            kept.append(job)
    return kept


def enhance_pictures(
    jobs, function, overwrite=False, max_pixels=pictures.DEFAULT_MAX_PIXELS, threads=None
):
    """Read pictures, enhance them and write them, each whole or not at all.

    Args:
        jobs: :class:`Job` objects.
        function, max_pixels, threads: as for :func:`neid_tf.jobs.pipeline.enhance_files`.
        overwrite: whether files that exist are replaced.

    Yields:
        What :func:`neid_tf.jobs.pipeline.enhance_files` yields. An error names the file that can't
        be read or written, exists already, or is the input itself.
    """
    return pipeline.enhance_files(jobs, function, LocalFiles(overwrite), max_pixels, threads)


def enhance_clip(job, model, overwrite=False, **options):
    """Read a video, enhance it and write it, whole or not at all.

    Args:
        job: :class:`Job`.
        model: as for :func:`neid_tf.video.enhance_video`.
        overwrite: whether a file that exists is replaced.
        **options: of :func:`neid_tf.video.enhance_video`.

    Returns:
        Its :class:`neid_tf.video.Summary`.

    Raises:
        PictureError: where the output exists already, or is the input itself.
        VideoError: where the video can't be read or written.
    """
    local = LocalFiles(overwrite)
    local.check(job)
    local.make_folder(job)
    return video.enhance_video(job.source, job.target, model, **options)


@dataclasses.dataclass(frozen=True)
class LocalFiles:
    """This machine's file system, for :func:`neid_tf.jobs.pipeline.enhance_files`."""

    overwrite: bool = False

    def check(self, job):
        """Raise a PictureError where the output must not be written."""
        if not job.target.exists():
            return
        if job.source.exists() and job.target.samefile(job.source):
            raise PictureError(job.target, "the output is the input itself")
        if not self.overwrite:
            raise PictureError(job.target, "is there already; --overwrite replaces it")

    def read(self, job):
        """Return the content of the source."""
        return pictures.content(job.source)

    def make_folder(self, job):
        """Make the folder of the target, where there is none."""
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PictureError(job.target, f"no folder for it: {error.strerror}") from error

    def write(self, job, data):
        """Write the target, whole or not at all."""
        self.make_folder(job)
        pictures.write_content(job.target, data)
