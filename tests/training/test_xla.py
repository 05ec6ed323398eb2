"""What XLA is told by the environment."""

from __future__ import annotations

import pytest

from cephray.training.xla import set_xla_flags

PRODUCTS = "--xla_gpu_enable_triton_gemm"


@pytest.mark.parametrize(
    ("before", "deterministic", "after"),
    [
        ("", True, f"{PRODUCTS}=false"),
        ("", False, ""),
        ("--xla_dump_to=/tmp", True, f"--xla_dump_to=/tmp {PRODUCTS}=false"),
        (f"{PRODUCTS}=true", True, f"{PRODUCTS}=true"),
    ],
)
def test_matrix_products_of_deterministic_steps_are_cublas(
    before: str, deterministic: bool, after: str
) -> None:
    environment = {"XLA_FLAGS": before}
    set_xla_flags(deterministic, environment)
    assert environment == {"XLA_FLAGS": after}
