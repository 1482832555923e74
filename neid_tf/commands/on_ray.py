"""The part of ``neid enhance`` that hands pictures to a Ray cluster."""

import contextlib
import json
import os
import sys

from absl import flags
from tqdm import tqdm

from neid_tf.support.libraries import install_extra

ADDRESS = flags.DEFINE_string(
    "ray_address", "", "Address of a Ray cluster; if empty, RAY_ADDRESS, or else this machine."
)
WORKERS = flags.DEFINE_integer(
    "ray_workers", 0, "Workers; 0 for as many as fit into the cluster.", lower_bound=0
)
CPUS = flags.DEFINE_integer("ray_cpus", 1, "CPUs, and threads, of a worker.", lower_bound=1)
GPUS = flags.DEFINE_float(
    "ray_gpus", 0.0, "GPUs of a worker; a fraction shares one.", lower_bound=0
)
FLAGS = (ADDRESS, WORKERS, CPUS, GPUS)
FAILURES = "failures.jsonl"
"""The file in the output folder that tells what could not be done, if anything."""


def enhance(inputs, output, make, weights, suffix="", **options):
    """Enhance the inputs on the cluster that the flags name; return the exit code.

    Args:
        inputs, output, suffix: as for :func:`neid_tf.jobs.storage.plan`.
        make, weights, **options: fields of :class:`neid_tf.jobs.cluster.Work`.
    """
    from neid_tf.jobs import cluster
    from neid_tf.jobs import storage as remote

    try:
        jobs, sources, failures = remote.plan(inputs, output, suffix)
    except ImportError as error:
        raise cluster.ClusterError(
            f"addresses need {error.name}: {install_extra('ray')}"
        ) from error
    rows = [_failure(name, None, reason) for name, reason in failures]
    work = cluster.Work(make, weights, sources, output, **options)
    there = 0
    try:
        where = cluster.Cluster(ADDRESS.value, WORKERS.value, CPUS.value, GPUS.value)
        results = cluster.enhance(jobs, work, where)
        hidden = not sys.stderr.isatty()
        with (
            # Where Ray tells at length of a machine that it lost.
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.closing(results),
            tqdm(results, total=len(jobs), unit="picture", disable=hidden) as bar,
        ):
            for job, was_there, reason in bar:
                there += was_there
                if reason:
                    rows.append(_failure(job.source, job.target, reason))
    finally:
        _record(rows, remote.place_of(output), remote.inside(output, FAILURES))
    written = len(jobs) + len(failures) - len(rows) - there
    print(f"{written} written to {output}, {there} there already, {len(rows)} failed")
    return 1 if rows else 0


def _failure(source, target, reason):
    """Name an input that failed on stderr; return its line for the file of failures."""
    text = reason if reason.startswith((source, str(target))) else f"{source}: {reason}"
    tqdm.write(f"neid: {text}", file=sys.stderr)
    return {"input": source, "output": target, "reason": reason}


def _record(rows, place, path):
    """Write the file of failures; without any, remove an earlier run's."""
    if rows:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        place.write(path, lines.encode())
    else:
        place.remove(path)
