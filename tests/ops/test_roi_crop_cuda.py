"""The CUDA kernels through `cephray._core`, against the CPU's.

Needs neither TensorFlow nor Keras: on a GPU machine that has neither, build with CEPHRAY_TF=OFF
and run `pytest --noconftest -m gpu tests/ops/test_roi_crop_cuda.py`.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from cephray import _core
from tests.ops.cases import Array, assert_close, draw_case, draw_weights

HAS_KERNELS = bool(_core.build_info()["cuda_architectures"])
DTYPES = ("float16", "bfloat16", "float32", "float64")


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


needs_kernels = pytest.mark.skipif(not HAS_KERNELS, reason="built without CUDA (CEPHRAY_CUDA)")


@pytest.fixture(scope="module")
def torch() -> Any:
    if not HAS_KERNELS:
        pytest.skip("cephray._core was built without CUDA (CEPHRAY_CUDA)")
    torch = pytest.importorskip("torch", reason="no PyTorch, which holds the arrays on the GPU")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that PyTorch can use")
    return torch


class OnGpu:
    """A case as PyTorch's tensors, with results full of NaN."""

    def __init__(self, torch: Any, seed: int, dtype: str, skip: int = 0) -> None:
        self.torch = torch
        features, boxes, self.crop_size = draw_case(seed)
        self.boxes = torch.from_numpy(boxes).cuda()
        shape = (*boxes.shape[:2], *self.crop_size, sum(f.shape[3] for f in features))
        self.features = [self.take(torch.from_numpy(f), dtype, skip) for f in features]
        self.weights = self.take(torch.from_numpy(draw_weights(shape, "f4", seed)), dtype, skip)
        self.crops = torch.full_like(self.weights, float("nan"))
        self.gradients = [torch.full_like(f, float("nan")) for f in self.features]
        self.boxes_gradient = torch.full_like(self.boxes, float("nan"))

    def take(self, tensor: Any, dtype: str, skip: int) -> Any:
        """Put it `skip` values into a block, which breaks the alignment to 16 bytes."""
        block = self.torch.empty(
            tensor.numel() + skip, dtype=getattr(self.torch, dtype), device="cuda"
        )
        block[skip:] = tensor.flatten()
        return block[skip:].view(tensor.shape)

    def run(self, stream: int = 0) -> None:
        _core.roi_crop_cuda(self.features, self.boxes, self.crops, stream=stream)
        _core.roi_crop_grad_features_cuda(self.boxes, self.weights, self.gradients, stream=stream)
        _core.roi_crop_grad_boxes_cuda(
            self.features, self.boxes, self.weights, self.boxes_gradient, stream=stream
        )

    def results(self) -> list[Any]:
        return [self.crops, *self.gradients, self.boxes_gradient]


def to_numpy(tensor: Any) -> Array:
    """The values on the host; bfloat16 as ml_dtypes has it, which `_core` knows."""
    if str(tensor.dtype) != "torch.bfloat16":
        return np.asarray(tensor.cpu())
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy has no bfloat16 of its own")
    bits = np.asarray(tensor.view(sys.modules["torch"].int16).cpu())
    return np.asarray(bits.view(ml_dtypes.bfloat16))


@pytest.mark.gpu
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_the_cpu(torch: Any, dtype: str, skip: int) -> None:
    for seed in range(30):
        case = OnGpu(torch, seed, dtype, skip)
        case.run()
        torch.cuda.synchronize()
        features = [to_numpy(f) for f in case.features]
        boxes, weights = to_numpy(case.boxes), to_numpy(case.weights)
        wanted = [
            _core.roi_crop(features, boxes, case.crop_size),
            *_core.roi_crop_grad_features([f.shape for f in features], boxes, weights),
        ]
        for actual, expected in zip(case.results()[:-1], wanted, strict=True):
            np.testing.assert_array_equal(to_numpy(actual), expected)
        of_boxes = _core.roi_crop_grad_boxes(features, boxes, weights)
        assert_close(to_numpy(case.boxes_gradient), of_boxes, 1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_100_runs_give_the_same_bits(torch: Any, dtype: str) -> None:
    case = OnGpu(torch, 3, dtype)
    case.run()
    first = [result.clone() for result in case.results()]
    for _ in range(99):
        for result in case.results():
            result.fill_(float("nan"))
        case.run()
        for result, wanted in zip(case.results(), first, strict=True):
            assert torch.equal(result, wanted)


@pytest.mark.gpu
def test_boxes_that_are_not_finite_give_zeros(torch: Any) -> None:
    case = OnGpu(torch, 1, "float32")
    case.boxes[..., 1] = float("nan")
    case.run()
    assert not any(bool(result.any()) for result in case.results())


@pytest.mark.gpu
def test_many_levels_and_boxes(torch: Any) -> None:
    """More levels than a launch takes, more boxes than a word of the mask has bits."""
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((2, 9, 70, 32)).astype(np.float32) for _ in range(11)]
    boxes = rng.uniform(-0.2, 1.2, (2, 300, 11, 4)).astype(np.float32)
    wanted = _core.roi_crop(features, boxes, (3, 2))
    weights = draw_weights(wanted.shape, np.float32)
    on_gpu = [torch.from_numpy(f).cuda() for f in features]
    crops = torch.full(wanted.shape, float("nan"), device="cuda")
    _core.roi_crop_cuda(on_gpu, torch.from_numpy(boxes).cuda(), crops)
    np.testing.assert_array_equal(to_numpy(crops), wanted)
    gradients = [torch.full_like(f, float("nan")) for f in on_gpu]
    _core.roi_crop_grad_features_cuda(
        torch.from_numpy(boxes).cuda(), torch.from_numpy(weights).cuda(), gradients
    )
    exact = _core.roi_crop_grad_features([f.shape for f in features], boxes, weights)
    for actual, expected in zip(gradients, exact, strict=True):
        np.testing.assert_array_equal(to_numpy(actual), expected)


@pytest.mark.gpu
def test_runs_on_the_given_stream(torch: Any) -> None:
    case, wanted = OnGpu(torch, 2, "float32"), OnGpu(torch, 2, "float32")
    wanted.run()
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        case.run(stream.cuda_stream)
    stream.synchronize()
    for actual, expected in zip(case.results(), wanted.results(), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.gpu
def test_cupy_arrays(torch: Any) -> None:
    cupy = pytest.importorskip("cupy")
    features, boxes, crop_size = draw_case(5)
    wanted = _core.roi_crop(features, boxes, crop_size)
    crops = cupy.full(wanted.shape, cupy.nan, cupy.float32)
    _core.roi_crop_cuda([cupy.asarray(f) for f in features], cupy.asarray(boxes), crops)
    np.testing.assert_array_equal(cupy.asnumpy(crops), wanted)


@pytest.mark.gpu
def test_strided_tensors_are_refused(torch: Any) -> None:
    case = OnGpu(torch, 5, "float32")
    turned = case.crops.transpose(0, 1).contiguous().transpose(0, 1)
    if turned.is_contiguous():
        turned = torch.empty((*case.crops.shape[:-1], 2 * case.crops.shape[-1])).cuda()[..., ::2]
    with pytest.raises(ValueError, match="`crops` must be dense and row-major"):
        _core.roi_crop_cuda(case.features, case.boxes, turned)


@pytest.mark.gpu
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck"])
def test_compute_sanitizer_finds_nothing(torch: Any, tool: str) -> None:
    program = shutil.which("compute-sanitizer")
    if program is None:
        pytest.skip("compute-sanitizer is not on PATH")
    tests = "equals_the_cpu or many_levels or not_finite"
    pytest_command = [sys.executable, "-m", "pytest", "--noconftest", "-q", "-k", tests, __file__]
    result = subprocess.run(
        [program, "--tool", tool, "--error-exitcode", "9", *pytest_command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_is_as_fast_as_it_must_be(torch: Any, direction: str) -> None:
    """At B = 64: at least 3 times torchvision's roi_align, at least 70 % of the copy rate."""
    pytest.importorskip("torchvision")
    from cephray.benchmark import roi_crop
    from cephray.benchmark.roi_crop_cases import Case
    from cephray.benchmark.timing import FLOOR, build_subjects, measure

    case = Case(batch=64)
    subjects, _ = build_subjects(roi_crop._gpu_makers(case, direction))
    ratios = {r.subject: r.ratio_to_ours for r in measure({}, direction, subjects, seconds=3)}
    assert ratios["torchvision"] >= 3
    assert ratios[FLOOR] >= 0.7


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
