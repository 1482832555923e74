"""Reaching a Ray cluster, or starting one on this machine, quietly."""

import contextlib
import dataclasses
import logging
import os
import re
import socket
from collections.abc import Iterator
from types import ModuleType

from neid_tf.support.errors import NeidError, reason_of
from neid_tf.support.libraries import install_extra

_PATIENCE = 10.0  # seconds


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


def ray_module() -> ModuleType:
    """Import Ray with Ray Data.

    Raises:
        ClusterError: where it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError(f"Ray Data is not installed: {install_extra('ray')}") from error
    return ray


def count_workers(cluster: Cluster) -> int:
    """Return how many workers there are to be.

    Raises:
        ClusterError: where not even one fits into the cluster.
    """
    found = ray_module().cluster_resources()
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
def connected(cluster: Cluster) -> Iterator[None]:
    """Connect to the cluster, or start one here; quietly. A connection that exists is used.

    Raises:
        ClusterError: where it can't be reached.
    """
    ray = ray_module()
    _silence(ray)
    if ray.is_initialized():
        yield
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        _reach(address)
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **local)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = reason_of(error)[:200]
        raise ClusterError(f"Ray at {address} cannot be used: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address):
    """Raise OSError for an address where nothing listens, which Ray tries to reach for minutes."""
    if found := re.fullmatch(r"(?:ray://)?\[?(.+?)\]?:(\d{1,5})", address):
        socket.create_connection((found[1], int(found[2])), timeout=_PATIENCE).close()


def _silence(ray):
    """Keep Ray's log in its files."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
