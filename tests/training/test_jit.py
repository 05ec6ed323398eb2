"""Steps compiled by XLA against the plain ones, and which batches are compiled."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from cephray.config import Config, LossConfig, load_config
from cephray.data import Films, FilmTable
from cephray.losses import count_visible
from cephray.model import (
    CompiledStep,
    Jit,
    LandmarkDetection,
    RefinementHeads,
    WindowCrop,
    build_network,
    build_predict_step,
)
from cephray.model.network import Move
from cephray.training.batch_norm import fused_batch_norm
from cephray.training.clone import replace_layers
from cephray.training.jit import choose_jit, usual_sizes
from cephray.training.loop import train
from cephray.training.max_pool import composed_max_pool
from cephray.training.optimizer import DistributedAdam
from cephray.training.step import build_train_step
from tests.devices import hide_gpus, on_cpu
from tests.training.test_loop import FolderContext

pytestmark = pytest.mark.usefixtures("full_float32")
K, B, H, W = 5, 4, 24, 16
MakeConfig = Callable[..., Config]
MakeTable = Callable[[int], FilmTable]


def tiny_network(policy: str = "float32") -> keras.Model:
    """Build a network with one layer of each kind that the backbones and heads have."""
    keras.utils.set_random_seed(3)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    image = keras.Input((H, W, 3), name="image")
    first_points = keras.Input((K, 2), name="first_points", optional=True)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    coarse = LandmarkDetection(K, scale=0.1, name="detection")(x)
    crop = WindowCrop([4], [3], (H, W), 3, differentiable=True, name="crop")
    output = RefinementHeads(4, 6, 2, name="refinement")(crop([x], coarse))
    passes = Move((1.0, 1.0), detach=False, name="move")(coarse, output)[:, None]
    keras.config.set_dtype_policy(before)
    outputs = {"coarse": coarse, "passes": passes}
    return keras.Model({"image": image, "first_points": first_points}, outputs)


def draw_batch(films: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(films)
    truth = rng.uniform(0.2, 0.8, (films, K, 2)).astype(np.float32)
    truth[0, 3] = truth[-1, :2] = np.nan
    image = rng.uniform(size=(films, H, W, 3)).astype(np.float32)
    extent_mm = rng.uniform(100, 200, (films, 2)).astype(np.float32)
    counts = np.asarray(count_visible(truth))
    return image, truth, np.full_like(truth, np.nan), extent_mm, counts, np.float32(1)


def prepare(
    jit: Jit | None, policy: str = "float32", parts: int = 1, **options: Any
) -> tuple[keras.Model, Any]:
    rules = [fused_batch_norm, *([composed_max_pool] if jit is not None else [])]
    model = replace_layers(tiny_network(policy), *rules)
    # With Adam's usual epsilon, the sign of a gradient that is all rounding moves a weight.
    optimizer = DistributedAdam(1e-1, epsilon=1.0, **options)
    optimizer.build(model.trainable_variables)
    strategy = tf.distribute.get_strategy()
    return model, build_train_step(model, optimizer, LossConfig(), strategy, parts, jit)


def only(*sizes: int, lines: list[str] | None = None) -> Jit:
    return Jit(frozenset(sizes), B, (lines if lines is not None else []).append)


# Tolerance, relative to the largest value of a tensor, and the options of the step. The plain step
# in bfloat16 is as far from that in float32 as the compiled one: rounding moves maxima of windows.
CASES: dict[str, tuple[float, dict[str, Any]]] = {
    "plain": (1e-5, {}),
    "in parts, clipped and averaged": (
        1e-5,
        {"parts": 2, "sum_clip_norm": 0.1, "kernel_decay": 0.1, "average_decay": 0.9},
    ),
    "bfloat16 in parts": (0.2, {"policy": "mixed_bfloat16", "parts": 2}),
}


@pytest.mark.parametrize("name", CASES)
def test_three_compiled_steps_end_where_plain_ones_in_float32_do(name: str) -> None:
    tolerance, options = CASES[name]
    tf.config.experimental.enable_op_determinism()  # as runs do; XLA refuses more then
    ends = []
    for jit, policy in ((None, {"policy": "float32"}), (only(B), {})):
        with on_cpu() if jit is None else nullcontext():
            model, step = prepare(jit, **{**options, **policy})
            start = [variable.numpy() for variable in model.variables]
            sums = [np.asarray(step(*draw_batch(B))) for _ in range(3)]
            moved = [v.numpy() - s for v, s in zip(model.variables, start, strict=True)]
        ends.append((np.stack(sums), moved))
    (plain_sums, plain), (compiled_sums, compiled) = ends
    np.testing.assert_allclose(compiled_sums, plain_sums, rtol=min(tolerance, 1e-2))
    assert max(float(np.abs(change).max()) for change in plain) > 1e-2
    for change, wanted in zip(compiled, plain, strict=True):
        largest = float(np.abs(wanted).max())
        np.testing.assert_allclose(change, wanted, rtol=0, atol=tolerance * largest)


def steps_of_a_worker(
    rank: int, ports: tuple[int, int], sizes: tuple[int, ...]
) -> tuple[list[list[Any]], list[str]]:
    """Train without XLA and with it; return the weights' changes of both, and XLA's lines."""
    workers = [f"127.0.0.1:{port}" for port in ports]
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
    )
    hide_gpus()  # two workers cannot share one
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    ends: list[list[Any]] = []
    lines: list[str] = []
    for jit in (None, only(2, lines=lines)):
        with strategy.scope():
            model, step = prepare(jit, average_decay=0.9)
        start = [variable.numpy() for variable in model.variables]
        for films in sizes:
            step(*draw_batch(films))
        ends.append([v.numpy() - s for v, s in zip(model.variables, start, strict=True)])
    return ends, lines


def test_workers_whose_batches_differ_in_size_compile_and_exchange() -> None:
    """One worker runs the plain step where the other runs the compiled one."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = tuple(one.getsockname()[1] for one in sockets)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        sizes = ((2, 2, 3), (3, 2, 2))
        results = list(pool.map(steps_of_a_worker, range(2), [ports] * 2, sizes))
    for (plain, compiled), lines in results:
        assert len(lines) == 2
        for change, wanted in zip(compiled, plain, strict=True):
            largest = float(np.abs(wanted).max())
            # The weights' own resolution is 3e-8.
            np.testing.assert_allclose(change, wanted, rtol=0, atol=1e-5 * largest + 3e-8)
    kernels = [compiled[0] for (_, compiled), _ in results]
    assert np.abs(kernels[0]).max() > 1e-4
    np.testing.assert_array_equal(kernels[0], kernels[1])


def test_the_validation_step_is_compiled_for_its_batch_size() -> None:
    lines: list[str] = []
    with on_cpu():
        plain = build_predict_step(tiny_network())
    step = build_predict_step(tiny_network(), only(lines=lines))
    assert isinstance(step, CompiledStep)
    for films, compiled in ((3, 0), (B, 1), (1, 1), (B, 1)):
        image = tf.constant(draw_batch(films)[0])
        prediction = step(image)
        with on_cpu():
            expected = plain(image)
        for value, wanted in zip(prediction[:2], expected[:2], strict=True):
            np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-6)
        assert step.compiled.experimental_get_tracing_count() == compiled
    assert lines[0] == "compiling the validation step for batches of 4 (XLA)"
    assert len(lines) == 2


@pytest.mark.parametrize("required", [False, True])
def test_a_step_that_cannot_be_compiled_runs_without_xla(required: bool) -> None:
    lines: list[str] = []
    jit = Jit(frozenset([B]), B, lines.append, required)

    def count(image: Any) -> Any:
        return tf.numpy_function(len, [image], tf.int64)  # XLA has no such kernel

    compiled = tf.function(count, jit_compile=True)
    step = CompiledStep("training step", compiled, count, jit.batch_sizes, jit)
    if required:
        with pytest.raises(tf.errors.OpError):
            step(tf.zeros((B, 2)))
        return
    assert [int(step(tf.zeros((B, 2)))) for _ in range(2)] == [B, B]
    assert len(lines) == 2  # it does not try again
    assert "the training step runs without XLA, which could not compile it" in lines[1]
    assert "\n" not in lines[1]


def test_auto_does_not_require_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    for setting, required in (("auto", False), ("on", True)):
        overrides = [f"train.jit={setting}", "train.epochs=1500", "train.global_batch_size=8"]
        jit = choose_jit(load_config(overrides=overrides), tiny_network(), 16, 0, 1, print)
        assert jit is not None
        assert jit.required is required


@pytest.mark.parametrize(
    ("setting", "epochs", "compiles"),
    [("auto", 1500, True), ("auto", 1499, False), ("on", 1, True), ("off", 1500, False)],
)
def test_auto_compiles_long_runs_on_gpus(
    setting: str, epochs: int, compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    overrides = [f"train.jit={setting}", f"train.epochs={epochs}", "train.global_batch_size=8"]
    jit = choose_jit(load_config(overrides=overrides), tiny_network(), 16, 0, 1, print)
    assert (jit is not None) is compiles  # two steps an epoch


def test_auto_compiles_nothing_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    config = load_config(overrides=["train.epochs=9999"])
    assert choose_jit(config, tiny_network(), 16, 0, 1, print) is None


def test_batches_of_other_sizes_are_not_compiled() -> None:
    lines: list[str] = []
    _, step = prepare(only(B, 3, lines=lines))
    seen = []
    for films in (2, 1, B, B, 2, 3, B, 1):
        step(*draw_batch(films))
        seen.append((len(lines) // 2, step.compiled.experimental_get_tracing_count()))
    assert seen == [(0, 0), (0, 0), (1, 1), (1, 1), (1, 1), (2, 1), (2, 1), (2, 1)]
    assert lines[2] == "compiling the training step for batches of 3 (XLA)"
    assert lines[3].startswith("compiled the training step in ")


@pytest.mark.parametrize(
    ("films", "batch", "rank", "workers", "sizes"),
    [
        (8, 4, 0, 1, {4}),
        (135, 8, 0, 1, {8}),  # 16 batches of 8, one of 7
        (11, 4, 0, 1, {4, 3}),  # 4, 4, 3
        (400, 32, 0, 1, {31}),  # 10 of 31, 3 of 30: no batch is as large as it may be
        (3, 8, 0, 1, {3}),
        (11, 4, 0, 2, {2}),
        (11, 4, 1, 2, {2, 1}),
    ],
)
def test_usual_sizes(films: int, batch: int, rank: int, workers: int, sizes: set[int]) -> None:
    assert usual_sizes(films, batch, rank, workers) == sizes


@pytest.mark.parametrize(
    ("overrides", "workers", "sizes", "words"),
    [
        ((), 1, None, None),
        (("train.jit=auto",), 1, None, None),
        (("train.jit=off",), 1, None, None),
        (("train.jit=on",), 1, {4}, None),
        (("train.jit='on'",), 1, {4}, None),
        (("train.jit=on", "train.accumulation_steps=2"), 1, {4}, None),
        (("train.jit=on", "train.accumulation_steps=3"), 1, None, "batches of 4 films do not"),
        (("train.jit=on",), 2, None, "model.sync_batch_norm=false allows XLA"),
        (("train.jit=on", "model.sync_batch_norm=false"), 2, {2}, None),
    ],
)
def test_when_steps_are_compiled(
    small_config: MakeConfig,
    overrides: tuple[str, ...],
    workers: int,
    sizes: set[int] | None,
    words: str | None,
) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU that TensorFlow can use: auto is on")
    config = small_config(*overrides)
    lines: list[str] = []
    jit = choose_jit(config, build_network(config), 8, 0, workers, lines.append)
    assert (None if jit is None else jit.batch_sizes) == sizes
    assert len(lines) == (words is not None)
    assert words is None or words in lines[0]


def test_other_words_are_refused() -> None:
    from cephray.errors import InputError

    with pytest.raises(InputError, match=r"train\.jit.*'auto', 'on' or 'off'"):
        load_config(overrides=["train.jit=maybe"])


@pytest.mark.usefixtures("tiny_backbones")
def test_a_run_compiles_once_and_says_so(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    context = FolderContext(tmp_path)
    config = small_config("train.jit=on", "train.epochs=2", "data.validation=holdout")
    train(config, Films(make_table(4), make_table(5)), context)
    assert [line.split(" in ")[0] for line in context.lines] == [
        "compiling the training step for batches of 4 (XLA)",
        "compiled the training step",
        "compiling the validation step for batches of 4 (XLA)",
        "compiled the validation step",
    ]
    assert len(context.rows) == 2
