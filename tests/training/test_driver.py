"""Training under Ray on this machine: workers agree, wrong input ends in one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from cephray.checkpoint import Checkpoint
from cephray.config import Config
from cephray.data import write_dataset
from cephray.errors import InputError, RunError
from cephray.model import build_network
from cephray.training.driver import launch as launch_plan
from cephray.training.plan import plan_run

MakeConfig = Callable[..., Config]


def launch(
    data: Path,
    output: Path,
    config: Config,
    resume: bool = False,
    show: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    return launch_plan(plan_run(data, output, config, resume, show), show=show)


def weights_of(checkpoint: Checkpoint) -> dict[str, NDArray[Any]]:
    return dict(load_file(checkpoint.file("weights.safetensors")))


def flat(network: keras.Model) -> NDArray[Any]:
    return np.concatenate([v.numpy().ravel() for v in network.trainable_variables])


def relative_distance(vector: NDArray[Any], oracle: NDArray[Any]) -> float:
    return float(np.linalg.norm(vector - oracle) / np.linalg.norm(oracle))


@pytest.mark.slow
def test_two_workers_end_in_the_weights_of_one(
    cluster: None, films: Path, tmp_path: Path, small_config: MakeConfig
) -> None:
    """Three steps of 4, 4 and 3 films: shares of 2 + 2, 2 + 2 and 2 + 1.

    The gradient jumps where an activation crosses 0, and the last bit of an image can make one do
    so (in one process: up to 0.6 % of its length here); Adam then makes a whole step of a sign.
    So steps are small, values are compared tightly, and gradients and the way that the weights
    have gone by their whole length.
    """
    best, ends, momenta, rows = {}, {}, {}, {}
    for workers in (1, 2):
        config = small_config(
            f"train.num_workers={workers}",
            "train.global_batch_size=5",
            "train.epochs=1",
            "train.seed=1",
            "train.learning_rate=1e-6",
            "train.clip_norm=1.0",
            "data.validation=test1",
            "augment.flip.enabled=true",
            "augment.jitter.enabled=true",
        )
        best[workers] = launch(films, tmp_path / f"{workers}", config)
        ends[workers] = weights_of(best[workers])
        moments = load_file(best[workers].file("optimizer.safetensors"))
        momenta[workers] = np.concatenate(
            [moments[name].ravel() for name in sorted(moments) if name.endswith("_momentum")]
        )
        rows[workers] = best[workers].progress.history[-1]
    for name, one in ends[1].items():  # batch normalisation's statistics are among them
        scale = max(1.0, float(np.abs(one).max()))
        np.testing.assert_allclose(ends[2][name], one, rtol=0, atol=1e-5 * scale, err_msg=name)
    assert relative_distance(momenta[2], momenta[1]) < 0.02
    keras.utils.set_random_seed(config.train.seed)
    network = build_network(config)
    start = flat(network)
    best[1].load_weights(network)
    way = flat(network) - start
    assert np.sqrt(np.mean(np.square(way))) > config.train.learning_rate
    best[2].load_weights(network)
    assert relative_distance(flat(network) - start, way) < 0.05
    for name in ("loss", "train_refined_mre_mm", "coarse_mre_mm", "refined_mre_mm"):
        assert rows[2][name] == pytest.approx(rows[1][name], rel=1e-5)
    assert rows[1]["exchange_percent"] == 0
    assert rows[2]["exchange_percent"] > 0


@pytest.mark.slow
def test_a_run_that_ended_goes_on_where_it_was(
    cluster: None, films: Path, tmp_path: Path, small_config: MakeConfig
) -> None:
    lines: list[str] = []
    whole = launch(films, tmp_path / "whole", small_config("train.epochs=3"), show=lines.append)
    launch(films, tmp_path / "parts", small_config("train.epochs=2"), show=lines.append)
    with pytest.raises(InputError, match="holds another run"):
        launch(films, tmp_path / "parts", small_config("train.epochs=3"))
    # The last checkpoint is damaged: the run goes on from the one before.
    damaged = tmp_path / "parts/epoch-0002/weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    parts = launch(
        films, tmp_path / "parts", small_config("train.epochs=3"), resume=True, show=lines.append
    )
    assert "resuming after epoch 1" in lines
    assert [row["epoch"] for row in parts.progress.history] == [1, 2, 3]
    weights = "weights.safetensors"
    assert parts.file(weights).read_bytes() == whole.file(weights).read_bytes()
    history = (tmp_path / "parts/history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "1", "2", "3"]
    assert list((tmp_path / "parts/tensorboard").iterdir())

    write_dataset(tmp_path / "others", 4, seed=9, size_px=(192, 240))
    longer = small_config("train.epochs=4")
    with pytest.raises(InputError, match="not the films that the run"):
        launch(tmp_path / "others", tmp_path / "parts", longer, resume=True)


def test_more_workers_than_the_cluster_holds_end_in_one_line(
    cluster: None, films: Path, tmp_path: Path, small_config: MakeConfig
) -> None:
    started = time.monotonic()
    config = small_config("train.num_workers=3", "train.wait_for_resources_s=2")
    with pytest.raises(
        RunError, match=r"asked for 3 workers .* the cluster has 1 node with 2 CPU"
    ):
        launch(films, tmp_path / "run", config)
    assert time.monotonic() - started < 30
    assert not (tmp_path / "run").exists()


def test_a_film_that_cannot_be_decoded_leaves_nothing_behind(
    cluster: None, tmp_path: Path, small_config: MakeConfig
) -> None:
    data = tmp_path / "films"
    write_dataset(data, 4, size_px=(192, 240))
    film = next((data / "Dataset/Training").iterdir())
    film.write_bytes(film.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{film.name}.* cut off"):
        launch(data, tmp_path / "run", small_config())
    assert not (tmp_path / "run").exists()


def test_an_output_folder_with_something_else(tmp_path: Path, small_config: MakeConfig) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty \(holds notes.txt\)"):
        launch(tmp_path, tmp_path, small_config())
    with pytest.raises(InputError, match="holds no run to resume"):
        launch(tmp_path, tmp_path, small_config(), resume=True)
    with pytest.raises(InputError, match="is a file"):
        launch(tmp_path, tmp_path / "notes.txt", small_config())
