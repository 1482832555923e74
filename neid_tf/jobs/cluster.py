"""Many pictures on many machines, with Ray Data.

Ray Data hands lists of names to workers; a worker loads the model once and does its pictures as a
single machine does (:mod:`neid_tf.jobs.pipeline`), to the same bytes where it has as many threads.
Pictures never pass through Ray or the driver.
"""

import contextlib
import dataclasses
import os
import secrets
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

import numpy as np

from neid_tf import pictures
from neid_tf.jobs import pipeline
from neid_tf.jobs.outcome import Outcome
from neid_tf.jobs.plan import Job
from neid_tf.jobs.ray_cluster import (
    Cluster,
    ClusterError,
    connected,
    count_workers,
    ray_module,
)
from neid_tf.jobs.storage import storage_of
from neid_tf.jobs.transfer import AlreadyThere, Skipped, Transfer
from neid_tf.pictures import PictureError
from neid_tf.support.errors import NeidError, reason_of

BATCH = 16
"""The most pictures that a worker is given at a time, and that are done again if it dies."""
_LOOKED_AT = 1000  # Pictures that are looked for, after a loss, as to whether they are done.
_KINDS = (PictureError, AlreadyThere, Skipped)
MAX_BARREN_ROUNDS = 4  # Times that all workers may be lost without a picture done.


@dataclasses.dataclass(frozen=True)
class Work:
    """What every worker is given.

    Attributes:
        make: function from a name or path of weights to a function of pixels; it can be pickled.
        weights: name or path of weights. A file is sent to the workers.
        sources: the file systems that the jobs count (:class:`neid_tf.jobs.plan.Plan`).
        output: path or address of the folder that is written to.
        existing: what becomes of outputs that exist, see :class:`neid_tf.jobs.transfer.Transfer`.
        max_pixels: the largest picture read, in pixels.
        coding: how pictures are encoded.
    """

    make: Callable
    weights: str
    sources: tuple
    output: str
    existing: str = "skip"
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS
    coding: pipeline.Coding | None = None


class Worker:
    """Loads the model once, in a process of Ray's, and then does lists of pictures."""

    def __init__(self, work: Work, label: str, content: bytes | None, threads: int) -> None:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
        self.work, self.threads = work, threads
        self.transfer = Transfer(work.sources, storage_of(work.output), work.existing, label)
        self.function, self.load_error = None, ""
        try:
            with _file(work.weights, content) as weights:
                self.function = work.make(weights)
        except Exception as error:
            # Raised here, Ray would take it for the death of a worker and try again.
            self.load_error = str(error) if isinstance(error, NeidError) else reason_of(error)

    def __call__(self, batch):
        """Do the pictures of a batch (columns ``number``, ``source``, ``target``, ``storage``)."""
        columns = (batch[name] for name in ("source", "target", "storage"))
        jobs = [
            Job(os.fsdecode(s), os.fsdecode(t), int(n)) for s, t, n in zip(*columns, strict=True)
        ]
        jobs = [] if self.load_error else jobs
        work = self.work
        how = (self.function, self.transfer, work.max_pixels, self.threads, work.coding)
        done = pipeline.enhance_files(jobs, *how)
        done = list(done) or [Outcome(None)] * len(batch["number"])
        errors = [outcome.error for outcome in done]
        network = getattr(getattr(self.function, "model", None), "notes", ())
        return {
            "number": batch["number"],
            "kind": np.array([_kind_of(e) for e in errors]),
            # File names may be no text, which Ray's columns can't hold.
            "path": np.array([os.fsencode(e.path) if e else b"" for e in errors], object),
            "reason": np.array([os.fsencode(e.reason) if e else b"" for e in errors], object),
            "notes": np.array([os.fsencode("\n".join(o.notes)) for o in done], object),
            "of_network": np.array([os.fsencode("\n".join(network))] * len(errors), object),
            "load_error": np.array([os.fsencode(self.load_error)] * len(errors), object),
        }


@contextlib.contextmanager
def _file(name, content):
    """Give the path of a file of this content, or the name itself where there is none."""
    if content is None:
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="neid-") as folder:
        path = os.path.join(folder, PurePath(name).name)
        with open(path, "wb") as file:
            file.write(content)
        yield path


def enhance(
    jobs: Sequence[Job],
    work: Work,
    cluster: Cluster | None = None,
    report: Callable[[str], object] = lambda _: None,
) -> Iterator[Outcome]:
    """Enhance pictures, each written whole or not at all.

    The loss of a worker or of its machine costs the pictures that it had: they are done again by
    others. A picture that is lost again and again is given up.

    Args:
        jobs: what to read and write.
        work: what every worker is given.
        cluster: where the workers run; None for this machine.
        report: is told, with each picture, the notes on how its worker runs the network.

    Yields:
        What became of each job, in the order in which they are done.

    Raises:
        ClusterError: see there.
    """
    if not jobs:
        return
    label, finished = secrets.token_hex(4) + "-", False
    try:
        yield from _enhance(jobs, work, cluster or Cluster(), label, report)
        finished = True
    finally:
        if not finished:
            _remove_leftovers(work, label)


def _remove_leftovers(work, label):
    with contextlib.suppress(NeidError, OSError):
        storage_of(work.output).remove_leftovers(work.output, label)


def _enhance(jobs, work, cluster, label, report):
    ray = ray_module()
    rest, barren_rounds, lost = dict(enumerate(jobs)), 0, False
    there = _there_before(rest, work)
    with connected(cluster):
        while rest and barren_rounds < MAX_BARREN_ROUNDS:
            before = len(rest)
            try:
                for row in _rows(rest, work, label, cluster):
                    number, error = int(row["number"]), _error_of(row)
                    if lost and isinstance(error, AlreadyThere) and number not in there:
                        error = None  # A lost worker has written it.
                    for note in _lines(row["of_network"]):
                        report(note)
                    yield Outcome(rest.pop(number), error, _lines(row["notes"]))
            except ray.exceptions.RayTaskError as error:
                raise ClusterError(f"a worker failed: {_cause(error)}") from error
            except ray.exceptions.RayError:
                for number in _written(rest, work, there):
                    yield Outcome(rest.pop(number))
                # What a machine takes down with it is noticed one by one.
                lost, barren_rounds = True, 0 if len(rest) < before else barren_rounds + 1
                time.sleep(2.0**barren_rounds)
                rest = _rotated(rest, 1 if barren_rounds else len(rest) // 2)
    if lost:
        _remove_leftovers(work, label)
    for job in rest.values():
        yield Outcome(job, PictureError(job.source, "its worker died, several times"))


def _lines(told):
    return tuple(filter(None, os.fsdecode(told).split("\n")))


def _kind_of(error):
    """Return which of the kinds of errors one is; -1 for none."""
    return max((n for n, kind in enumerate(_KINDS) if isinstance(error, kind)), default=-1)


def _error_of(row):
    """Return the error that a worker told of, or None."""
    if row["load_error"]:
        raise ClusterError(f"a worker cannot work: {os.fsdecode(row['load_error'])}")
    if row["kind"] < 0:
        return None
    return _KINDS[row["kind"]](os.fsdecode(row["path"]), os.fsdecode(row["reason"]))


def _there_before(rest, work):
    """Return the jobs whose outputs are there and are not to be replaced."""
    if work.existing == "overwrite":
        return set()
    names = set()
    with contextlib.suppress(NeidError, OSError):  # A worker will tell why.
        names.update(storage_of(work.output).below(work.output))
    return {number for number, job in rest.items() if job.target in names}


def _written(rest, work, there):
    """Return the jobs that are done although the word of it was lost with a worker.

    Args:
        rest: the jobs that are not known to be done.
        work: what every worker was given.
        there: those whose outputs were there from the beginning.
    """
    if work.existing == "overwrite":
        return []
    place = storage_of(work.output)
    # They are given out in their order.
    first = list(rest.items())[:_LOOKED_AT]
    return [n for n, job in first if n not in there and _exists(place, job.target)]


def _exists(place, path):
    try:
        return place.exists(path)
    except PictureError:
        return False  # A worker will tell why.


def _rotated(rest, count):
    """Return the jobs with some moved to the end: one that kills its worker is not first again."""
    items = list(rest.items())
    return dict(items[count:] + items[:count])


def _cause(error):
    return " ".join(str(error.cause or error).split())[-300:]


def _rows(jobs, work, label, cluster):
    """Yield Ray Data's rows for these jobs."""
    ray = ray_module()
    workers = count_workers(cluster)
    size = min(max(len(jobs) // (4 * workers), 1), BATCH)
    rows = [
        {
            "number": number,
            "source": os.fsencode(job.source),
            "target": os.fsencode(job.target),
            "storage": job.storage,
        }
        for number, job in jobs.items()
    ]
    content = None
    if os.path.isfile(work.weights):
        with open(work.weights, "rb") as file:
            content = file.read()
    names = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size))
    with warnings.catch_warnings():
        # These two limits have no named parameters yet (Ray 2.60).
        warnings.simplefilter("ignore")
        done = names.map_batches(
            Worker,
            fn_constructor_args=(work, label, content, cluster.cpus),
            batch_size=size,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus or None,
            # Left to itself, Ray waits without end for a machine that never comes back, and
            # starts a worker again without end that a picture kills.
            max_restarts=0,
            max_task_retries=0,
        )
    yield from done.iter_rows()


__all__ = ["BATCH", "MAX_BARREN_ROUNDS", "Cluster", "ClusterError", "Work", "enhance"]
