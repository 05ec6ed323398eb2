"""Pretrained weights, converted once on each machine.

The packages of weights hold PyTorch's archives, which take seconds to read. The first process on a
machine writes the tensors to a safetensors file in the user's cache folder; later ones read that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cephray.model.pretrained import read_tensors
from cephray.storage import cache_folder

LOCK_TIMEOUT_S = 120

Tensors = dict[str, NDArray[Any]]


def cached_tensors(source: Path, folder: Path | None = None) -> Tensors:
    """Return the tensors of a PyTorch archive, from the cache if they are there.

    A damaged file is written anew. If the cache cannot be used, the archive is read.

    Args:
        source: The archive.
        folder: Of the cache. If None, `cache_folder()`.

    Returns:
        Arrays by name.

    Raises:
        InputError: the archive cannot be read.
    """
    try:
        folder = folder or cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        cached = folder / f"{source.stem}.safetensors"
        with FileLock(folder / f"{cached.name}.lock", timeout=LOCK_TIMEOUT_S):
            tensors = _read(cached)
            if tensors is None:
                tensors = read_tensors(source)
                _write(tensors, cached)
            return tensors
    except (OSError, RuntimeError):  # no home, not writable, or locked for too long
        return read_tensors(source)


def _read(path: Path) -> Tensors | None:
    """Read a cached file, or return None if it is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            digest = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return tensors if digest == _digest(tensors) else None


def _write(tensors: Tensors, path: Path) -> None:
    """Write a file whole, or not at all if there is no room."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    try:
        save_file(whole, draft, metadata={"sha256": _digest(whole)})
        draft.replace(path)
    except (OSError, SafetensorError):
        draft.unlink(missing_ok=True)


def _digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        total.update(f"{name} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
