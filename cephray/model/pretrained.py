"""Pretrained weights from PyTorch's files, read without PyTorch.

Nothing of a file is run: of all that pickle can do, only tensors in ordered dictionaries are
rebuilt, and anything else is refused. It knows no network.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cephray.errors import InputError

# The format before PyTorch 1.6: five pickles, then the bytes of the storages.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    dtype: np.dtype[Any]
    key: str
    length: int


class _Tensor(NamedTuple):
    """A tensor whose storage is still to be read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors in ordered dictionaries, and refuses to import anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *rest: _Tensor(
                storage, offset, shape, strides
            )
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, _ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to {pid!r:.60}, which is no storage")
        return _Storage(dtype, key, count)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a PyTorch state dictionary.

    Args:
        path: file in PyTorch's format before version 1.6.

    Returns:
        Arrays by name, in the order of the file.

    Raises:
        InputError: no such file, another format, or one that holds more than tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except OSError as error:
        raise InputError(f"weights {path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # pickle raises anything on bytes that are none of its own
        raise InputError(f"weights {path}: no archive of tensors ({error})") from None


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    header = [_Unpickler(file).load() for _ in range(3)]
    if header[:2] != [_MAGIC, _VERSION] or not header[2]["little_endian"]:
        raise ValueError("another format")
    tensors: dict[str, _Tensor] = _Unpickler(file).load()
    keys: list[str] = _Unpickler(file).load()
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    data = {key: _read_storage(file, storages[key]) for key in keys}
    return {name: _view(data[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, storage: _Storage) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    content = file.read(count * storage.dtype.itemsize)
    if count != storage.length or len(content) != count * storage.dtype.itemsize:
        raise ValueError("cut short")
    return np.frombuffer(content, storage.dtype)


def _view(data: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    last = tensor.offset
    for size, stride in zip(tensor.shape, tensor.strides, strict=True):
        if size < 1 or stride < 0:
            raise ValueError("a tensor of no elements")
        last += (size - 1) * stride
    if tensor.offset < 0 or last >= len(data):
        raise ValueError("a tensor beyond its storage")
    strides = [stride * data.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(data[tensor.offset :], tensor.shape, strides)
