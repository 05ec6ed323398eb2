"""The rows of a run as metrics that Prometheus reads."""

from __future__ import annotations

import time
from urllib.request import urlopen

import ray

from cephray.training.gauges import Gauges


def metrics() -> dict[str, float]:
    """Read what this cluster's only node offers of ours."""
    [node] = ray.nodes()  # type: ignore[no-untyped-call]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
    lines = urlopen(address, timeout=10).read().decode().splitlines()
    ours = [line for line in lines if line.startswith("ray_cephray_") and 'run="first"' in line]
    return {line.split("{")[0]: float(line.split()[-1]) for line in ours}


def test_prometheus_reads_the_last_row(cluster: None) -> None:
    gauges = Gauges("first")
    rows = [{"epoch": epoch, "loss": 1.5 / epoch, "films_per_s": 7.0} for epoch in (1, 2)]
    for row in rows:
        gauges.set(row)
    deadline = time.monotonic() + 60  # Ray sends them every few seconds
    while len(found := metrics()) < 3:
        assert time.monotonic() < deadline, found
        time.sleep(1)
    assert found == {
        "ray_cephray_epoch": 2.0,
        "ray_cephray_loss": 0.75,
        "ray_cephray_films_per_s": 7.0,
    }
