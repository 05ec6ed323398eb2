"""Steps that XLA compiled, kept on each machine for later runs.

TensorFlow stores a compiled function by its operations and shapes. What else the machine code
depends on is in the name of the folder: versions, device, and determinism. This file knows no
network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path

from cephray.cluster import ask_cards
from cephray.ops import operation_library
from cephray.storage import cache_folder, digest, remove_folder

_FLAG = "--tf_xla_persistent_cache_directory"
_LEAST_FREE_BYTES = 2 * 2**30  # TensorFlow fails where a compiled function cannot be stored
_UNUSED_S = 30 * 24 * 3600


def keep_compiled_steps(deterministic: bool) -> Path | None:
    """Let TensorFlow store what XLA compiles, and read what an earlier run stored.

    Call it before TensorFlow compiles anything. Folders that were not used for 30 days are
    removed. Nothing is done if `TF_XLA_FLAGS` names a folder already.

    Args:
        deterministic: whether operations are deterministic.

    Returns:
        The folder, or None if the cache cannot be used.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if _FLAG in flags:
        return None
    try:
        folder = cache_folder() / "xla" / _key(deterministic)
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for other in folder.parent.iterdir():
            if other.stat().st_mtime < time.time() - _UNUSED_S:
                remove_folder(other)
        if shutil.disk_usage(folder).free < _LEAST_FREE_BYTES or not os.access(folder, os.W_OK):
            return None
    except (OSError, RuntimeError):  # no home, or not writable
        return None
    os.environ["TF_XLA_FLAGS"] = f"{flags} {_FLAG}={folder}".strip()
    return folder


def _key(deterministic: bool) -> str:
    """Return a digest of all that compiled functions depend on besides their operations."""
    tensorflow = version("tensorflow")
    facts = [
        tensorflow,
        digest(operation_library(tensorflow)),
        str(deterministic),
        os.environ.get("XLA_FLAGS", ""),
        ask_cards("name,driver_version") or "",
        _processor(),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
