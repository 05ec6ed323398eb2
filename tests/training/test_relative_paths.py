"""Relative paths mean the caller's folder, also on a cluster that was started in another one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cephray.cli.__main__ import main
from cephray.config import Config, dump_config
from tune.search import _parser
from tune.settings import settle


@pytest.fixture(scope="module")
def cluster_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start a cluster of two CPUs in an empty folder; come back."""
    import ray

    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    try:
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    finally:
        os.chdir(here)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def caller(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the caller's folder: it holds `films`."""
    folder = tmp_path_factory.mktemp("caller")
    (folder / "films").symlink_to(films)
    return folder


def test_train_then_predict(
    cluster_elsewhere: None,
    caller: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_config: Callable[..., Config],
) -> None:
    monkeypatch.chdir(caller)
    Path("small.yaml").write_text(dump_config(small_config("train.epochs=1")))
    assert main(["train", "--data", "films", "--output", "run", "--config", "small.yaml"]) == 0
    assert (caller / "run/epoch-0001/manifest.json").exists()
    predict = ["predict", "films", "--checkpoint", "run", "--output", "found"]
    assert main([*predict, "--num-workers", "1"]) == 0
    assert len(list((caller / "found").rglob("*.json"))) == 22


def test_search(caller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search hands its trials what `settle` makes of the options."""
    monkeypatch.chdir(caller)
    settings = settle(_parser().parse_args(["--data", "films", "--output", "search"]))
    assert settings.output == caller.resolve() / "search"
    assert Path(settings.search.data).is_absolute()
    assert Path(settings.search.data).samefile("films")
