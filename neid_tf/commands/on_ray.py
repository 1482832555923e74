"""The flags of what runs on a Ray cluster, and the part of ``neid enhance`` that does."""

from __future__ import annotations

import contextlib
import os
import typing
from collections.abc import Callable

from absl import flags

from neid_tf.commands import terminal
from neid_tf.commands.tally import Tally
from neid_tf.jobs import failures
from neid_tf.jobs import plan as planning
from neid_tf.support.errors import reason_of
from neid_tf.support.libraries import install_extra

if typing.TYPE_CHECKING:
    from neid_tf.jobs.ray_cluster import Cluster

ENGINE = flags.DEFINE_enum(
    "engine",
    "local",
    ["local", "ray"],
    "local: this machine; ray: workers of a Ray cluster, or Ray's on this machine.",
)
ADDRESS = flags.DEFINE_string(
    "ray_address",
    "",
    "With --engine=ray: address of a running Ray cluster, as host:port; if empty, what RAY_ADDRESS "
    "names, or else this machine.",
)
WORKERS = flags.DEFINE_integer(
    "ray_workers",
    0,
    "With --engine=ray: how many workers; 0 for as many as fit into the cluster.",
    lower_bound=0,
)
CPUS = flags.DEFINE_integer(
    "ray_cpus", 1, "With --engine=ray: CPUs, and threads, of each worker.", lower_bound=1
)
GPUS = flags.DEFINE_float(
    "ray_gpus",
    0.0,
    "With --engine=ray: GPUs of each worker; with 0.5, two workers share one.",
    lower_bound=0,
)
FLAGS = (ENGINE, ADDRESS, WORKERS, CPUS, GPUS)


def asked_for() -> bool:
    """Tell whether Ray is to do it.

    Raises:
        absl.flags.ValidationError: where it is not, and a flag says how it is to.
    """
    if ENGINE.value == "ray":
        return True
    for holder in FLAGS:
        if holder is not ENGINE and holder.present:
            raise flags.ValidationError(f"--{holder.name} needs --engine=ray")
    return False


def cluster_of_flags() -> Cluster:
    """Return the cluster that the flags name."""
    from neid_tf.jobs.ray_cluster import Cluster

    return Cluster(ADDRESS.value, WORKERS.value, CPUS.value, GPUS.value)


def plan(
    inputs: list[str], output: str, suffix: str, extensions: tuple[str, ...] = ()
) -> planning.Plan:
    """Decide what is read and written.

    Args:
        inputs, output, suffix, extensions: as for :func:`neid_tf.jobs.plan.plan`.

    Raises:
        ClusterError: where an address needs a library that is missing.
    """
    from neid_tf.jobs import cluster

    try:
        return planning.plan(inputs, output, suffix, True, extensions)
    except ImportError as error:
        raise cluster.ClusterError(
            f"addresses need {error.name}: {install_extra('ray')}"
        ) from error


def enhance(
    made: planning.Plan, output: str, make: Callable, weights: str, **options: object
) -> int:
    """Enhance what is planned on the cluster that the flags name; return the exit code.

    Args:
        made: from :func:`plan`.
        output: path or address of the folder that is written to.
        make, weights, **options: fields of :class:`neid_tf.jobs.cluster.Work`.
    """
    from neid_tf.jobs import cluster

    tally = Tally(output, made)
    rows = [failures.row(name, None, reason) for name, reason in made.failures]
    work = cluster.Work(make, weights, tuple(made.storages), output, **options)
    try:
        results = cluster.enhance(made.jobs, work, cluster_of_flags(), terminal.report_once)
        with (
            # Where Ray tells at length of a machine that it lost.
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.closing(results),
            terminal.progress(results, len(made.jobs)) as bar,
        ):
            for outcome in bar:
                if tally.note(outcome):
                    job, reason = outcome.job, reason_of(outcome.error)
                    rows.append(failures.row(job.source, job.target, reason))
    except BaseException:
        if rows:  # Of an earlier list nothing is known to be mended.
            failures.record(rows, output)
        raise
    failures.record(rows, output)
    return tally.close()
