"""What the tests of prediction share: a folder of films, and a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cephray.checkpoint import Checkpoint, Progress, find_checkpoint, save_checkpoint
from cephray.config import Config
from tests.prediction.folders import write_folder
from tests.tiny import use_tiny_backbones


@pytest.fixture(scope="package")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw 30 films, 5 of them broken. No test writes there."""
    return write_folder(tmp_path_factory.mktemp("films"), 30)


@pytest.fixture(scope="package")
def checkpoint(
    tmp_path_factory: pytest.TempPathFactory, small_config: Callable[..., Config]
) -> Checkpoint:
    """Save a network that was never trained; its landmarks hang on the film all the same."""
    return save_untrained(tmp_path_factory.mktemp("run") / "epoch-0001", small_config)


@pytest.fixture(scope="package")
def tiny_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, small_config: Callable[..., Config]
) -> Checkpoint:
    """Save one of the tiny backbone, for tests that use `tiny_backbones` and predict here."""
    folder = tmp_path_factory.mktemp("tiny") / "epoch-0001"
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_backbones(patch)
        return save_untrained(folder, small_config)


def save_untrained(folder: Path, small_config: Callable[..., Config]) -> Checkpoint:
    import keras

    from cephray.model import build_network

    keras.utils.set_random_seed(0)
    config = small_config("model.detection_scale=1.0", "model.spread=true", "loss.error=laplace",
                          "loss.unit=mm")  # fmt: skip
    progress = Progress().advance({"epoch": 1, "score": 1.0})
    save_checkpoint(folder, config, progress, build_network(config))
    return find_checkpoint(folder)
