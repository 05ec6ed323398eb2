"""The ROI crop's subjects on PyTorch's tensors: torchvision's roi_align, and our CUDA kernels.

roi_align takes a sample in the middle of each of its bins and knows no corners, so its boxes are
made such that its samples lie where ours do. What differs: it works on [B, C, H, W], gives
[B·K, C, S, S], and clamps samples outside the map to its border.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from cephray import _core
from cephray.benchmark.roi_crop_cases import Array, Case, draw_boxes
from cephray.benchmark.timing import Subject

Tensor = Any

SECONDS_PER_TURN = 0.02
GRAPH_CALLS = 20  # in one captured graph
HAS_ROI_ALIGN = importlib.util.find_spec("torchvision") is not None


def roi_align_boxes(case: Case, boxes: Array) -> list[Array]:
    """[B·K, 5] for each level, (image, x1, y1, x2, y2) in cells, for `aligned=True`."""
    images = np.repeat(np.arange(case.batch, dtype=np.float32), case.landmarks)[:, None]
    converted = []
    for level, size in enumerate(case.level_sizes):
        ends = boxes[:, :, level].reshape(-1, 2, 2) * (np.array(size, np.float32) - 1)  # (y, x)
        bins = (ends[:, 1] - ends[:, 0]) / (case.crop_size - 1)
        start = ends[:, 0] - bins / 2 + 0.5
        corners = np.concatenate([start, start + case.crop_size * bins], -1)[:, [1, 0, 3, 2]]
        converted.append(np.concatenate([images, corners], -1).astype(np.float32))
    return converted


class Inputs:
    """The tensors of a case on a device, channels last; roi_align gets its own layout."""

    def __init__(self, case: Case, rng: np.random.Generator, device: str) -> None:
        self.case = case
        self.device = device
        dtype = getattr(torch, case.dtype)
        torch.manual_seed(int(rng.integers(2**31)))
        boxes = draw_boxes(case, rng)
        self.boxes = torch.from_numpy(boxes).to(device)
        self.features = [
            torch.randn(shape, device=device).to(dtype) for shape in case.feature_shapes
        ]
        self.weights = torch.randn(case.crops_shape, device=device).to(dtype)
        self.align_boxes = [
            torch.from_numpy(b).to(device=device, dtype=dtype)
            for b in roi_align_boxes(case, boxes)
        ]

    def timed(self, run: Callable[[], object]) -> Subject:
        """Time calls on the device: with its own events on a GPU."""
        on_gpu = self.device != "cpu"

        def seconds(repeats: int) -> float:
            if not on_gpu:
                begin = time.perf_counter()
                for _ in range(repeats):
                    run()
                return (time.perf_counter() - begin) / repeats
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(repeats):
                run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3 / repeats

        seconds(1)
        repeats = int(np.clip(SECONDS_PER_TURN / seconds(3), 1, 50))
        return lambda: seconds(repeats)


def roi_align_subject(inputs: Inputs, direction: str) -> Subject:
    """One roi_align for each level, then concat along the channels; or its feature gradients."""
    from torchvision.ops import roi_align

    size = inputs.case.crop_size
    forward = direction == "forward"
    features = [
        feature.permute(0, 3, 1, 2).contiguous().requires_grad_(not forward)
        for feature in inputs.features
    ]
    weights = inputs.weights.flatten(0, 1).permute(0, 3, 1, 2).contiguous()

    def crop() -> Tensor:
        levels = [
            roi_align(feature, boxes, size, sampling_ratio=1, aligned=True)
            for feature, boxes in zip(features, inputs.align_boxes, strict=True)
        ]
        return torch.cat(levels, 1)

    if forward:
        return inputs.timed(crop)
    crops = crop()
    return inputs.timed(lambda: torch.autograd.grad(crops, features, weights, retain_graph=True))


def cuda_subject(inputs: Inputs, direction: str, in_graph: bool = False) -> Subject:
    """Our CUDA kernels through `cephray._core`, on PyTorch's current stream.

    Args:
        inputs: on a GPU.
        direction: "forward" or "backward".
        in_graph: time the call within a captured graph, see `captured`.

    Raises:
        RuntimeError: the calls cannot be captured.
    """
    if direction == "forward":
        crops = torch.empty_like(inputs.weights)

        def run(stream: int) -> None:
            _core.roi_crop_cuda(inputs.features, inputs.boxes, crops, stream=stream)
    else:
        gradients = [torch.empty_like(feature) for feature in inputs.features]

        def run(stream: int) -> None:
            _core.roi_crop_grad_features_cuda(
                inputs.boxes, inputs.weights, gradients, stream=stream
            )

    return captured(inputs, run) if in_graph else inputs.timed(partial(run, _current_stream()))


def cuda_copying(inputs: Inputs, byte_count: int, in_graph: bool = False) -> Subject:
    """Move `byte_count` bytes within the GPU's memory: copy half of them."""
    source = torch.ones(byte_count // 2, dtype=torch.uint8, device=inputs.device)
    target = torch.zeros_like(source)

    if in_graph:
        return captured(inputs, lambda stream: target.copy_(source))
    return inputs.timed(lambda: target.copy_(source))


def captured(inputs: Inputs, run: Callable[[int], object]) -> Subject:
    """Time calls that were captured into a CUDA graph, as a compiled network makes them.

    The graph holds `GRAPH_CALLS` calls, one after another, so that what its start costs hardly
    counts. A call outside a graph costs its launch from Python too, which is most of the time of
    a few films.

    Args:
        inputs: on a GPU.
        run: makes a call on a CUDA stream, which is PyTorch's current one.
    """
    warm_up = torch.cuda.Stream()  # the default stream cannot be captured
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        run(_current_stream())
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(GRAPH_CALLS):
            run(_current_stream())
    replays = inputs.timed(graph.replay)
    return lambda: replays() / GRAPH_CALLS


def peak_bytes(subject: Subject) -> int:
    """Return what PyTorch allocates on the GPU at most during one turn, beyond what it held."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    subject()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before)


def check_cuda(case: Case, rng: np.random.Generator) -> None:
    """Compare the CUDA kernels with the CPU's on one film.

    Raises:
        AssertionError: they differ by more than rounding.
    """
    inputs = Inputs(case, rng, "cuda")
    # float32 holds every bfloat16; NumPy has no bfloat16 of its own.
    features = [feature.float().cpu().numpy() for feature in inputs.features]
    boxes, weights = inputs.boxes.cpu().numpy(), inputs.weights.float().cpu().numpy()
    size = (case.crop_size, case.crop_size)
    crops = torch.full_like(inputs.weights, float("nan"))
    _core.roi_crop_cuda(inputs.features, inputs.boxes, crops, stream=_current_stream())
    gradients = [torch.full_like(feature, float("nan")) for feature in inputs.features]
    _core.roi_crop_grad_features_cuda(
        inputs.boxes, inputs.weights, gradients, stream=_current_stream()
    )
    torch.cuda.synchronize()
    shapes = [feature.shape for feature in features]
    wanted = _core.roi_crop_grad_features(shapes, boxes, weights)
    _require_close([crops], [_core.roi_crop(features, boxes, size)], case, "forward")
    _require_close(gradients, wanted, case, "backward")


def _current_stream() -> int:
    return int(torch.cuda.current_stream().cuda_stream)


def _require_close(
    actual: Sequence[Tensor], wanted: Sequence[Array], case: Case, direction: str
) -> None:
    unit = 2.0**-8 if case.dtype == "bfloat16" else 1e-6
    for ours, exact in zip(actual, wanted, strict=True):
        error = np.abs(ours.float().cpu().numpy() - exact)
        if not (error <= unit * np.abs(exact) + 1e-5 * np.abs(exact).max()).all():
            raise AssertionError(f"{case}, {direction} on CUDA: off by {error.max():.3g}")
