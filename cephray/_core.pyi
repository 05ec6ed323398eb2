"""The ROI crop's kernels without TensorFlow (csrc/python/).

Arrays are float16, bfloat16 (ml_dtypes), float32 or float64, all of one kind; boxes are taken as
float32. Shapes as in `cephray.ops.roi_crop`; wrong ones raise ValueError. `threads` is at least 1
and changes no bit of the result.

The functions ending in `_cuda` take arrays in a GPU's memory that offer DLPack or
`__cuda_array_interface__` (CuPy, PyTorch), dense, all on one device, and write into arrays of the
caller. They queue work on `stream` (a cudaStream_t as a number, 0 the default one) and return; the
arrays must live until it has run.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

class BuildInfo(TypedDict):
    """What this build contains; None stands for "not built"."""

    version: str
    compiler: str
    cpu_instructions: str
    tensorflow: str | None
    op_library: str | None
    cuda_architectures: list[str]

def build_info() -> BuildInfo: ...
def roi_crop(
    features: Sequence[NDArray[Any]],
    boxes: NDArray[np.floating[Any]],
    crop_size: tuple[int, int],
    threads: int = 1,
) -> NDArray[Any]: ...
def roi_crop_grad_features(
    feature_shapes: Sequence[Sequence[int]],
    boxes: NDArray[np.floating[Any]],
    crops_gradient: NDArray[Any],
    threads: int = 1,
) -> list[NDArray[Any]]: ...
def roi_crop_grad_boxes(
    features: Sequence[NDArray[Any]],
    boxes: NDArray[np.floating[Any]],
    crops_gradient: NDArray[Any],
    threads: int = 1,
) -> NDArray[np.float32]: ...
def roi_crop_cuda(features: Sequence[Any], boxes: Any, crops: Any, stream: int = 0) -> None: ...
def roi_crop_grad_features_cuda(
    boxes: Any, crops_gradient: Any, features_gradient: Sequence[Any], stream: int = 0
) -> None: ...
def roi_crop_grad_boxes_cuda(
    features: Sequence[Any], boxes: Any, crops_gradient: Any, boxes_gradient: Any, stream: int = 0
) -> None: ...
