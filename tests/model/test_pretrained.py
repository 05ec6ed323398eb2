"""Weights from PyTorch's files: what is read, and that nothing of a file is ever run."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.errors import InputError
from cephray.model.pretrained import read_tensors

HEADER: tuple[Any, ...] = (
    0x1950A86A20F9469CFC6C,
    1001,
    {"protocol_version": 1001, "little_endian": True, "type_sizes": {}},
)


class _Tensor:
    """Pickles as a tensor of PyTorch does."""

    def __init__(self, key: str, array: NDArray[Any]) -> None:
        self.storage, self.array = (key, array), array

    def __reduce__(self) -> tuple[Any, ...]:
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        hooks: OrderedDict[str, Any] = OrderedDict()
        arguments = (_Storage(*self.storage), 0, self.array.shape, strides, False, hooks)
        return sys.modules["torch._utils"]._rebuild_tensor_v2, arguments


class _Storage:
    def __init__(self, key: str, array: NDArray[Any]) -> None:
        self.key, self.array = key, array


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, _Storage):
            return None
        array = value.array
        kind = "FloatStorage" if array.dtype == np.float32 else "LongStorage"
        return "storage", getattr(sys.modules["torch"], kind), value.key, "cpu", array.size, None


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for PyTorch while files are written: pickle looks its names up."""
    utilities, module = ModuleType("torch._utils"), ModuleType("torch")

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utilities._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    for name in ("FloatStorage", "LongStorage"):
        setattr(module, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utilities)


def write(path: Path, tensors: dict[str, NDArray[Any]]) -> None:
    rebuilt = OrderedDict((name, _Tensor(name, array)) for name, array in tensors.items())
    with path.open("wb") as file:
        for part in (*HEADER, rebuilt, list(tensors)):
            _Pickler(file, 2).dump(part)
        for array in tensors.values():
            file.write(array.size.to_bytes(8, "little") + array.tobytes("A"))


@pytest.fixture
def tensors() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    return {
        "kernel": rng.normal(size=(4, 3, 2, 5)).astype(np.float32),
        "count": np.array(7),
        "turned": np.asfortranarray(rng.normal(size=(4, 3)).astype(np.float32)),
        "bias": rng.normal(size=4).astype(np.float32),
    }


def test_tensors_are_read_bit_by_bit(tensors: dict[str, NDArray[Any]], tmp_path: Path) -> None:
    write(tmp_path / "w.pth", tensors)
    found = read_tensors(tmp_path / "w.pth")
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_nothing_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    with (tmp_path / "w.pth").open("wb") as file:
        for part in (*HEADER, {"kernel": Evil()}):
            pickle.dump(part, file)
    with pytest.raises(InputError, match=r"no archive of tensors \(it refers to "):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "touched").exists()


def test_files_that_are_none(tensors: dict[str, NDArray[Any]], tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with pytest.raises(InputError, match="cannot be read"):
        read_tensors(path)
    write(path, tensors)
    content = path.read_bytes()
    for length in (0, 1, 20, 300, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="no archive of tensors"):
            read_tensors(path)
    path.write_bytes(b"PK\x03\x04" + content)
    with pytest.raises(InputError, match="no archive of tensors"):
        read_tensors(path)


def test_a_tensor_beyond_its_storage(tmp_path: Path) -> None:
    few, many = np.zeros(3, np.float32), np.zeros((2, 3), np.float32)
    tensor = _Tensor("kernel", few)
    tensor.array = many
    with (tmp_path / "w.pth").open("wb") as file:
        for part in (*HEADER, OrderedDict(kernel=tensor), ["kernel"]):
            _Pickler(file, 2).dump(part)
        file.write(few.size.to_bytes(8, "little") + few.tobytes())
    with pytest.raises(InputError, match="beyond its storage"):
        read_tensors(tmp_path / "w.pth")
