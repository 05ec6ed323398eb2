"""Settings that a resumed run may change, and those that it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cephray.config import load_config
from cephray.errors import InputError
from cephray.training.compatibility import require_same_run

SAVED = load_config()


@pytest.mark.parametrize(
    "change",
    [
        "train.epochs=300", "train.num_workers=3", "train.use_gpu=true", "train.max_failures=9",
        "train.early_stop_patience=4", "train.cpus_per_worker=2", "train.wait_for_resources_s=5",
    ],
)  # fmt: skip
def test_what_does_not_change_the_results_may_change(change: str) -> None:
    require_same_run(load_config(overrides=[change]), SAVED, Path("config.yaml"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.seed=1", "train.seed=1: the run began with 0"),
        ("model.roi_pool_size=7", "model.roi_pool_size=7: the run began with 5"),
        ("augment.flip.enabled=true", "augment.flip.enabled=True: the run began with False"),
        ("train.global_batch_size=3", "train.global_batch_size=3"),
    ],
)
def test_what_changes_the_results_may_not(change: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        require_same_run(load_config(overrides=[change]), SAVED, Path("config.yaml"))
    assert "start a new run in another --output" in str(caught.value)
