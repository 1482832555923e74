"""The same application on the machines of a Ray cluster, as a deployment of Ray Serve."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable

from neid_tf.jobs.ray_cluster import Cluster, ClusterError, connected, count_workers
from neid_tf.service.configuration import Configuration
from neid_tf.support.libraries import optional_import
from neid_tf.support.signals import on_signal

_GRACE = 5.0  # seconds that a request whose time is over has to be answered
NAME = "neid"
"""What Ray calls the deployment."""


def serve(
    configuration: Configuration, host: str, port: int, cluster: Cluster, ready: Callable
) -> None:
    """Serve until a signal says to end: then what has begun is finished.

    Each replica is the application with one worker behind it, and has a line of its own.

    Args:
        configuration: of the service; a path in it is looked up on the replicas' machines.
        host: address that each machine with a replica listens on.
        port: likewise.
        cluster: where the replicas run, and how many.
        ready: called once they are there.

    Raises:
        ClusterError: where Ray can't be used, or no replica can start.
        MissingLibraryError: where Ray Serve is not installed.
    """
    with optional_import("neid serve --engine=ray"):
        from ray import serve as ray_serve

    ending = threading.Event()
    with contextlib.ExitStack() as stack, connected(cluster), on_signal(ending.set):
        logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
        timeout = configuration.timeout + _GRACE
        replicas = count_workers(cluster)
        try:
            http = {"host": host, "port": port, "request_timeout_s": timeout}
            ray_serve.start(http_options=http)
            application = _deployment(configuration, cluster, replicas, timeout)
            ray_serve.run(application.bind(), name=NAME, route_prefix="/")
        except RuntimeError as error:
            ray_serve.shutdown()
            reason = " ".join(str(error).split())[-300:]
            raise ClusterError(f"Ray Serve can't start it: {reason}") from error
        try:
            ready()
            ending.wait()
        finally:
            # Ray tells at length that what was to end has ended.
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
            ray_serve.delete(NAME)  # It waits for what has begun, which shutdown does not.
            ray_serve.shutdown()


def _deployment(configuration, cluster, replicas, timeout):
    from ray import serve as ray_serve

    alone = dataclasses.replace(configuration, workers=1, threads=cluster.cpus)

    def build():
        """Return the application; it is called on each replica."""
        from neid_tf.service import app

        return app.create(alone)

    return ray_serve.deployment(
        ray_serve.ingress(build)(),
        name=NAME,
        num_replicas=replicas,
        # So that its own line is what is full, and not Ray's.
        max_ongoing_requests=configuration.max_queue + 8,
        max_queued_requests=max(configuration.max_queue, 1),
        graceful_shutdown_timeout_s=timeout,
        ray_actor_options={"num_cpus": cluster.cpus, "num_gpus": cluster.gpus},
    )
