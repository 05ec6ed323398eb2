"""The training step's subjects: ours, the backbone alone, the update alone, head by head.

Each is built in the process that runs it, so that the process's peak is the subject's. Networks
have the precision and the layers that they are trained with (fused batch normalisation), and XLA
compiles what `train.jit` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from cephray.benchmark.timing import OURS
from cephray.benchmark.train_step_bound import Bound, measure_bound
from cephray.benchmark.train_step_cases import BACKBONE, HEAD_BY_HEAD, UPDATE
from cephray.config import Config
from cephray.landmarks import landmark_set
from cephray.losses import two_stage_loss
from cephray.model import (
    STRIDES,
    CompiledStep,
    Jit,
    LandmarkDetection,
    RefinementHeads,
    WindowCrop,
    build_network,
    build_pyramid,
    fuse,
)
from cephray.progress import Show
from cephray.training import build_optimizer, build_train_step, prepare_network

Tensor = Any


@dataclass(frozen=True)
class Built:
    """A subject that is ready to take steps.

    Args:
        launch: takes a step; the step has ended when the tensor that it returns can be read.
        parameters: number of parameters that the step trains.
        uses_xla: says after the first step whether XLA compiled it.
    """

    launch: Callable[[], Tensor]
    parameters: int
    uses_xla: Callable[[], bool] = lambda: False


def build_step(name: str, config: Config, show: Show) -> Built:
    """Build a subject.

    Args:
        name: of `SUBJECTS`.
        config: of the network, the batch and the training.
        show: takes lines about compilation.
    """
    keras.utils.set_random_seed(0)
    return SUBJECTS[name](config, show)


def bound_of(config: Config) -> tuple[Bound, int]:
    """Measure the bound of our step; return it with the number of trained parameters."""
    keras.utils.set_random_seed(0)
    model, optimizer, _ = build_trained(config, show=lambda line: None)
    bound = measure_bound(model, optimizer, config.train.global_batch_size)
    return bound, _count(model.trainable_variables)


def prepare(
    build: Callable[[], keras.Model], config: Config, show: Show
) -> tuple[keras.Model, Jit | None]:
    """Build a network as one worker trains it, in batches of one size."""
    return prepare_network(build, config, config.train.global_batch_size, 0, 1, show)


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
        tf.constant(1.0),
    )


def build_trained(config: Config, show: Show) -> tuple[keras.Model, keras.Optimizer, Jit | None]:
    """Build the network with fresh weights, its optimiser, and what XLA compiles."""
    model, jit = prepare(partial(build_network, config, pretrained=False), config, show)
    optimizer = build_optimizer(config.train, 1)
    optimizer.build(model.trainable_variables)
    return model, optimizer, jit


def _ours(config: Config, show: Show) -> Built:
    model, optimizer, jit = build_trained(config, show)
    step = build_train_step(model, optimizer, config.loss, tf.distribute.get_strategy(), jit=jit)
    batch = _batch(config)
    return Built(lambda: step(*batch), _count(model.trainable_variables), partial(_used_xla, step))


def _backbone(config: Config, show: Show) -> Built:
    """Forward and backward of the backbone; the gradients come from its last features."""
    section = config.model

    def build() -> keras.Model:
        image = keras.Input((config.data.image_height, config.data.image_width, 3))
        pyramid = build_pyramid(section.backbone, image, section.backbone_weights, load=False)
        return keras.Model(image, pyramid[-1])

    model, jit = prepare(build, config, show)
    image = _batch(config)[0]

    def gradients(image: Tensor) -> list[Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(model(image, training=True), tf.float32))
        return tape.gradient(loss, model.trainable_variables)  # type: ignore[no-any-return]

    step: Callable[[Tensor], list[Tensor]] = tf.function(gradients)
    if jit is not None:
        compiled = tf.function(gradients, jit_compile=True)
        step = CompiledStep("backbone", compiled, step, jit.batch_sizes, jit)
    # The first layer's gradient is the last to be there.
    return Built(
        lambda: step(image)[0], _count(model.trainable_variables), partial(_used_xla, step)
    )


def _update(config: Config, show: Show) -> Built:
    """Update as many parameters as the network has, with gradients that are there."""
    network, _ = prepare(partial(build_network, config, pretrained=False), config, show)
    shapes = [variable.shape for variable in network.trainable_variables]
    del network
    keras.backend.clear_session()
    variables = [keras.Variable(tf.zeros(shape)) for shape in shapes]
    gradients = [tf.fill(shape, 1e-3) for shape in shapes]
    optimizer = build_optimizer(config.train, 1)
    optimizer.build(variables)

    @tf.function
    def step() -> Tensor:
        optimizer.apply(gradients, variables)
        return tf.reshape(variables[-1], (-1,))[0]

    return Built(step, _count(variables))


def _head_by_head(config: Config, show: Show) -> Built:
    """Compute the same network as published: one head after another, features anew for each."""
    model, landmarks = config.model, len(landmark_set(config.data.landmarks))
    size = (config.data.image_height, config.data.image_width)

    def build() -> keras.Model:
        image = keras.Input((*size, 3))
        pyramid = build_pyramid(model.backbone, image)
        levels = fuse(pyramid[-model.fusion_depth :], model.fusion_channels)
        return keras.Model(image, [pyramid[-1], *levels])

    extractor, _ = prepare(build, config, show)
    image = keras.Input((*size, 3))
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
    batch, truth, _, _, counts, _ = _batch(config)

    @tf.function
    def step() -> Tensor:
        with tf.GradientTape() as tape:
            both = network(batch, training=True)
            loss = two_stage_loss(both[0], both[1][:, None], truth, config.loss, counts).total
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    return Built(step, _count(network.trainable_variables))


def _used_xla(step: Callable[..., object]) -> bool:
    return isinstance(step, CompiledStep) and not step.has_failed


def _count(variables: list[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


SUBJECTS: dict[str, Callable[[Config, Show], Built]] = {
    OURS: _ours,
    BACKBONE: _backbone,
    UPDATE: _update,
    HEAD_BY_HEAD: _head_by_head,
}
