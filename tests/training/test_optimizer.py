"""The optimiser against Adam's formula in float64, and its average against its recursion."""

from __future__ import annotations

from typing import Literal

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.config import TrainConfig
from cephray.training.optimizer import DistributedAdam, WarmUp, build_optimizer

Array = NDArray[np.float64]

RATE, BETA_1, BETA_2, EPSILON = 1e-2, 0.9, 0.999, 1e-7


def variables(rng: np.random.Generator) -> list[keras.Variable]:
    return [
        keras.Variable(rng.standard_normal(shape).astype(np.float32), name=f"v{index}")
        for index, shape in enumerate([(3, 5), (7,)])
    ]


def adam(start: Array, gradients: list[Array]) -> list[Array]:
    """Kingma and Ba 2015, with the step size of its section 2; the weights after each step."""
    weights, m, v = start, np.zeros_like(start), np.zeros_like(start)
    after = []
    for t, g in enumerate(gradients, 1):
        m = BETA_1 * m + (1 - BETA_1) * g
        v = BETA_2 * v + (1 - BETA_2) * g**2
        rate = RATE * np.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        weights = weights - rate * m / (np.sqrt(v) + EPSILON)
        after.append(weights)
    return after


def test_equals_adam_in_float64_and_its_average() -> None:
    rng = np.random.default_rng(0)
    targets = variables(rng)
    starts = [target.numpy().astype(np.float64) for target in targets]
    optimizer = DistributedAdam(RATE, average_decay=0.5)
    optimizer.build(targets)
    steps = [[rng.standard_normal(t.shape).astype(np.float32) for t in targets] for _ in range(6)]
    for gradients in steps:
        optimizer.apply(gradients, targets)
    weights = [target.numpy() for target in targets]
    optimizer.swap_averages()
    averages = [target.numpy() for target in targets]
    optimizer.swap_averages()
    for index, (target, start) in enumerate(zip(targets, starts, strict=True)):
        after = adam(start, [gradients[index].astype(np.float64) for gradients in steps])
        np.testing.assert_allclose(weights[index], after[-1], rtol=1e-6, atol=1e-6)
        average = start
        for step, value in enumerate(after):
            decay = min(0.5, (1 + step) / (10 + step))
            average = decay * average + (1 - decay) * value
        np.testing.assert_allclose(averages[index], average, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(target.numpy(), weights[index])


def test_decay_shrinks_kernels_and_not_biases() -> None:
    """The decoupled decay of AdamW, in float64: w ← w − lr·λ·w, then Adam's step."""
    rng = np.random.default_rng(1)
    kernel, bias = variables(rng)
    starts = [variable.numpy().astype(np.float64) for variable in (kernel, bias)]
    optimizer = DistributedAdam(RATE, kernel_decay=0.1)
    optimizer.build([kernel, bias])
    steps = [
        [rng.standard_normal(v.shape).astype(np.float32) for v in (kernel, bias)] for _ in range(5)
    ]
    for gradients in steps:
        optimizer.apply(gradients, [kernel, bias])
    plain = [
        adam(start, [g[i].astype(np.float64) for g in steps]) for i, start in enumerate(starts)
    ]
    np.testing.assert_allclose(bias.numpy(), plain[1][-1], rtol=1e-6, atol=1e-6)
    shrunk = starts[0]
    for before, after in zip([starts[0], *plain[0]], plain[0], strict=False):
        shrunk = shrunk * (1 - RATE * 0.1) + (after - before)  # Adam's steps see gradients alone
    np.testing.assert_allclose(kernel.numpy(), shrunk, rtol=1e-6, atol=1e-6)
    assert np.abs(shrunk - plain[0][-1]).max() > 1e-3


def test_swapping_without_averages_changes_nothing() -> None:
    targets = variables(np.random.default_rng(1))
    before = [target.numpy() for target in targets]
    optimizer = DistributedAdam(RATE)
    optimizer.build(targets)
    optimizer.swap_averages()
    for target, value in zip(targets, before, strict=True):
        np.testing.assert_array_equal(target.numpy(), value)


@pytest.mark.parametrize("norm", [0.1, 1e6])
def test_clips_the_norm_of_all_gradients_together(norm: float) -> None:
    rng = np.random.default_rng(2)
    clipped, plain = variables(rng), variables(np.random.default_rng(2))
    gradients = [rng.standard_normal(t.shape).astype(np.float32) for t in clipped]
    total = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients))
    with_clip, without = DistributedAdam(RATE, sum_clip_norm=norm), DistributedAdam(RATE)
    # Adam forgets the scale of a single step, so the moments are what is compared.
    with_clip.build(clipped)
    without.build(plain)
    with_clip.apply(gradients, clipped)
    without.apply([g * min(1.0, norm / total) for g in gradients], plain)
    for a, b in zip(with_clip.variables, without.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("steps", [None, 24])
def test_the_learning_rate_rises_and_falls(steps: int | None) -> None:
    """A line up to the peak, then constant, or half a cosine from the peak to 0."""
    schedule = WarmUp(0.5, warmup_steps=4, cosine_steps=steps)
    rates = [float(schedule(step)) for step in range(30)]
    np.testing.assert_allclose(rates[:4], [0.125, 0.25, 0.375, 0.5], rtol=1e-6)
    if steps is None:
        assert rates[4:] == [0.5] * 26
        return
    expected = [0.25 * (1 + np.cos(np.pi * done / 20)) for done in range(20)]
    np.testing.assert_allclose(rates[4:24], expected, rtol=1e-5)
    np.testing.assert_allclose(rates[24:], 0, atol=1e-7)


@pytest.mark.parametrize("rate", [0.5, WarmUp(0.5, warmup_steps=4, cosine_steps=None)])
def test_the_learning_rate_of_the_last_step(rate: float | WarmUp) -> None:
    [target] = variables(np.random.default_rng(3))[:1]
    optimizer = DistributedAdam(rate)
    optimizer.build([target])
    seen = [optimizer.last_learning_rate]
    for _ in range(5):
        optimizer.apply([np.ones(target.shape, np.float32)], [target])
        seen.append(optimizer.last_learning_rate)
    expected = [0.5] * 6 if rate == 0.5 else [0.125, 0.125, 0.25, 0.375, 0.5, 0.5]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("scaling", "reference", "expected"),
    [
        ("none", None, 1e-3),
        ("none", 4, 1e-3),
        ("linear", 4, 4e-3),
        ("sqrt", 4, 2e-3),
        ("linear", 32, 5e-4),
        ("sqrt", 16, 1e-3),
    ],
)
def test_the_learning_rate_is_scaled_to_the_batch(
    scaling: Literal["none", "linear", "sqrt"], reference: int | None, expected: float
) -> None:
    config = TrainConfig(
        learning_rate=1e-3,
        global_batch_size=16,
        learning_rate_scaling=scaling,
        reference_batch_size=reference,
        warmup_epochs=1,
    )
    rate = build_optimizer(config, steps_per_epoch=4)._learning_rate
    assert float(rate(0)) == pytest.approx(expected / 4)
    assert float(rate(9)) == pytest.approx(expected)


def test_is_built_as_configured() -> None:
    config = TrainConfig(
        exchange_dtype="bfloat16", average_decay=0.99, clip_norm=2.0, warmup_epochs=1
    )
    settings = build_optimizer(config, 10).get_config()
    assert settings["exchange_dtype"] == "bfloat16"
    assert settings["average_decay"] == 0.99
    assert settings["sum_clip_norm"] == 2.0
