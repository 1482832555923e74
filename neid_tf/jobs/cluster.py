"""Many pictures on many machines, with Ray Data.

Ray Data hands lists of names to workers; a worker loads the model once and does its pictures as a
single machine does (:mod:`neid_tf.jobs.pipeline`), to the same bytes where it has as many threads.
Pictures never pass through Ray or the driver.
"""

import contextlib
import dataclasses
import logging
import os
import secrets
import tempfile
import time
import warnings
from pathlib import PurePath

import numpy as np

from neid_tf import pictures
from neid_tf.jobs import pipeline
from neid_tf.jobs import storage as remote
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import install_extra

BATCH = 16
"""The most pictures that a worker is given at a time, and that are done again if it dies."""
_LOOKED_AT = 1000  # Pictures that are looked for, after a loss, as to whether they are done.
_PATIENCE = 4  # Times that all workers may be lost without a picture done.


class ClusterError(NeidError):
    """Ray is missing, can't be reached, or its workers can't work."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where the workers run.

    Attributes:
        address: of a running Ray cluster; empty for ``RAY_ADDRESS``, or else this machine.
        workers: how many; 0 for as many as fit into the cluster.
        cpus: CPUs of each worker, which are also its threads.
        gpus: GPUs of each worker; may be a fraction.
    """

    address: str = ""
    workers: int = 0
    cpus: int = 1
    gpus: float = 0.0


@dataclasses.dataclass(frozen=True)
class Work:
    """What every worker is told.

    Attributes:
        make: function from a name or path of weights to a function of pixels; it can be pickled.
        weights: name or path of weights. A file is sent to the workers.
        sources: the places that the jobs count (:func:`neid_tf.jobs.storage.plan`).
        output: path or address of the folder that is written to.
        overwrite: whether files that exist are replaced.
        max_pixels: the largest picture read.
    """

    make: object
    weights: str
    sources: tuple
    output: str
    overwrite: bool = False
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS


class Worker:
    """Loads the model once, in a process of Ray's, and then does lists of pictures."""

    def __init__(self, work, label, content, threads):
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
        self.work, self.threads, place = work, threads, remote.place_of(work.output)
        self.transfer = remote.Transfer(work.sources, place, work.overwrite, label)
        self.function, self.unable = None, ""
        try:
            with _file(work.weights, content) as weights:
                self.function = work.make(weights)
        except Exception as error:
            # Raised here, Ray would take it for the death of a worker and try again.
            self.unable = str(error) or type(error).__name__

    def __call__(self, batch):
        """Do the pictures of a batch (columns ``number``, ``source``, ``target``, ``place``)."""
        columns = (batch[name] for name in ("source", "target", "place"))
        jobs = [remote.Job(str(s), str(t), int(p)) for s, t, p in zip(*columns, strict=True)]
        jobs = [] if self.unable else jobs
        how = (self.function, self.transfer, self.work.max_pixels, self.threads)
        done = pipeline.enhance_files(jobs, *how)
        errors = [error for _, error in done] or [None] * len(batch["number"])
        return {
            "number": batch["number"],
            "there": np.array([isinstance(e, remote.AlreadyThere) for e in errors]),
            "reason": np.array([str(e or "") for e in errors], object),
            "unable": np.array([self.unable] * len(errors), object),
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


def enhance(jobs, work, cluster=None):
    """Enhance pictures, each written whole or not at all.

    The loss of a worker or of its machine costs the pictures that it had: they are done again by
    others. A picture that is lost again and again is given up.

    Args:
        jobs: list of :class:`neid_tf.jobs.storage.Job`.
        work: :class:`Work`.
        cluster: :class:`Cluster`.

    Yields:
        For each job, in the order in which they are done: the job, whether it was there already,
        and the reason why it can't be done, or an empty text.

    Raises:
        ClusterError: see there.
    """
    if not jobs:
        return
    ray = _ray()
    cluster, label = cluster or Cluster(), secrets.token_hex(4) + "-"
    rest, fruitless, lost = dict(enumerate(jobs)), 0, False
    try:
        with _connected(cluster):
            while rest and fruitless < _PATIENCE:
                before = len(rest)
                try:
                    for row in _rows(rest, work, label, cluster):
                        if row["unable"]:
                            raise ClusterError(f"a worker cannot work: {row['unable']}")
                        # What is there after a loss, a lost worker may have written.
                        there = bool(row["there"])
                        reason = "" if there else str(row["reason"])
                        yield rest.pop(int(row["number"])), there and not lost, reason
                except ray.exceptions.RayTaskError as error:
                    raise ClusterError(f"a worker failed: {_cause(error)}") from error
                except ray.exceptions.RayError:
                    for number in _written(rest, work):
                        yield rest.pop(number), False, ""
                    # What a machine takes down with it is noticed one by one.
                    lost, fruitless = True, 0 if len(rest) < before else fruitless + 1
                    time.sleep(2.0**fruitless)
                    rest = _turned(rest, 1 if fruitless else len(rest) // 2)
    finally:
        if lost:
            remote.place_of(work.output).remove_leftovers(work.output, label)
    for job in rest.values():
        yield job, False, f"{job.source}: its worker died, several times"


def _ray():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError(f"Ray Data is not installed: {install_extra('ray')}") from error
    return ray


def _written(rest, work):
    """Return the jobs that are done although the word of it was lost with a worker."""
    if work.overwrite:
        return []
    place = remote.place_of(work.output)
    # They are given out in their order.
    first = list(rest.items())[:_LOOKED_AT]
    return [number for number, job in first if place.exists(job.target)]


def _turned(rest, count):
    """Return the jobs with some moved to the end: one that kills its worker is not first again."""
    items = list(rest.items())
    return dict(items[count:] + items[:count])


def _cause(error):
    return " ".join(str(error.cause or error).split())[-300:]


def _rows(jobs, work, label, cluster):
    """Yield Ray Data's rows for these jobs."""
    ray = _ray()
    workers = _workers(cluster)
    size = min(max(len(jobs) // (4 * workers), 1), BATCH)
    rows = [{"number": number} | dataclasses.asdict(job) for number, job in jobs.items()]
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


def _workers(cluster):
    """Return how many workers there are to be."""
    found = _ray().cluster_resources()
    fit = found.get("CPU", 0.0) / cluster.cpus
    if cluster.gpus:
        fit = min(fit, found.get("GPU", 0.0) / cluster.gpus)
    if fit < 1.0:
        raise ClusterError(
            f"no machine for a worker of {cluster.cpus} CPUs and {cluster.gpus:g} GPUs: "
            f"Ray has {found.get('CPU', 0.0):g} and {found.get('GPU', 0.0):g}"
        )
    return cluster.workers or int(fit)


@contextlib.contextmanager
def _connected(cluster):
    """Connect to the cluster, or start one here; quietly. A connection that exists is used."""
    ray = _ray()
    _silence(ray)
    if ray.is_initialized():
        yield
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **local)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ClusterError(f"Ray at {address} cannot be used: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _silence(ray):
    """Keep Ray's log in its files."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
