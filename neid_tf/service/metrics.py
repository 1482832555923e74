"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from neid_tf.service.pool import Pool

PATHS = ("/v1/enhance", "/v1/models", "/healthz", "/readyz", "/metrics")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The measures of a service.

    Args:
        pool: its state is told as it is when it is asked for.
    """

    def __init__(self, pool: Pool) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        owned = {"registry": self.registry}
        self.requests = Counter("neid_requests", "Requests.", ["path", "status"], **owned)
        self.seconds = Histogram(
            "neid_request_seconds", "From head to answer.", ["path"], buckets=_SECONDS, **owned
        )
        self.computing = Histogram(
            "neid_computing_seconds", "Of a worker for a picture.", buckets=_SECONDS, **owned
        )
        self.waiting = Histogram(
            "neid_waiting_seconds", "Until a worker was free.", buckets=_SECONDS, **owned
        )
        self.pixels = Counter("neid_pixels", "Pixels of pictures enhanced.", **owned)
        for name, text, function in (
            ("neid_waiting", "Pictures that wait.", lambda: len(pool.waiting)),
            ("neid_workers_busy", "Workers that have a picture.", lambda: pool.busy),
            ("neid_workers_ready", "Workers that are there.", lambda: len(pool.alive)),
            ("neid_workers_lost", "Workers that died and were replaced.", lambda: pool.lost),
        ):
            Gauge(name, text, **owned).set_function(function)

    def note(self, path: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            path: what was asked for.
            status: of the answer.
            seconds: that it took.
        """
        path = path if path in PATHS else "other"
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def note_picture(self, facts: dict) -> None:
        """Count a picture.

        Args:
            facts: from :meth:`neid_tf.service.pool.Pool.enhance`.
        """
        self.computing.observe(facts["seconds"])
        self.waiting.observe(facts["waited"])
        self.pixels.inc(facts["pixels"])

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self.registry)
