"""A SavedModel gives the numbers of its checkpoint, in a process that knows no cephray."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cephray.checkpoint.export import DESCRIPTION, export_model
from cephray.checkpoint.store import Progress, open_checkpoint
from cephray.checkpoint.writing import save_checkpoint
from cephray.config import Config
from cephray.errors import InputError
from cephray.model import build_network, predict, to_input

SERVE = """
import sys
sys.modules["cephray"] = sys.modules["keras"] = None  # neither can be imported
import numpy as np
import tensorflow as tf

folder, films, results = sys.argv[1:]
serve = tf.saved_model.load(folder).signatures["serving_default"]
outputs = serve(image=tf.constant(np.load(films)))
np.savez(results, **{name: value.numpy() for name, value in outputs.items()})
"""


@pytest.mark.usefixtures("tiny_backbones")
@pytest.mark.parametrize("spread", [False, True])
def test_a_saved_model_gives_the_same_numbers(
    spread: bool, small_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = small_config("model.refinement_passes=2", "model.offset_unit=window")
    if spread:
        config = small_config("model.spread=true", "loss.error=laplace", "loss.unit=mm")
    network = build_network(config)
    save_checkpoint(tmp_path / "checkpoint", config, Progress(), network)
    export_model(open_checkpoint(tmp_path / "checkpoint"), tmp_path / "model")

    films = np.random.default_rng(0).integers(0, 256, (3, 96, 64), np.uint8)
    np.save(tmp_path / "films.npy", films)
    paths = [str(tmp_path / name) for name in ("model", "films.npy", "served.npz")]
    subprocess.run([sys.executable, "-c", SERVE, *paths], check=True, cwd=tmp_path)
    served = np.load(paths[2])

    expected = predict(network, to_input(films))
    np.testing.assert_allclose(served["coarse"], expected.coarse, atol=1e-5)
    np.testing.assert_allclose(served["refined"], expected.refined, atol=1e-5)
    assert ("spread" in served) == spread
    if expected.spread is not None:
        np.testing.assert_allclose(served["spread"], expected.spread[:, -1], rtol=1e-4)
    description = json.loads((tmp_path / "model" / DESCRIPTION).read_text())
    assert description["landmarks"][0] == "Sella"
    assert description["image"]["shape"] == ["films", 96, 64]


def test_a_folder_that_holds_something_is_left_alone(
    small_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = small_config()
    save_checkpoint(tmp_path / "checkpoint", config, Progress(), build_network(config))
    with pytest.raises(InputError, match="not an empty folder"):
        export_model(open_checkpoint(tmp_path / "checkpoint"), tmp_path / "checkpoint")
    assert open_checkpoint(tmp_path / "checkpoint").progress.epoch == 0
