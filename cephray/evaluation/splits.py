"""Names of the films that a checkpoint can be measured on."""

from __future__ import annotations

VALIDATION = "validation"
"""The films that a checkpoint's run held out."""

SPLITS = ("train", "test1", "test2", "all", VALIDATION)
