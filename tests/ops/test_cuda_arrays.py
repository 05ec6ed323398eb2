"""How `cephray._core` reads arrays of a GPU, and in which words it refuses them; needs no GPU."""

from __future__ import annotations

import ctypes
import shutil
from typing import Any

import numpy as np
import pytest

from cephray import _core
from tests.ops.cases import Array

HAS_KERNELS = bool(_core.build_info()["cuda_architectures"])

needs_kernels = pytest.mark.skipif(not HAS_KERNELS, reason="built without CUDA (CEPHRAY_CUDA)")


class FakeArray:
    """What claims to lie on a GPU, at no address: enough to be refused."""

    def __init__(self, shape: tuple[int, ...], typestr: str = "<f4", **more: Any) -> None:
        interface = {"shape": shape, "typestr": typestr, "data": (0, False), "version": 3, **more}
        self.__cuda_array_interface__ = interface


class FakeDlpack:
    """A NumPy array that says by DLPack that it lies on a GPU."""

    def __init__(self, array: Array, wanted_stream: int = 1) -> None:
        self.array, self.wanted_stream = array, wanted_stream

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int) -> Any:
        assert stream == self.wanted_stream
        return self.array.__dlpack__()


class DlTensor(ctypes.Structure):
    """DLPack's DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


TensorOf = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(DlTensor))
CurrentStream = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p)
)


class DlExchange(ctypes.Structure):
    """DLPack's DLPackExchangeAPI."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("older", ctypes.c_void_p),
        ("unused", ctypes.c_void_p * 3),
        ("tensor_of", TensorOf),
        ("current_stream", CurrentStream),
    )


@TensorOf
def tensor_of(array: Any, tensor: Any) -> int:
    out = tensor.contents
    out.device_type, out.ndim = array.device_type, len(array.shape)
    out.type_code, out.type_bits, out.type_lanes = 2, array.bits, 1
    array.sizes = (ctypes.c_int64 * len(array.shape))(*array.shape)
    out.shape = ctypes.cast(array.sizes, ctypes.POINTER(ctypes.c_int64))
    return 0


@CurrentStream
def current_stream(device_type: int, device_id: int, stream: Any) -> int:
    stream.contents.value = FakeExchanged.stream
    return 0


def capsule(exchange: DlExchange) -> Any:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(ctypes.addressof(exchange), b"dlpack_exchange_api", None)


EXCHANGE = DlExchange(1, 3, None, (ctypes.c_void_p * 3)(), tensor_of, current_stream)
NEWER = DlExchange(2, 0, ctypes.addressof(EXCHANGE))


class FakeExchanged:
    """What says by DLPack's C functions that it lies on a GPU, at no address."""

    __dlpack_c_exchange_api__ = capsule(EXCHANGE)
    stream = 0  # that its library works on

    def __init__(self, shape: tuple[int, ...], bits: int = 32, device_type: int = 2) -> None:
        self.shape, self.bits, self.device_type = shape, bits, device_type


@needs_kernels
def test_arrays_of_the_host_are_refused() -> None:
    feature, box = np.ones((1, 4, 4, 2), np.float32), np.ones((1, 1, 1, 4), np.float32)
    with pytest.raises(ValueError, match=r"`features\[0\]` must lie in a CUDA device's memory"):
        _core.roi_crop_cuda([feature], box, np.ones((1, 1, 2, 2, 2), np.float32))
    with pytest.raises(
        TypeError, match=r"`features\[0\]` must be an array with DLPack .*; got int"
    ):
        _core.roi_crop_cuda([1], box, feature)


@needs_kernels
@pytest.mark.parametrize(
    ("features", "boxes", "crops", "words"),
    [
        (
            FakeArray((1, 4, 4)), FakeArray((1, 1, 1, 4)), FakeArray((1, 1, 2, 2, 2)),
            r"`features\[0\]` must have shape \[B, H, W, C\]; got \[1, 4, 4\]",
        ),
        (
            FakeArray((1, 4, 4, 2)), FakeArray((1, 1, 1, 4)), FakeArray((1, 1, 2, 2, 3)),
            r"`crops` must have shape \[1, 1, 2, 2, 2\]; got \[1, 1, 2, 2, 3\]",
        ),
        (
            FakeArray((1, 4, 4, 2)), FakeArray((1, 1, 1, 4)), FakeArray((1, 1, 2, 2)),
            r"`crops` must have shape \[B, K, S_h, S_w, C\]; got \[1, 1, 2, 2\]",
        ),
        (
            FakeArray((1, 4, 4, 2)), FakeArray((1, 1, 1, 4), "<f8"), FakeArray((1, 1, 2, 2, 2)),
            "`boxes` must have dtype float32; got float64",
        ),
        (
            FakeArray((1, 4, 4, 2)), FakeArray((1, 1, 1, 4)), FakeArray((1, 1, 2, 2, 2), "<f2"),
            "`crops` must have dtype float32 as the others; got float16",
        ),
        (
            FakeArray((1, 4, 4, 2), strides=(128, 8, 32, 4)), FakeArray((1, 1, 1, 4)),
            FakeArray((1, 1, 2, 2, 2)), r"`features\[0\]` must be dense and row-major",
        ),
        (
            FakeArray((1, 4, 4, 2), stream=7), FakeArray((1, 1, 1, 4)),
            FakeArray((1, 1, 2, 2, 2)), "is being written on CUDA stream 7",
        ),
        (
            FakeArray((1, 4, 4, 2)), FakeArray((1, 1, 1, 4)),
            FakeArray((1, 1, 2, 2, 2), data=(0, True)), "`crops` must be writable",
        ),
        (
            FakeArray((1, 4, 4, 2), "<i4"), FakeArray((1, 1, 1, 4)),
            FakeArray((1, 1, 2, 2, 2), "<i4"), "must be float16, .* got <i4",
        ),
    ],
)  # fmt: skip
def test_wrong_arrays_are_refused_in_words(
    features: Any, boxes: Any, crops: Any, words: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        _core.roi_crop_cuda([features], boxes, crops)


@needs_kernels
def test_dlpack_is_read() -> None:
    """Sizes, type, strides and stream arrive, which the refusals tell."""
    box = FakeDlpack(np.ones((1, 1, 1, 4), np.float32))
    feature = np.ones((1, 4, 5, 2), np.float16)
    for wrong, words in (
        (np.ones((1, 1, 2, 2, 3), np.float16), r"shape \[1, 1, 2, 2, 2\]; got \[1, 1, 2, 2, 3\]"),
        (np.ones((1, 1, 2, 2, 2), np.float64), "dtype float16 as the others; got float64"),
        (np.ones((1, 1, 2, 2, 4), np.float16)[..., ::2], "must be dense and row-major"),
        (np.ones((1, 1, 2, 2, 2), np.int16), "as the others; got DLPack type 0 of 16 bits"),
    ):
        with pytest.raises((ValueError, TypeError), match="`crops` .*" + words):
            _core.roi_crop_cuda([FakeDlpack(feature)], box, FakeDlpack(wrong))
    with pytest.raises(ValueError, match=r"`crops` must have shape"):
        _core.roi_crop_cuda(
            [FakeDlpack(feature, 77)],
            FakeDlpack(box.array, 77),
            FakeDlpack(np.ones((1, 1, 1, 1, 1), np.float16), 77),
            stream=77,
        )


@needs_kernels
@pytest.mark.parametrize("exchange", [EXCHANGE, NEWER], ids=["known version", "newer version"])
def test_dlpack_is_read_by_its_c_functions(
    exchange: DlExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes, type, device and stream arrive, which the refusals tell."""
    monkeypatch.setattr(FakeExchanged, "__dlpack_c_exchange_api__", capsule(exchange))
    feature, box = FakeExchanged((1, 4, 5, 2)), FakeExchanged((1, 1, 1, 4))
    for wrong, words in (
        (FakeExchanged((1, 1, 2, 2, 3)), r"shape \[1, 1, 2, 2, 2\]; got \[1, 1, 2, 2, 3\]"),
        (FakeExchanged((1, 1, 2, 2, 2), 64), "dtype float32 as the others; got float64"),
        (FakeExchanged((1, 1, 2, 2, 2), device_type=1), "DLPack says device type 1"),
    ):
        with pytest.raises((ValueError, TypeError), match="`crops` .*" + words):
            _core.roi_crop_cuda([feature], box, wrong)
    # The array's library works on another stream: it must be told which one, and cannot.
    with pytest.raises(TypeError, match=r"`features\[0\]` must be an array with DLPack"):
        _core.roi_crop_cuda([feature], box, FakeExchanged((1, 1, 2, 2, 3)), stream=7)
    monkeypatch.setattr(FakeExchanged, "stream", 7)
    with pytest.raises(ValueError, match="`crops` must have shape"):
        _core.roi_crop_cuda([feature], box, FakeExchanged((1, 1, 2, 2, 3)), stream=7)


@pytest.mark.skipif(HAS_KERNELS, reason="built with CUDA")
def test_without_kernels_the_message_says_how_to_build_them() -> None:
    with pytest.raises(RuntimeError, match="built without CUDA; rebuild it where nvcc is"):
        _core.roi_crop_cuda([], None, None)


@needs_kernels
def test_a_launch_without_a_gpu_is_an_error_not_an_exit() -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there may be a GPU")
    arrays = FakeArray((1, 4, 4, 2)), FakeArray((1, 1, 1, 4)), FakeArray((1, 1, 2, 2, 2))
    with pytest.raises(RuntimeError, match="CUDA: cudaError"):
        _core.roi_crop_cuda([arrays[0]], *arrays[1:])
