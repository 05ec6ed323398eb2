"""Run pytest with the compiled part of another build: run_tests.py FOLDER PYTEST_OPTIONS…."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def use_build(folder: Path) -> None:
    """Make `cephray._core` that of a build folder; the op library is found beside it."""
    (library,) = folder.resolve().glob("_core.*.so")
    spec = importlib.util.spec_from_file_location("cephray._core", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["cephray._core"] = module
    import cephray

    cephray._core = module


if __name__ == "__main__":
    use_build(Path(sys.argv[1]))
    sys.exit(pytest.main(sys.argv[2:]))
