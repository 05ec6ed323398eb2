"""The operation Cephray>AdamUpdate against NumPy, and on a GPU against the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from cephray.ops import load_operations

Array = NDArray[Any]

# One value, a chunk and one more or less, several chunks, none, two and more axes.
SHAPES = [(), (1,), (0,), (8191,), (8192,), (8193,), (90, 300), (3, 3, 8, 4), (2, 0)]
BETA_1, BETA_2 = 0.9, 0.999


def draw(seed: int, dtype: str, shapes: list[tuple[int, ...]]) -> dict[str, list[Array]]:
    rng = np.random.default_rng(seed)
    names = ("weights", "momentums", "velocities", "averages", "gradients")
    values = {
        name: [np.asarray(rng.standard_normal(s)).astype(dtype) for s in shapes] for name in names
    }
    values["velocities"] = [np.abs(value) for value in values["velocities"]]
    return values


def update(
    values: dict[str, list[Array]],
    device: str = "CPU",
    steps: int = 1,
    epsilon: float = 1e-7,
    kernel_decay: float = 0.0,
    clip_norm: float = math.inf,
    average_decay: float | None = None,
) -> dict[str, list[Array]]:
    """Run the operation on copies of the values; return the variables afterwards."""
    with tf.device(f"/{device}:0"):
        names = ["weights", "momentums", "velocities"]
        names += [] if average_decay is None else ["averages"]
        variables = {name: [tf.Variable(value) for value in values[name]] for name in names}
        gradients = [tf.constant(value) for value in values["gradients"]]
        handles = {name: [v.handle for v in of] for name, of in variables.items()}
        settings = (BETA_1, BETA_2, epsilon, kernel_decay, clip_norm, average_decay or 0.0)
        dtype = gradients[0].dtype
        for step in range(steps):
            load_operations().cephray_adam_update(
                **{"averages": [], **handles},
                gradients=gradients,
                learning_rate=tf.constant(0.01, dtype),
                step=tf.constant(step + 1, dtype),
                settings=[repr(setting) for setting in settings],
            )
        return {name: [v.numpy() for v in of] for name, of in variables.items()}


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped": {"clip_norm": 0.5},
    "not reached": {"clip_norm": 1e6},
    "decay": {"kernel_decay": 0.3},
    "average": {"average_decay": 0.05},
    "all": {"clip_norm": 3.0, "kernel_decay": 0.1, "average_decay": 0.99, "epsilon": 0.1},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIONS)
def test_equals_the_formulas_in_float64(name: str, dtype: str) -> None:
    options = OPTIONS[name]
    values = draw(1, dtype, SHAPES)
    actual = update(values, steps=3, **options)
    wide = {name: [v.astype(np.float64) for v in of] for name, of in values.items()}
    norm = math.sqrt(sum(float((g**2).sum()) for g in wide["gradients"]))
    scale = min(1.0, options.get("clip_norm", math.inf) / norm)
    rate, decay = float(np.asarray(0.01, dtype)), options.get("kernel_decay", 0.0)
    for index, gradient in enumerate(wide["gradients"]):
        g = gradient * scale
        w, m, v, a = (wide[k][index] for k in ("weights", "momentums", "velocities", "averages"))
        for t in (1, 2, 3):
            w = w * (1 - rate * decay) if w.ndim > 1 else w
            m = BETA_1 * m + (1 - BETA_1) * g
            v = BETA_2 * v + (1 - BETA_2) * g**2
            step = rate * math.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
            w = w - step * m / (np.sqrt(v) + options.get("epsilon", 1e-7))
            keep = min(options.get("average_decay", 0.0), t / (t + 9))
            a = keep * a + (1 - keep) * w
        wanted = {"weights": w, "momentums": m, "velocities": v, "averages": a}
        for kind, of in actual.items():
            tolerance = 1e-13 if dtype == "float64" else 2e-6
            np.testing.assert_allclose(
                of[index], wanted[kind], rtol=tolerance, atol=tolerance, err_msg=kind
            )


def test_a_tensor_that_was_read_before_keeps_its_values() -> None:
    values = draw(2, "float32", [(70, 70)])
    weights, momentum, velocity = (
        tf.Variable(values[kind][0]) for kind in ("weights", "momentums", "velocities")
    )
    before = weights.read_value()
    load_operations().cephray_adam_update(
        [weights.handle], [momentum.handle], [velocity.handle], [], values["gradients"],
        tf.constant(0.1), tf.constant(1.0), settings=["0.9", "0.999", "1e-7", "0", "inf", "0"],
    )  # fmt: skip
    np.testing.assert_array_equal(before, values["weights"][0])
    assert np.abs(weights.numpy() - values["weights"][0]).max() > 0.01


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_spoils_all_that_is_clipped_with_it(value: float) -> None:
    """As tf.clip_by_global_norm does: the loss is no number then, and the run must end."""
    values = draw(3, "float32", [(4,), (5, 5)])
    values["gradients"][0][2] = value
    clipped = update(values, clip_norm=1.0)
    assert all(np.isnan(weights).all() for weights in clipped["weights"])
    free = update(values)
    assert np.isfinite(free["weights"][1]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": ["0.9", "0.999", "1e-7", "0", "inf"]}, "`settings` must be six numbers"),
        (
            {"settings": ["0.9", "0.999", "1e-7", "0", "inf", "no"]},
            "`settings` must be six numbers",
        ),
        ({"averages": 2}, "`averages` must be none or 1; got 2"),
        ({"gradient": (3, 2)}, "does not fit a gradient of"),
        ({"step": [1.0]}, "`learning_rate` and `step` must be scalars"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    variables = [tf.Variable(tf.zeros((2, 3))) for _ in range(3)]
    handles = [variable.handle for variable in variables]
    with tf.device("/CPU:0"), pytest.raises(tf.errors.InvalidArgumentError, match=words):
        load_operations().cephray_adam_update(
            handles[:1],
            handles[1:2],
            handles[2:],
            [handles[0]] * change.get("averages", 0),
            [tf.zeros(change.get("gradient", (2, 3)))],
            tf.constant(0.1),
            tf.constant(change.get("step", 1.0)),
            settings=change.get("settings", ["0.9", "0.999", "1e-7", "0", "inf", "0"]),
        )


@pytest.fixture
def gpu() -> None:
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_gpu_gives_the_bits_of_the_cpu_each_time(name: str, dtype: str) -> None:
    shapes = [*SHAPES, (1000, 2000), *[(64,)] * 300]
    values = draw(4, dtype, shapes)
    wanted = update(values, "CPU", 5, **OPTIONS[name])
    for _ in range(5):
        actual = update(values, "GPU", 5, **OPTIONS[name])
        for kind, of in wanted.items():
            for one, other in zip(actual[kind], of, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=kind)
