"""Settings of XLA, which it reads from the environment before TensorFlow compiles anything.

This file knows no network.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_VARIABLE = "XLA_FLAGS"
_TRITON_PRODUCTS = "--xla_gpu_enable_triton_gemm"


def set_xla_flags(deterministic: bool, environment: MutableMapping[str, str] = os.environ) -> None:
    """Choose what computes matrix products on a GPU.

    XLA writes kernels of its own for them (with Triton), times several and takes the fastest.
    With deterministic operations it times nothing, since a choice by time may change, and takes
    a kernel that can be a hundred times slower: one took 56 ms of a step of 99 ms. NVIDIA's
    library (cuBLAS) chooses well without timing, and is taken then.

    Call it before TensorFlow compiles anything. A flag that `XLA_FLAGS` has already stays.

    Args:
        deterministic: whether operations are deterministic.
        environment: to read and change.
    """
    flags = environment.get(_VARIABLE, "")
    if deterministic and _TRITON_PRODUCTS not in flags:
        environment[_VARIABLE] = f"{flags} {_TRITON_PRODUCTS}=false".strip()
