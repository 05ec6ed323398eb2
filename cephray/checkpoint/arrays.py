"""Files of arrays in the safetensors format, with the digest of what is written.

The safetensors library reads them. It writes too, but then the digest would need the whole file to
be read again. It knows arrays and files, and no checkpoints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

# https://huggingface.co/docs/safetensors: names of NumPy's types in the header.
_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
_ALIGNMENT = 8  # of the data, bytes


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Write arrays to a safetensors file.

    Args:
        path: Of the file.
        arrays: Arrays by name.

    Returns:
        The number of bytes written and their SHA-256: "bytes" and "sha256".

    Raises:
        OSError: The file could not be written.
        ValueError: The format has no name for an array's type.
    """
    # The widest types first, so that every array is aligned.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    return write_blocks(path, [_header(ordered), *(_bytes(array) for _, array in ordered)])


def write_blocks(path: Path, blocks: Iterable[bytes | memoryview]) -> dict[str, Any]:
    """Write blocks of bytes to a file.

    Args:
        path: Of the file.
        blocks: In order.

    Returns:
        The number of bytes written and their SHA-256: "bytes" and "sha256".

    Raises:
        OSError: The file could not be written.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _header(arrays: Iterable[tuple[str, NDArray[Any]]]) -> bytes:
    entries, end = {}, 0
    for name, array in arrays:
        if array.dtype.name not in _TYPES:
            raise ValueError(f"array {name!r}: safetensors has no type for {array.dtype}")
        begin, end = end, end + array.nbytes
        entries[name] = {
            "dtype": _TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _bytes(array: NDArray[Any]) -> memoryview:
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data
