"""Which file becomes which, on this machine and on other file systems."""

import collections
import dataclasses
import functools
import os
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from neid_tf import pictures, video
from neid_tf.jobs.found import SUFFIXES, Found, is_below, is_known_file, listing
from neid_tf.jobs.storage import (
    LocalStorage,
    Storage,
    inside,
    is_address,
    key_of,
    place_of,
    storage_of,
)
from neid_tf.support import files
from neid_tf.support.errors import UsageError
from neid_tf.support.machine import WINDOWS

_FILE_SUFFIX = re.compile(r"\.(?=\w*[A-Za-z])\w{2,5}")
"""What the suffix of a file looks like, known or not."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A picture or video to read and the file to write.

    Attributes:
        source: path or address.
        target: likewise.
        storage: which of the plan's file systems the source is on.
    """

    source: str
    target: str
    storage: int = 0

    @property
    def is_video(self) -> bool:
        """Whether the source is taken for a video, by its suffix."""
        return PurePath(self.source).suffix.lower() in video.SUFFIXES


@dataclasses.dataclass
class Plan:
    """What is to be done.

    Attributes:
        jobs: in the order of the inputs.
        storages: the file systems that the jobs count.
        failures: (input, reason) for each that can't be done.
        left_out: how many files of each kind are passed over.
    """

    jobs: list[Job] = dataclasses.field(default_factory=list)
    storages: list[Storage] = dataclasses.field(default_factory=list)
    failures: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    left_out: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def describe_left_out(self) -> str:
        """Return one line on what is passed over; empty if nothing is."""
        total = sum(self.left_out.values())
        if not total:
            return ""
        return f"{total} file{'s' * (total > 1)} left out: {listing(self.left_out)}"


def plan(
    inputs: list[str],
    output: str | os.PathLike,
    suffix: str = "",
    on_cluster: bool = False,
    extensions: tuple[str, ...] = (),
    known: Iterable[str] = (),
) -> Plan:
    """Decide what is read and written.

    Args:
        inputs: files, folders (with all below them; ``FOLDER/**`` means the same) and globs;
            paths or addresses.
        output: a folder, or a file where the only input is a file.
        suffix: text put behind each name, before its extension.
        on_cluster: the output must be a folder, and videos can't be done.
        extensions: what the names of pictures that are written may end in, lower case, the usual
            one first; empty for what their sources' do.
        known: what the name of an output that is one file may end in, likewise; empty for
            ``extensions``.

    Raises:
        UsageError: where several inputs would go to one file, the output's suffix is of no file
            that can be written, or a suffix is no part of a name, or is given for an output that
            is one file.
        NeidError: naming an address whose file system cannot be used.
    """
    output, made, storages = os.fspath(output), Plan(), {}
    if not output or not all(inputs):
        raise UsageError(f"{'an input' if output else 'the output'} is an empty text")
    results = []
    for item in inputs:
        key = key_of(item)
        if key not in storages:
            storages[key] = storage_of(item)
        results.append((list(storages).index(key), storages[key].find(item)))
    made.storages = list(storages.values())
    for number, result in results:
        made.failures += result.problems
        files = _without_outputs(result, output, suffix, made.left_out)
        made.left_out += result.left_out
        made.jobs += [Job(path, str(below), number) for path, below in files]
    known = frozenset(known) or frozenset(extensions) or pictures.WRITABLE | video.WRITABLE
    if on_cluster:
        _check_folder(output)
        made.jobs = _without_videos(made)
    elif _is_one_file(output, [result for _, result in results], known, bool(extensions)):
        if suffix:
            raise UsageError(f"a suffix is for the files of a folder, but {output} is one file")
        made.jobs = [dataclasses.replace(job, target=output) for job in made.jobs]
        return made
    _set_targets(made, output, suffix, extensions)
    return made


def plan_below(
    folder: str,
    paths: Iterable[str],
    output: str | os.PathLike,
    suffix: str = "",
    extensions: tuple[str, ...] = (),
    taken: Mapping[str, str] = types.MappingProxyType({}),
) -> Plan:
    """Decide what some files below a folder become, as :func:`plan` does for the whole folder.

    Args:
        folder: path.
        paths: of files below it, which begin as it does.
        output: a folder.
        suffix, extensions: as for :func:`plan`.
        taken: outputs of earlier plans, as :func:`os.path.normcase` has them, and their sources;
            no other source replaces them while theirs is there.

    Raises:
        UsageError: for a suffix that is no part of a name.
    """
    result, made = Found(root=folder, is_folder=True), Plan(storages=[LocalStorage()])
    for path in paths:
        below = PurePath(os.path.relpath(path, folder))
        result.take(path, below, is_known_file(path, below))
    files = _without_outputs(result, os.fspath(output), suffix, made.left_out)
    made.left_out += result.left_out
    made.jobs = [Job(path, str(below)) for path, below in files]
    _set_targets(made, os.fspath(output), suffix, extensions, taken)
    return made


def _set_targets(made, output, suffix, extensions, before=types.MappingProxyType({})):
    """Turn the paths below the output that jobs have into what is written."""
    check_suffix(suffix)
    taken, kept = {}, {}
    below_of = [target_name(PurePath(job.target), suffix, extensions) for job in made.jobs]

    def is_renamed(index):
        """Whether another kind is written: a name goes first to the file that has it already."""
        source = PurePath(made.jobs[index].source)
        return source.suffix.lower() != below_of[index].suffix.lower()

    for index in sorted(range(len(made.jobs)), key=is_renamed):
        job, below = made.jobs[index], below_of[index]
        if WINDOWS and not is_address(output) and not files.windows_takes(below):
            made.failures.append((job.source, f"no file of Windows can be called {below}"))
            continue
        target = inside(output, below.as_posix())
        name = os.path.normcase(target)
        if name in taken and _is_same(made, taken[name], job):
            continue  # Given twice, as by a folder and by its own name: it is done once.
        owner = taken[name].source if name in taken else before.get(name, job.source)
        if name in taken or (owner != job.source and os.path.lexists(owner)):
            made.failures.append((job.source, f"{target} is already the output of {owner}"))
        else:
            taken[name], kept[index] = job, dataclasses.replace(job, target=target)
    jobs = [kept[index] for index in sorted(kept)]
    made.jobs = _without_inputs_as_outputs(made, jobs, storage_of(output))


def _is_same(made, *jobs):
    """Tell whether two jobs read one file."""
    first, second = (made.storages[job.storage].identity(job.source) for job in jobs)
    return first == second


def _without_inputs_as_outputs(made, jobs, storage):
    """Return the jobs that write no file that another job reads, whatever becomes of that one."""

    @functools.cache
    def sources():
        return {made.storages[job.storage].identity(job.source): job.source for job in made.jobs}

    kept = []
    for job in jobs:
        is_there = is_address(job.target) or os.path.lexists(job.target)
        source = sources().get(storage.identity(job.target)) if is_there else None
        if source in (None, job.source):  # Of its own source more is said where it is written.
            kept.append(job)
        else:
            made.failures.append((job.source, f"its output {job.target} is an input itself"))
    return kept


def check_suffix(suffix: str) -> None:
    """Refuse a text behind the names of outputs that can't be a part of a name.

    Raises:
        UsageError: for one that would name folders.
    """
    if re.search(r"[/\\]", suffix):
        raise UsageError(f"a suffix is a part of a file's name, not {suffix!r}")


def target_name(name: PurePath, suffix: str, extensions: tuple[str, ...] = ()) -> PurePath:
    """Return what a file below the output is called.

    Args:
        name: path of its source below the input.
        suffix: text put behind the name, before the extension.
        extensions: what a picture's name may end in, lower case, the usual one first; empty for
            what the source's format is written as.
    """
    if name.suffix.lower() in video.SUFFIXES:
        extension = video.written_suffix(name)
    elif not extensions or name.suffix.lower() in extensions:
        extension = pictures.written_suffix(name)
    else:
        extension = extensions[0]
    return name.with_name(f"{name.stem}{suffix}{extension}")


def _without_videos(made: Plan) -> list[Job]:
    videos = [job for job in made.jobs if job.is_video]
    made.failures += [(job.source, "is a video: those are done without Ray") for job in videos]
    return [job for job in made.jobs if not job.is_video]


def _check_folder(output: str) -> None:
    suffix = PurePath(inside(output, "")).suffix
    if suffix.lower() in SUFFIXES and not os.path.isdir(output):
        raise UsageError(f"{output} is one file: with Ray, name a folder")


def _is_one_file(
    output: str, results: list[Found], known: frozenset[str], only_known: bool = False
) -> bool:
    """Tell whether the output is the name of a file, for the only input.

    Raises:
        UsageError: where it is, and there are several inputs, or no such file can be written.
    """
    path = PurePath(output)
    if os.path.isdir(output) or output.endswith(("/", os.sep)):
        return False
    is_named = path.suffix.lower() in known or (os.path.lexists(output) and not only_known)
    one = len(results) == 1 and len(results[0].files) < 2 and not results[0].is_folder
    if is_named and not one:
        raise UsageError(f"{output} is one file, but there are several inputs: name a folder")
    if one and not is_named and _FILE_SUFFIX.fullmatch(path.suffix):
        raise UsageError(
            f"{output}: no file with the suffix {path.suffix} can be written, only "
            f"{', '.join(sorted(known))}; a folder of that name is {output}/"
        )
    return is_named


def _without_outputs(
    result: Found, output: str, suffix: str, left_out: collections.Counter
) -> list[tuple[str, PurePath]]:
    """Return the files of a folder or pattern but for what this or an earlier run writes there.

    That is what lies in an output folder inside the input; and where the outputs lie beside the
    inputs, files with the suffix whose input is there too.
    """
    if not result.root:
        return result.files
    there, root = place_of(output), place_of(result.root)
    if there != root and is_below(there, root):
        reason, kept = "below the output", [f for f in result.files if not _lies_in(f[0], there)]
    elif suffix and is_below(root, there):
        stems = {os.path.splitext(path)[0] for path, _ in result.files}
        reason = f"made before (*{suffix}.*)"
        kept = [f for f in result.files if not _is_made(os.path.splitext(f[0])[0], suffix, stems)]
    else:
        return result.files
    if len(result.files) > len(kept):
        left_out[reason] += len(result.files) - len(kept)
    return kept


def _lies_in(path: str, folder: str) -> bool:
    return is_below(place_of(path), folder)


def _is_made(stem: str, suffix: str, stems: set[str]) -> bool:
    return stem.endswith(suffix) and stem.removesuffix(suffix) in stems
