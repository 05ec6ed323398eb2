"""The network and the crop on another Keras backend than TensorFlow: JAX.

The other backend runs in a process of its own, for Keras has one backend in a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.config import Config, dump_config
from cephray.model import build_network, predict
from cephray.ops import RoiCrop

pytestmark = pytest.mark.usefixtures("full_float32")
Array = NDArray[Any]
MakeConfig = Callable[..., Config]

pytest.importorskip("jax", reason="no JAX: a second backend of Keras, of the extra dev")


def on_jax(code: str, folder: Path, **arrays: Array) -> dict[str, Array]:
    """Run code on JAX; it reads the arrays in `given`, and puts its own into `result`."""
    np.savez(folder / "given.npz", allow_pickle=False, **arrays)
    program = (
        "import sys\nimport numpy as np\ngiven = dict(np.load('given.npz'))\nresult = {}\n"
        + code
        + "\nassert keras.backend.backend() == 'jax'\nassert 'tensorflow' not in sys.modules\n"
        "np.savez('result.npz', **result)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",  # it compiles sooner
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return dict(np.load(folder / "result.npz"))


def test_the_layer_crops_and_differentiates_as_the_operation_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fine = rng.normal(size=(2, 9, 7, 4)).astype(np.float32)
    rough = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    boxes = rng.uniform(-0.3, 1.3, (2, 6, 2, 4)).astype(np.float32)
    boxes[0, 1, 0, 2] = np.nan
    weight = rng.normal(size=(2, 6, 3, 5, 7)).astype(np.float32)
    code = """
import jax
import keras
from cephray.ops import RoiCrop

layer = RoiCrop((3, 5))
features = [keras.Input((None, None, 4)), keras.Input((None, None, 3))]
model = keras.Model([*features, b := keras.Input((6, 2, 4))], layer(features, b))
inputs = [given["fine"], given["rough"], given["boxes"]]
result["crops"] = np.asarray(model(inputs))
gradient = jax.grad(lambda f, r: (layer([f, r], inputs[2]) * given["weight"]).sum(), (0, 1))
result["fine"], result["rough"] = map(np.asarray, gradient(*inputs[:2]))
"""
    result = on_jax(code, tmp_path, fine=fine, rough=rough, boxes=boxes, weight=weight)
    import tensorflow as tf

    features = [tf.constant(fine), tf.constant(rough)]
    with tf.GradientTape() as tape:
        tape.watch(features)
        crops = RoiCrop((3, 5))(features, boxes)
        total = tf.reduce_sum(crops * weight)
    expected = [crops, *tape.gradient(total, features)]
    for name, value in zip(("crops", "fine", "rough"), expected, strict=True):
        assert np.abs(value).max() > 1
        np.testing.assert_allclose(result[name], value, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.usefixtures("tiny_backbones")
def test_the_network_finds_the_same_and_learns(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config("model.spread=true", "loss.error=laplace", "loss.unit=mm")
    keras.utils.set_random_seed(0)
    network = build_network(config)
    rng = np.random.default_rng(1)
    image = rng.random((2, 96, 64, 3), np.float32)
    truth = rng.uniform(0.2, 0.8, (2, 19, 2)).astype(np.float32)
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    code = """
import jax
import keras
from pathlib import Path
from cephray.config import load_config
from cephray.losses import two_stage_loss
from cephray.model import build_network, predict
from tests.tiny import use_tiny_backbones

use_tiny_backbones()
config = load_config(Path("config.yaml"))
network = build_network(config)
for variable in network.variables:
    if variable.path in given:
        variable.assign(given[variable.path])

def compute(trainable, rest):
    with keras.StatelessScope([*zip(network.trainable_variables, trainable),
                               *zip(network.non_trainable_variables, rest)]):
        found = predict(network, given["image"])
        extent = np.full((2, 2), 200, "float32")
        loss = two_stage_loss(found.coarse, found.passes, given["truth"], config.loss,
                              extent_mm=extent, spread=found.spread).total
    return loss, (found.coarse, found.passes, found.spread)

weights = [v.value for v in network.trainable_variables]
rest = [v.value for v in network.non_trainable_variables]
step = jax.jit(jax.value_and_grad(compute, has_aux=True))
(before, found), gradients = step(weights, rest)
result.update(zip(("coarse", "passes", "spread"), found))
norm = float(sum((g ** 2).sum() for g in gradients)) ** 0.5
(after, _), _ = step([w - 2e-4 / norm * g for w, g in zip(weights, gradients)], rest)
result.update(before=before, after=after, norm=norm)
"""
    weights = {variable.path: np.asarray(variable.numpy()) for variable in network.variables}
    result = on_jax(code, tmp_path, image=image, truth=truth, **weights)
    expected = predict(network, image)
    for name in ("coarse", "passes", "spread"):
        value = np.asarray(getattr(expected, name))
        scale = np.abs(value).max()
        np.testing.assert_allclose(result[name], value, rtol=0, atol=1e-4 * scale, err_msg=name)
    # A step of length 2e-4 against the gradient lowers the loss by 2e-4 times its norm.
    assert result["norm"] > 1
    fall = (result["before"] - result["after"]) / (2e-4 * result["norm"])
    assert fall == pytest.approx(1, abs=0.1)
