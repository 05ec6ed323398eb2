"""Whether XLA compiles a run, and its settings, which it reads from the environment.

Workers ask before they import TensorFlow: this file knows none, and no network.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from cephray.config import Config
from cephray.data import steps_per_epoch

# A compilation takes one or two minutes, and spares 20 to 100 ms of a step on one H200.
_LEAST_STEPS = 3000

_VARIABLE = "XLA_FLAGS"
_TRITON_PRODUCTS = "--xla_gpu_enable_triton_gemm"


def wants_xla(config: Config, films: int, has_gpu: bool) -> bool:
    """Return whether XLA is to compile a run's steps, as `train.jit` says.

    Args:
        config: of the run.
        films: number of training films.
        has_gpu: whether the run computes on GPUs.
    """
    if config.train.jit != "auto":
        return config.train.jit == "on"
    # All steps of the run count: after an interruption, the steps that are left compute the same.
    steps = config.train.epochs * steps_per_epoch(films, config.train.global_batch_size)
    return has_gpu and steps >= _LEAST_STEPS


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
