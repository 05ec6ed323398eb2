"""The batched heads, of both forms, against separate Keras layers with the same weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray.model.refinement import DenseHeads, PerHead, RefinementHeads
from tests.devices import on_cpu

pytestmark = pytest.mark.usefixtures("full_float32")
K, S, C, CHANNELS, UNITS = 19, 5, 12, 16, 24


def separate_head(heads: RefinementHeads, index: int) -> keras.Sequential:
    """Build one head of the paper from Keras layers, with a slice of the batched weights."""
    head = keras.Sequential(
        [
            keras.Input((S, S, C)),
            keras.layers.Conv2D(CHANNELS, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(UNITS, activation="relu"),
            keras.layers.Dense(2, use_bias=False),
        ]
    )
    names = ("conv_kernel", "conv_bias", "hidden_kernel", "hidden_bias", "output_kernel")
    head.set_weights([getattr(heads, name).numpy()[index] for name in names])
    return head


@pytest.mark.parametrize("batch", [1, 3])
def test_equals_separate_heads(batch: int) -> None:
    keras.utils.set_random_seed(1)
    heads = RefinementHeads(CHANNELS, UNITS)
    heads.build((None, K, S, S, C))
    rng = np.random.default_rng(0)
    for name in ("conv_bias", "hidden_bias"):
        bias = getattr(heads, name)
        bias.assign(rng.normal(size=bias.shape))
    crops = tf.constant(rng.normal(size=(batch, K, S, S, C)), tf.float32)
    upstream = tf.constant(rng.normal(size=(batch, K, 2)), tf.float32)

    with tf.GradientTape() as tape:
        tape.watch(crops)
        offsets = heads(crops)
    names = ("conv_kernel", "conv_bias", "hidden_kernel", "hidden_bias", "output_kernel")
    targets = [crops, *(getattr(heads, name).value for name in names)]
    of_crops, *of_weights = tape.gradient(offsets, targets, output_gradients=upstream)

    for index in range(K):
        with on_cpu():
            head = separate_head(heads, index)
            crop = crops[:, index]
            with tf.GradientTape() as tape:
                tape.watch(crop)
                expected = head(crop)
            gradients = tape.gradient(
                expected,
                [crop, *(weight.value for weight in head.trainable_variables)],
                output_gradients=upstream[:, index],
            )
        assert_close(offsets[:, index], expected)
        assert_close(of_crops[:, index], gradients[0])
        for batched, single in zip(of_weights, gradients[1:], strict=True):
            assert_close(batched[index], single)


def assert_close(actual: tf.Tensor, expected: tf.Tensor) -> None:
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * scale)


def test_each_head_starts_as_a_layer_of_its_own() -> None:
    weights = keras.ops.convert_to_numpy(PerHead()((K, 3, 3, 64, 32), "float32"))
    limit = np.sqrt(6 / (9 * 64 + 9 * 32))  # Glorot & Bengio 2010, of one head alone
    assert np.abs(weights).max() == pytest.approx(limit, rel=1e-2)
    assert not np.allclose(weights[0], weights[1])


@pytest.mark.parametrize("heads", [RefinementHeads, DenseHeads])
def test_copied_heads_compute_in_their_own_precision(heads: type[keras.layers.Layer]) -> None:
    """A trained network is a copy, made when the policy of its precision has ended."""
    copy = heads.from_config(heads(CHANNELS, UNITS, dtype="mixed_bfloat16").get_config())
    offsets = copy(tf.ones((2, K, S, S, C), tf.bfloat16))
    assert offsets.dtype == tf.float32
    assert offsets.shape == (2, K, 2)


@pytest.mark.parametrize("outputs", [2, 3])
def test_dense_heads_equal_separate_layers(outputs: int) -> None:
    keras.utils.set_random_seed(1)
    heads = DenseHeads(CHANNELS, UNITS, outputs, dropout=0.5)
    heads.build((None, K, S, S, C))
    rng = np.random.default_rng(0)
    for bias in (heads.hidden_bias, heads.output_bias, heads.reduce.bias):
        bias.assign(rng.normal(size=bias.shape))
    crops = tf.constant(rng.normal(size=(3, K, S, S, C)), tf.float32)
    offsets = heads(crops)
    assert offsets.shape == (3, K, outputs)
    for index in range(K):
        with on_cpu():
            head = keras.Sequential(
                [
                    keras.Input((S, S, C)),
                    keras.layers.Conv2D(CHANNELS, 1, activation="relu"),
                    keras.layers.Flatten(),
                    keras.layers.Dense(UNITS, activation="relu"),
                    keras.layers.Dense(outputs),
                ]
            )
            own = [heads.hidden_kernel, heads.hidden_bias, heads.output_kernel, heads.output_bias]
            head.set_weights(
                [
                    heads.reduce.kernel.numpy()[None, None],
                    heads.reduce.bias.numpy(),
                    *(weight.numpy()[index] for weight in own),
                ]
            )
            expected = head(crops[:, index])
        assert_close(offsets[:, index], expected)


def test_dropout_leaves_out_its_share_in_training_alone() -> None:
    heads = DenseHeads(channels=1, units=1, dropout=0.25)
    heads.build((None, 1, 40, 40, 1))
    heads.reduce.kernel.assign([[1.0]])
    heads.hidden_kernel.assign(np.full((1, 1600, 1), 1 / 1600))
    heads.output_kernel.assign(np.ones((1, 1, 2)))
    crops = tf.ones((200, 1, 40, 40, 1))
    assert np.allclose(heads(crops), 1.0, atol=1e-4)
    drawn = heads(crops, training=True).numpy()[:, 0, 0]
    kept = drawn > 0  # the hidden unit, in three cases of four
    assert kept.mean() == pytest.approx(0.75, abs=0.1)
    assert drawn.mean() == pytest.approx(1.0, abs=0.1)
    # What is left of the inputs, scaled up twice: mean 4 / 3, deviation sqrt(1/3 / 1600) of 1.
    assert np.std(drawn[kept]) == pytest.approx(4 / 3 * np.sqrt(1 / 3 / 1600), rel=0.25)


@pytest.mark.parametrize("kind", [RefinementHeads, DenseHeads])
@pytest.mark.parametrize("outputs", [2, 3])
def test_a_change_is_added_to_the_last_layer(
    kind: type[RefinementHeads] | type[DenseHeads], outputs: int
) -> None:
    heads = kind(CHANNELS, UNITS, outputs, adapted=True)
    heads.build((None, K, S, S, C))
    rng = np.random.default_rng(0)
    crops = tf.constant(rng.normal(size=(3, K, S, S, C)), tf.float32)
    before = heads(crops)
    heads.kernel_change.assign(rng.normal(size=(K, UNITS, outputs)))
    heads.bias_change.assign(rng.normal(size=(K, outputs)))
    hidden = heads.hidden(heads.features(crops)).numpy()  # [K, B, U]
    change = np.einsum("kbu,kuo->bko", hidden, heads.kernel_change.numpy())
    assert_close(heads(crops), before + change + heads.bias_change.numpy())
    copy = kind.from_config(heads.get_config())
    copy.build((None, K, S, S, C))
    assert copy.kernel_change.shape == (K, UNITS, outputs)
    heads.discard_change()
    np.testing.assert_array_equal(heads(crops), before)
    assert kind(CHANNELS, UNITS).kernel_change is None


@pytest.mark.parametrize("kind", [RefinementHeads, DenseHeads])
def test_a_change_of_low_rank_is_added_to_the_hidden_layer(
    kind: type[RefinementHeads] | type[DenseHeads],
) -> None:
    rank = 2
    heads = kind(CHANNELS, UNITS, 3, adapted=True, adapted_rank=rank)
    heads.build((None, K, S, S, C))
    rng = np.random.default_rng(0)
    for variable in (heads.output_kernel, heads.hidden_bias):
        variable.assign(rng.normal(size=variable.shape))
    crops = tf.constant(rng.normal(size=(3, K, S, S, C)), tf.float32)
    before = heads(crops)
    narrow, wide, bias = (rng.normal(size=one.shape) for one in heads.hidden_change)
    assert narrow.shape[-1] == wide.shape[1] == rank
    for variable, value in zip(heads.hidden_change, (narrow, wide, bias), strict=True):
        variable.assign(value)
    plain = kind(CHANNELS, UNITS, 3)
    plain.build((None, K, S, S, C))
    for variable in plain.variables:
        if "seed" not in variable.path:
            [same] = [one for one in heads.variables if one.name == variable.name]
            variable.assign(same)
    plain.hidden_kernel.assign(heads.hidden_kernel + narrow @ wide)
    plain.hidden_bias.assign(heads.hidden_bias + bias)
    np.testing.assert_allclose(heads(crops), plain(crops), rtol=1e-4, atol=1e-4)
    assert np.abs(heads(crops) - before).max() > 0.1
    copy = kind.from_config(heads.get_config())
    copy.build((None, K, S, S, C))
    assert [one.shape for one in copy.hidden_change] == [one.shape for one in heads.hidden_change]
    heads.discard_change()
    np.testing.assert_array_equal(heads(crops), before)
