"""The network's subjects in prediction: ours, head by head as published, the backbone alone.

All three share the weights of one network, so that what they find can be compared. It knows
networks and batches, and no files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cephray.benchmark.timing import OURS, Subject
from cephray.config import Config
from cephray.errors import RunError
from cephray.model import build_network, build_predict_step, predict

Tensor = Any
# From images [B, H, W, 3] to a result that is still being computed, on a GPU.
Forward = Callable[[Tensor], Tensor]

HEAD_BY_HEAD, BACKBONE = "head by head", "backbone"

# Widths of the film. One head and K heads at once sum in other orders.
TOLERANCE = 1e-4

_LARGEST_OFFSET = 0.05  # of either stage, widths of the film


def build_drawn_network(config: Config, images: NDArray[np.float32]) -> keras.Model:
    """Build a network whose weights are random, and and whose points lie on the film.

    With fresh weights features vanish or explode, points lie films away, where all windows are
    the same, and the offsets of dense heads are 0: no comparison would tell one head from another.

    Args:
        config: of the network.
        images: [B, H, W, 3], films whose features get mean 0 and variance 1, and on which the
            offsets of stage one and of the first pass are 0.05 of the film at most.
    """
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    network = build_network(config, pretrained=False)
    detection, heads = network.get_layer("detection"), network.get_layer("refinement")
    detection.prior.assign(rng.uniform(0.3, 0.7, detection.prior.shape))
    for weight in heads.trainable_variables:
        if not np.any(weight.numpy()):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    predict(network, images, training=True)

    images = tf.constant(images)
    found = predict(network, images)
    regressed = found.coarse if found.regressed is None else found.regressed
    _scale([detection.linear.kernel], regressed - detection.prior)
    found = build_predict_step(network)(images)
    outputs = [weight for weight in heads.trainable_variables if weight.name.startswith("output")]
    _scale(outputs, found.passes[:, 0] - found.coarse)
    return network


def _scale(linear: list[keras.Variable], offsets: Tensor) -> None:
    """Scale the weights of a linear layer: its offsets become `_LARGEST_OFFSET` at most."""
    factor = _LARGEST_OFFSET / max(float(np.abs(offsets).max()), 1e-12)
    for weight in linear:
        weight.assign(weight * factor)


def build_forwards(network: keras.Model) -> dict[str, Forward]:
    """Return the subjects by name, on the weights of one network.

    Ours and head by head find the refined landmarks [B, K, 2]; the backbone, which is the floor
    of both, computes its coarsest features.
    """
    ours = build_predict_step(network)
    backbone = keras.Model(_image(network), network.get_layer("detection").input)
    return {
        OURS: lambda images: ours(images).refined,
        HEAD_BY_HEAD: _head_by_head(network),
        BACKBONE: tf.function(lambda images: backbone(images)),
    }


def _head_by_head(network: keras.Model) -> Forward:
    """Predict as the published code does, which makes of each head a model from the image on.

    So K heads and the detection module run the backbone K + 1 times. Each run is a call of its own
    from Python: within one function TensorFlow may find that the backbones are the same, and keep
    one. The passes of a head share its features; the published network has one pass.
    """
    detection, crop = network.get_layer("detection"), network.get_layer("crop")
    *levels, _ = crop.input
    extractor = keras.Model(_image(network), levels)
    detector = keras.Model(_image(network), network.output["coarse"])
    passes = network.output["passes"].shape[1]
    heads, move = network.get_layer("refinement"), network.get_layer("move")
    head = type(heads).from_config(heads.get_config())
    head.build((None, 1, *crop.output.shape[2:]))
    state = [variable.value for variable in head.non_trainable_variables]
    weights = [_weights(heads, head, k) for k in range(detection.num_landmarks)]

    @tf.function
    def find_coarse(images: Tensor) -> Tensor:
        return detector(images)

    @tf.function
    def refine(images: Tensor, point: Tensor, weights: list[Tensor]) -> Tensor:
        features = extractor(images)
        for _ in range(passes):
            output, _ = head.stateless_call(weights, state, crop(features, point))
            point = move(point, output)
        return point  # [B, 1, 2]

    def find(images: Tensor) -> Tensor:
        coarse = find_coarse(images)
        points = [refine(images, coarse[:, k : k + 1], own) for k, own in enumerate(weights)]
        return tf.concat(points, axis=1)

    return find


def _image(network: keras.Model) -> Tensor:
    return network.get_layer("image").output


def _weights(heads: keras.layers.Layer, head: keras.layers.Layer, k: int) -> list[Tensor]:
    """Return the weights of head k: its slice of those of K heads; of shared ones, the whole."""
    pairs = zip(heads.trainable_variables, head.trainable_variables, strict=True)
    return [all_.value if all_.shape == one.shape else all_[k : k + 1] for all_, one in pairs]


def check(forwards: dict[str, Forward], images: NDArray[np.float32]) -> None:
    """Compare the landmarks that head by head finds with ours.

    Args:
        forwards: of `build_forwards`.
        images: [B, H, W, 3].

    Raises:
        RunError: they differ by more than rounding; says by how much.
    """
    batch = tf.constant(images)
    ours, other = (forwards[name](batch).numpy() for name in (OURS, HEAD_BY_HEAD))
    difference = float(np.abs(other - ours).max())
    if not difference <= TOLERANCE:  # NaN too
        raise RunError(
            f"head by head finds landmarks up to {difference:.2g} of the film away from ours, "
            f"where {TOLERANCE:g} is allowed, so that nothing was timed; `cephray benchmark "
            "roi-crop` tells whether the op is right"
        )


def timed(forward: Forward, images: NDArray[np.float32]) -> Subject:
    """Return a subject that takes one batch, and says how long a film of it took."""
    batch = tf.constant(images)

    def run() -> float:
        begin = time.perf_counter()
        forward(batch).numpy()
        return (time.perf_counter() - begin) / len(images)

    return run
