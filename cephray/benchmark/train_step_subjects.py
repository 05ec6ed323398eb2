"""The training step's subjects: ours, the backbone alone, the update alone, head by head.

Each is built in the process that runs it, so that the process's peak is the subject's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from cephray.benchmark.timing import OURS
from cephray.benchmark.train_step_cases import BACKBONE, HEAD_BY_HEAD, UPDATE
from cephray.config import Config
from cephray.landmarks import landmark_set
from cephray.losses import two_stage_loss
from cephray.model import (
    STRIDES,
    LandmarkDetection,
    RefinementHeads,
    WindowCrop,
    build_network,
    build_pyramid,
    fuse,
)
from cephray.training import build_optimizer, build_train_step, choose_jit

Tensor = Any
Step = Callable[[], object]


def build_step(name: str, config: Config) -> tuple[Step, int]:
    """Build a subject.

    Args:
        name: of `SUBJECTS`.
        config: of the network and the batch.

    Returns:
        A function that takes one step and waits for its end, and the number of parameters that
        the step trains.
    """
    keras.utils.set_random_seed(0)
    return SUBJECTS[name](config)


def time_steps(step: Step, seconds: float, least: int = 3) -> list[float]:
    """Time steps for about `seconds`, after two to warm up; at least `least` of them."""
    for _ in range(2):
        step()
    times: list[float] = []
    while sum(times) < seconds or len(times) < least:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return times


def _batch(config: Config) -> tuple[Tensor, ...]:
    """Return the arguments of a training step, in its order."""
    rng = np.random.default_rng(0)
    films, landmarks = config.train.global_batch_size, len(landmark_set(config.data.landmarks))
    size = (config.data.image_height, config.data.image_width)
    return (
        tf.constant(rng.uniform(size=(films, *size, 3)), tf.float32),
        tf.constant(rng.uniform(0.2, 0.8, (films, landmarks, 2)), tf.float32),
        tf.fill((films, landmarks, 2), np.nan),
        tf.fill((films, 2), 200.0),
        tf.fill((landmarks,), float(films)),
    )


def _ours(config: Config) -> tuple[Step, int]:
    model = build_network(config)
    optimizer = build_optimizer(config.train, 1)
    optimizer.build(model.trainable_variables)
    films = config.train.global_batch_size
    jit = choose_jit(config, model, films, rank=0, world_size=1, show=lambda line: None)
    step = build_train_step(model, optimizer, config.loss, tf.distribute.get_strategy(), jit=jit)
    batch = _batch(config)
    return lambda: step(*batch).numpy(), _count(model.trainable_variables)


def _backbone(config: Config) -> tuple[Step, int]:
    """Forward and backward of the backbone; the gradients come from its last features."""
    image = keras.Input((config.data.image_height, config.data.image_width, 3))
    model = keras.Model(image, build_pyramid(config.model.backbone, image)[-1])
    batch = _batch(config)[0]

    @tf.function
    def step() -> Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(batch, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        # One value of each: none may be left out.
        return tf.add_n([tf.reshape(gradient, (-1,))[0] for gradient in gradients])

    return lambda: step().numpy(), _count(model.trainable_variables)


def _update(config: Config) -> tuple[Step, int]:
    """Update as many parameters as the network has, with gradients that are there."""
    shapes = [variable.shape for variable in build_network(config).trainable_variables]
    keras.backend.clear_session()
    variables = [keras.Variable(tf.zeros(shape)) for shape in shapes]
    gradients = [tf.fill(shape, 1e-3) for shape in shapes]
    optimizer = build_optimizer(config.train, 1)
    optimizer.build(variables)

    @tf.function
    def step() -> Tensor:
        optimizer.apply(gradients, variables)
        return optimizer.iterations.value

    return lambda: step().numpy(), _count(variables)


def _head_by_head(config: Config) -> tuple[Step, int]:
    """Compute the same network as published: one head after another, features anew for each."""
    model, landmarks = config.model, len(landmark_set(config.data.landmarks))
    size = (config.data.image_height, config.data.image_width)
    image = keras.Input((*size, 3))
    pyramid = build_pyramid(model.backbone, image)
    levels = fuse(pyramid[-model.fusion_depth :], model.fusion_channels)
    extractor = keras.Model(image, [pyramid[-1], *levels])
    detection = LandmarkDetection(landmarks, scale=model.detection_scale)
    crop = WindowCrop(
        STRIDES[-model.fusion_depth :],
        model.window_cells[: model.fusion_depth][::-1],
        size,
        model.roi_pool_size,
    )
    coarse = detection(extractor(image)[0])
    refined = []
    for k in range(landmarks):
        point = coarse[:, k : k + 1]
        head = RefinementHeads(model.head_channels, model.head_units)
        refined.append(point + head(crop(extractor(image)[1:], point)))
    network = keras.Model(image, [coarse, layers.Concatenate(axis=1)(refined)])
    optimizer = build_optimizer(config.train, 1)
    optimizer.build(network.trainable_variables)
    batch, truth, _, _, counts = _batch(config)

    @tf.function
    def step() -> Tensor:
        with tf.GradientTape() as tape:
            both = network(batch, training=True)
            loss = two_stage_loss(both[0], both[1][:, None], truth, config.loss, counts).total
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    return lambda: step().numpy(), _count(network.trainable_variables)


def _count(variables: list[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


SUBJECTS: dict[str, Callable[[Config], tuple[Step, int]]] = {
    OURS: _ours,
    BACKBONE: _backbone,
    UPDATE: _update,
    HEAD_BY_HEAD: _head_by_head,
}
