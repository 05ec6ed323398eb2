"""The rows of a run as metrics of the cluster, which Prometheus reads from every node.

It knows rows and Ray's metrics, and nothing of training.
"""

from __future__ import annotations

from ray.util.metrics import Gauge

from cephray.checkpoint import Row

GAUGES = {
    "epoch": "number of the last epoch",
    "loss": "loss of the last epoch",
    "learning_rate": "learning rate of the epoch's last step",
    "refined_mre_mm": "mean radial error of the validation films, millimetres",
    "films_per_s": "training films a second, of all workers",
    "seconds": "seconds of the last epoch, validation included",
    "waiting_percent": "share of training that workers waited for films",
    "exchange_percent": "share of training that workers waited for sums over all of them",
    "memory_gb": "memory of the largest worker; of its GPU, if it has one",
}
"""Entry of a row: description of its metric, which is called `ray_cephray_` and the entry."""


class Gauges:
    """Sets the metrics of a run, from a worker.

    Args:
        run: name of the output folder; the tag `run` of all metrics.
    """

    def __init__(self, run: str) -> None:
        self._tags = {"run": run}
        self._gauges = {
            entry: Gauge(f"cephray_{entry}", description, tag_keys=("run",))
            for entry, description in GAUGES.items()
        }

    def set(self, row: Row) -> None:
        """Set the metrics to the values of a row; those that it lacks stay."""
        for entry, gauge in self._gauges.items():
            if entry in row:
                gauge.set(float(row[entry]), tags=self._tags)
