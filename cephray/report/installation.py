"""Installed versions, devices, and the build of the op."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from cephray import __version__

PACKAGES = ("tensorflow", "keras", "ray", "optuna", "numpy", "opencv-python", "pybind11")


def collect() -> dict[str, Any]:
    """Collect versions, devices and build information in plain values."""
    import tensorflow as tf

    from cephray import _core

    try:
        load_operations = importlib.import_module("cephray.ops.crop").load_operations
        load_operations()
        op = "loads"
    except ImportError as error:
        op = str(error)
    return {
        "cephray": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": {
            "cpus": os.cpu_count(),
            "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
        },
        "build": dict(_core.build_info()),
        "op": op,
    }


def format_info(facts: dict[str, Any]) -> str:
    """Format the facts, one in a line."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{key} {name}: {_plain(entry)}" for name, entry in value.items()]
        else:
            lines.append(f"{key}: {_plain(value)}")
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
