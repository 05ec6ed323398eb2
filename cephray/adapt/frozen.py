"""A network of which only the dense layers of each head are to change.

What the heads see is computed once for each film. Any change of these layers can then be tried
without the backbone. It knows films and networks, and nothing about the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cephray.adapt.fit import Moments, moments
from cephray.checkpoint import Checkpoint
from cephray.config import AugmentConfig, WindowNoiseConfig
from cephray.data import Film, augment, stack_films
from cephray.data.first_points import draw_first_points
from cephray.model import build_network, to_input

FloatArray = NDArray[np.floating[Any]]

_VIEWS = 3  # augmented views of a film, besides the film as it is
_WINDOWS = 4  # windows around each mark of a view, where heads are applied several times
_NOISE = WindowNoiseConfig(enabled=True, probability=1.0, min_mm=0.2, max_mm=4.0)


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer of all heads.

    Args:
        kernel: [K, inputs, outputs].
        bias: [K, outputs].
    """

    kernel: FloatArray
    bias: FloatArray

    def changed(self, kernel: FloatArray, bias: FloatArray) -> DenseLayer:
        """Return the layer with a change of its first n outputs: [K, inputs, n] and [K, n]."""
        new = DenseLayer(self.kernel.copy(), self.bias.copy())
        count = bias.shape[-1]
        new.kernel[..., :count] += kernel
        new.bias[..., :count] += bias
        return new


@dataclass(frozen=True, eq=False)
class HiddenChange:
    """A change of the hidden layer of the heads.

    Args:
        narrow: [K, I, R].
        wide: [K, R, U]; the product of both is added to the kernel.
        bias: [K, U], added to the bias.
    """

    narrow: FloatArray
    wide: FloatArray
    bias: FloatArray

    def applied(self, layer: DenseLayer) -> DenseLayer:
        """Return the changed layer."""
        return layer.changed(self.narrow @ self.wide, self.bias)


@dataclass(frozen=True, eq=False)
class DenseLayers:
    """The dense layers of the heads: I inputs to U hidden units, and these to the outputs."""

    hidden: DenseLayer
    last: DenseLayer


@dataclass(frozen=True, eq=False)
class Windows:
    """M windows of a film and its augmented views, as the heads see them.

    Args:
        features: [M, K, I], inputs of the hidden layer, float16.
        distances: [M, K, 2], from the centres of the windows to the marks, in the unit of the
            heads; NaN where a landmark is not marked.
    """

    features: NDArray[np.float16]
    distances: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SeenFilm:
    """What the network sees of a film.

    Args:
        film: the film, without its pixels.
        levels: fused features [H_l, W_l, C] of the film as it is, float16.
        coarse_norm: [K, 2], landmarks of stage one.
        windows: of all its views.
        sums: over the windows, about the network's own last layer.
    """

    film: Film
    levels: tuple[NDArray[np.float16], ...]
    coarse_norm: FloatArray
    windows: Windows
    sums: Moments


class FrozenNetwork:
    """A checkpoint's network, whose backbone and hidden layers stay as they are.

    Args:
        checkpoint: verified and complete.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        network = build_network(checkpoint.config, pretrained=False)
        checkpoint.load_weights(network)
        self._crop = network.get_layer("crop")
        self._heads = network.get_layer("refinement")
        self._to_spread = (
            network.get_layer("to_spread") if checkpoint.config.model.spread else None
        )
        self._passes = checkpoint.config.model.refinement_passes
        self._augmentation = _augmentation(checkpoint.config.augment)
        self.mean_shape: NDArray[np.float32] = network.get_layer("detection").prior.numpy()
        self.unit = np.array(network.get_layer("move").unit)  # of the heads, normalised
        *levels, _ = self._crop.input  # of its first call: the levels and the points
        image = network.get_layer("image").output
        self._network = keras.Model(image, [network.output["coarse"], *levels])
        self._look = tf.function(lambda images: self._network(images, training=False))
        self._features = tf.function(
            lambda levels, points: self._heads.features(self._crop(levels, points)),
            reduce_retracing=True,
        )
        heads = self._heads
        kernel = heads.output_kernel.numpy()
        bias = heads.output_bias.numpy() if hasattr(heads, "output_bias") else None
        if heads.adapted:
            kernel = kernel + heads.kernel_change.numpy()
            bias = heads.bias_change.numpy() + (0.0 if bias is None else bias)
        last = DenseLayer(kernel, np.zeros(kernel[:, 0].shape) if bias is None else bias)
        hidden = DenseLayer(heads.hidden_kernel.numpy(), heads.hidden_bias.numpy())
        if heads.adapted_rank:
            change = HiddenChange(*(part.numpy() for part in heads.hidden_change))
            hidden = change.applied(hidden)
        self.layers = DenseLayers(hidden, last)

    def see(self, films: Sequence[Film], seed: int) -> Iterator[SeenFilm]:
        """Look at films with their marks, and at augmented views of them.

        Args:
            films: of the network's size.
            seed: of the augmentation.
        """
        for number, film in enumerate(films):
            rng = np.random.default_rng([seed, number])
            views = [(film.image, film.landmarks_norm)]
            views += [
                augment(film.image, film.landmarks_norm, rng, self._augmentation)
                for _ in range(_VIEWS)
            ]
            images = to_input(stack_films([image for image, _ in views], film.image.shape))
            coarse, *levels = self._look(images)
            parts = []
            for view, (_, marks) in enumerate(views):
                points = self._windows(coarse[view].numpy(), marks, film, rng)
                features = self._seen_from([level[view].numpy() for level in levels], points)
                distances = (marks - points) / self.unit
                parts.append((features.astype(np.float16), distances.astype(np.float32)))
            windows = Windows(*(np.concatenate(part) for part in zip(*parts, strict=True)))
            yield SeenFilm(
                film,
                tuple(level[0].numpy().astype(np.float16) for level in levels),
                coarse[0].numpy(),
                windows,
                self._moments(windows),
            )

    def follow(self, seen: SeenFilm, layers: DenseLayers) -> tuple[FloatArray, FloatArray | None]:
        """Find the landmarks of a film with other dense layers.

        Returns:
            The landmarks [K, 2], normalised, and their spread [K] in heights of the film, or None
            if the network estimates none.
        """
        points = seen.coarse_norm
        output = np.zeros((*layers.last.bias.shape,))
        for _ in range(self._passes):
            features = self._seen_from(seen.levels, points[None])
            hidden = hidden_units(features, layers.hidden)[0]  # [K, U]
            output = np.einsum("ku,kuo->ko", hidden, layers.last.kernel) + layers.last.bias
            points = points + output[:, :2] * self.unit
        if self._to_spread is None:
            return points, None
        return points, self._to_spread(output[None].astype(np.float32))[0].numpy()

    def _windows(
        self,
        coarse: FloatArray,
        marks: NDArray[np.float32],
        film: Film,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return the centres of windows, [M, K, 2], as the heads meet them.

        The first one is at the estimate of stage one. Where heads are applied several times, the
        others are near the mark. A landmark that is not marked has them at the first estimate.
        """
        extent_mm = np.array(film.extent_mm, np.float32)
        count = _WINDOWS if self._passes > 1 else 0
        drawn = [draw_first_points(marks, extent_mm, rng, _NOISE) for _ in range(count)]
        points = np.stack([coarse, *drawn])
        return np.where(np.isfinite(points), points, coarse)

    def _moments(self, windows: Windows) -> Moments:
        last = self.layers.last
        hidden = hidden_units(windows.features, self.layers.hidden)
        answers = np.einsum("mku,kuo->mko", hidden, last.kernel) + last.bias
        return moments(hidden, windows.distances - answers[..., :2])

    def _seen_from(self, levels: Sequence[NDArray[Any]], points: FloatArray) -> FloatArray:
        """Return the inputs of the hidden layer, [M, K, I], for windows at points [M, K, 2]."""
        repeated = [
            tf.constant(np.repeat(level[None].astype(np.float32), len(points), axis=0))
            for level in levels
        ]
        features: FloatArray = self._features(repeated, tf.constant(points, tf.float32)).numpy()
        return features.transpose(1, 0, 2)


def hidden_units(features: NDArray[Any], layer: DenseLayer) -> FloatArray:
    """Return the inputs of the last layer, [M, K, U], from those of the hidden layer [M, K, I]."""
    turned = features.transpose(1, 0, 2).astype(np.float32)
    hidden: FloatArray = np.maximum(turned @ layer.kernel + layer.bias[:, None], 0)
    return hidden.transpose(1, 0, 2)


def _augmentation(config: AugmentConfig) -> AugmentConfig:
    """Return the augmentation of a run, without what would make marks of the same film differ."""
    off = {name: getattr(config, name).model_copy(update={"enabled": False}) for name in _OFF}
    return config.model_copy(update=off)


_OFF = ("flip", "jitter")
