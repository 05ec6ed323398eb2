"""The CUDA kernels through `cephray._core`, against the CPU's.

Needs neither TensorFlow nor Keras: on a GPU machine that has neither, build with CEPHRAY_TF=OFF
and run `pytest --noconftest -m gpu tests/ops/test_roi_crop_cuda.py`.
"""

from __future__ import annotations

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
