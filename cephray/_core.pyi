"""The ROI crop's CPU kernels on NumPy arrays, without TensorFlow (csrc/bindings.cc).

Arrays are float16, bfloat16 (ml_dtypes), float32 or float64, all of one kind; boxes are taken as
float32. Shapes as in `cephray.ops.roi_crop`; wrong ones raise ValueError. `threads` is at least 1
and changes no bit of the result.
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
