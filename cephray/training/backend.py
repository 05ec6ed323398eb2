"""What Ray Train does on the workers before a run: each gets the addresses of all.

Ray's own `TensorflowTrainer` does the same, and imports TensorFlow in the driver and in Ray
Train's controller, where nothing needs it: that takes 6 s in each, before the workers start.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass

import ray
from ray.train.backend import Backend, BackendConfig

from cephray.cluster import WorkerGroup


@dataclass
class TensorFlowWorkers(BackendConfig):
    """Ray Train's setting that starts the workers for TensorFlow."""

    @property
    def backend_cls(self) -> type[Backend]:
        """What is done on the workers."""
        return _TensorFlowBackend


class _TensorFlowBackend(Backend):
    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Tell TensorFlow's strategy the addresses of the workers, by `TF_CONFIG`."""
        addresses = worker_group.execute(free_address)
        done = [
            worker_group.execute_single_async(rank, _set_addresses, addresses, rank)
            for rank in range(len(addresses))
        ]
        ray.get(done)  # type: ignore[arg-type]


def free_address() -> str:
    """Return an address of this node that other nodes reach, with a port that is free."""
    host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind(("", 0))
        port = listener.getsockname()[1]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def _set_addresses(addresses: list[str], rank: int) -> None:
    task = {"type": "worker", "index": rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
