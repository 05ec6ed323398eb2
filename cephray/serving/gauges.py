"""What the server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Gauges:
    """Counts of requests and films since the server started."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "cephray_requests", "Requests answered.", ["status"], registry=self._registry
        )
        self.seconds = Histogram(
            "cephray_prediction_seconds",
            "Time from a film's pixels to its landmarks.",
            buckets=(0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 30, 60),
            registry=self._registry,
        )
        self.batch = Histogram(
            "cephray_batch_films",
            "Films that the network saw together.",
            buckets=(1, 2, 3, 4),
            registry=self._registry,
        )
        self.waiting = Gauge(
            "cephray_waiting_films", "Films being read or predicted.", registry=self._registry
        )
        self.replicas = Gauge("cephray_replicas", "Replicas that run.", registry=self._registry)

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return generate_latest(self._registry)
