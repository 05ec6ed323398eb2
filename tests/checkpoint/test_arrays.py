"""Arrays that are written: the safetensors library reads them, and the digest is the file's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from cephray.checkpoint.arrays import write_arrays


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "kernel": rng.standard_normal((3, 4, 5)).astype(np.float32).transpose(2, 0, 1),
        "step": np.array(2**40 + 1),
        "seed": np.array([1, 2**32 - 1], np.uint32),
        "half": rng.standard_normal(7).astype(np.float16),
        "brain": rng.standard_normal(3).astype(ml_dtypes.bfloat16),
        "double": rng.standard_normal((2, 2)),
        "flags": np.array([True, False, True]),
        "big end": np.arange(5, dtype=">f4"),
        "empty": np.zeros((0, 2), np.float32),
        "größe": np.arange(3, dtype=np.uint8),
    }
    written = write_arrays(tmp_path / "file", arrays)
    content = (tmp_path / "file").read_bytes()
    assert written == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    read = load_file(tmp_path / "file")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read[name], array)


def test_a_type_that_the_format_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'a': safetensors has no type for complex128"):
        write_arrays(tmp_path / "file", {"a": np.zeros(1, complex)})
