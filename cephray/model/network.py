"""The two-stage network: image -> Prediction(coarse, passes), trained end to end.

The backbone runs once. It puts the modules together and knows neither loss nor data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import layers, ops

from cephray.config import Config, ModelConfig
from cephray.landmarks import landmark_set
from cephray.model.backbones import STRIDES, build_pyramid
from cephray.model.cropping import WindowCrop
from cephray.model.detection import HeatmapDetection, LandmarkDetection
from cephray.model.fusion import fuse
from cephray.model.precision import coordinate_dtype
from cephray.model.refinement import DenseHeads, RefinementHeads

Tensor = Any


class Prediction(NamedTuple):
    """Landmarks of both stages, normalised (x, y), of `coordinate_dtype`.

    `coarse` is [B, K, 2], of stage one; `passes` is [B, P, K, 2], after each refinement pass;
    `spread` is [B, P, K], the scale that each head expects of its error's Laplace distribution
    along an axis, in heights of the film, or None without `model.spread`. `heatmap` is
    [B, h, w, K], logits of each landmark's place over the cells of a feature map, or None without
    `model.heatmap`; `regressed` is [B, K, 2], the estimate that `coarse` was found near, or None
    without `model.detection_heatmap`. Only the loss uses these two.
    """

    coarse: Tensor
    passes: Tensor
    spread: Tensor | None = None
    heatmap: Tensor | None = None
    regressed: Tensor | None = None

    @property
    def refined(self) -> Tensor:
        """Landmarks after the last pass: [B, K, 2]."""
        return self.passes[:, -1]


@keras.saving.register_keras_serializable("cephray")
class FirstPoints(layers.Layer):
    """Chooses the points that the first windows stand around.

    Input shape:
        The coarse estimate [B, K, 2]; and other points [B, K, 2], or none. Where those are NaN,
        the estimate is taken.

    Output shape:
        [B, K, 2]
    """

    def call(self, coarse: Tensor, points: Tensor | None = None) -> Tensor:
        """Return the points that are given, and elsewhere the coarse estimate."""
        if points is None:
            return coarse
        return ops.where(ops.isfinite(points), points, coarse)

    def compute_output_spec(
        self, coarse: Tensor, points: Tensor | None = None
    ) -> keras.KerasTensor:
        """Return the shape and type of the points."""
        return keras.KerasTensor(coarse.shape, dtype=coarse.dtype)


@keras.saving.register_keras_serializable("cephray")
class Move(layers.Layer):
    """Moves points by the heads' offsets.

    Args:
        unit: width and height of the heads' unit, normalised.
        detach: let no gradient pass to the points.

    Input shape:
        Points [B, K, 2], and the heads' output [B, K, 2 or 3], offsets first.

    Output shape:
        [B, K, 2]
    """

    def __init__(self, unit: tuple[float, float], detach: bool, **options: Any) -> None:
        super().__init__(**{"dtype": coordinate_dtype(), **options})
        self.unit = tuple(unit)
        self.detach = detach

    def call(self, points: Tensor, output: Tensor) -> Tensor:
        """Return the moved points."""
        if self.detach:
            points = ops.stop_gradient(points)
        return points + output[..., :2] * ops.convert_to_tensor(self.unit, self.compute_dtype)

    def compute_output_spec(self, points: Tensor, output: Tensor) -> keras.KerasTensor:
        """Return the shape and type of the points."""
        return keras.KerasTensor(points.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "unit": self.unit,
            "detach": self.detach,
        }


@keras.saving.register_keras_serializable("cephray")
class Spread(layers.Layer):
    """Reads the spread that heads expect of their errors: the exponential of their last output.

    Args:
        unit: height of the heads' unit, in heights of the film.

    Input shape:
        The heads' output [B, K, 3].

    Output shape:
        [B, K], heights of the film.
    """

    # Of the logarithm: from 0.2 % of the unit to 7 times the unit.
    _LEAST, _LARGEST = -6.0, 2.0

    def __init__(self, unit: float, **options: Any) -> None:
        super().__init__(**{"dtype": coordinate_dtype(), **options})
        self.unit = unit

    def call(self, output: Tensor) -> Tensor:
        """Return the spread."""
        return self.unit * ops.exp(ops.clip(output[..., 2], self._LEAST, self._LARGEST))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "unit": self.unit,
        }


@keras.saving.register_keras_serializable("cephray")
class StackPasses(layers.Layer):
    """Stacks the results of the refinement passes.

    Input shape:
        P tensors [B, ...].

    Output shape:
        [B, P, ...]
    """

    def call(self, results: list[Tensor]) -> Tensor:
        """Return the stack."""
        return ops.stack(results, axis=1)


def build_network(config: Config, pretrained: bool = True, portable: bool = False) -> keras.Model:
    """Build CEPHMark-Net (Khalid et al. 2024) with fresh weights.

    Args:
        config: the sections `data` (image size, landmarks) and `model` are read.
        pretrained: load the backbone's weights where `model.backbone_weights` names some; without
            it, a checkpoint is to fill them.
        portable: compose the crop of Keras operations, for a place without the custom op.

    Returns:
        A model from "image" [B, H, W, 3], grey values in [0, 1], and "first_points" [B, K, 2] or
        none, to the fields of `Prediction`; `predict` calls it.

    Example:
        >>> network = build_network(Config())
        >>> predict(network, images).refined.shape
        (1, 19, 2)
    """
    model, num_landmarks = config.model, len(landmark_set(config.data.landmarks))
    height, width = config.data.image_height, config.data.image_width

    image = keras.Input((height, width, 3), name="image")
    first_points = keras.Input((num_landmarks, 2), name="first_points", optional=True)
    pyramid = build_pyramid(model.backbone, image, model.backbone_weights, pretrained)
    regressed = coarse = LandmarkDetection(
        num_landmarks, model.detection_channels, model.detection_scale, name="detection"
    )(pyramid[-1])

    depth = min(model.crop_depth or model.fusion_depth, model.fusion_depth)
    finest = len(STRIDES) - model.fusion_depth
    levels = fuse(pyramid[finest:], model.fusion_channels)
    if model.detection_heatmap:
        second_coarsest = levels[-2:][0]  # or the only one
        x = layers.Conv2D(
            model.fusion_channels, 3, padding="same", activation="relu", name="heatmap_features"
        )(second_coarsest)
        coarse = HeatmapDetection(
            num_landmarks, model.detection_window, width / height, name="heatmap_detection"
        )(x, regressed)
    levels = levels[:depth]
    crop = WindowCrop(
        STRIDES[finest : finest + depth],
        model.window_cells[::-1][finest : finest + depth],
        (height, width),
        model.roi_pool_size,
        differentiable=model.differentiable_boxes,
        portable=portable,
        name="crop",
    )
    heads = _build_heads(model)
    unit = (1.0, 1.0)
    if model.offset_unit == "window":
        unit = (crop.smallest_window / width, crop.smallest_window / height)
    move = Move(unit, model.detach_passes, name="move")

    points, passes, heads_outputs = (
        FirstPoints(dtype=coordinate_dtype(), name="first")(coarse, first_points),
        [],
        [],
    )
    for _ in range(model.refinement_passes):
        heads_outputs.append(heads(crop(levels, points)))
        points = move(points, heads_outputs[-1])
        passes.append(points)

    outputs = {"coarse": coarse, "passes": _stack(passes, "passes")}
    if model.spread:
        to_spread = Spread(unit[1], name="to_spread")
        outputs["spread"] = _stack([to_spread(output) for output in heads_outputs], "spread")
    if model.detection_heatmap:
        outputs["regressed"] = regressed
    if model.heatmap:
        outputs["heatmap"] = layers.Conv2D(
            num_landmarks, 1, dtype=coordinate_dtype(), name="heatmap"
        )(levels[0])
    network = keras.Model(
        {"image": image, "first_points": first_points}, outputs, name="cephmark_net"
    )
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = model.batch_norm_momentum
    if model.frozen_levels:
        for layer in keras.Model(image, pyramid[model.frozen_levels - 1]).layers:
            layer.trainable = False  # batch normalisation then keeps to its statistics
    return network


def predict(
    network: keras.Model,
    image: Tensor,
    training: bool = False,
    first_points: Tensor | None = None,
) -> Prediction:
    """Apply the network.

    Args:
        network: of `build_network`.
        image: [B, H, W, 3], grey values in [0, 1].
        training: batch statistics and dropout.
        first_points: [B, K, 2], normalised: where the first windows stand, in place of the coarse
            estimate; NaN where that is wanted.
    """
    image = ops.convert_to_tensor(image)
    if first_points is None:  # as numbers: a clone of Keras's takes no None
        shape = network.get_layer("first_points").output.shape[1:]
        first_points = ops.full((ops.shape(image)[0], *shape), float("nan"))
    inputs = {"image": image, "first_points": ops.convert_to_tensor(first_points)}
    return Prediction(**network(inputs, training=training))


def image_shape(network: keras.Model) -> tuple[int, int, int]:
    """Return the shape of one input image: H, W, 3."""
    shape: tuple[int, int, int] = network.get_layer("image").output.shape[1:]
    return shape


def _build_heads(model: ModelConfig) -> layers.Layer:
    outputs = 3 if model.spread else 2
    if model.head == "dense":
        return DenseHeads(
            model.head_channels,
            model.head_units,
            outputs,
            model.head_dropout,
            model.adapted,
            model.adapted_rank,
            name="refinement",
        )
    return RefinementHeads(
        model.head_channels,
        model.head_units,
        outputs,
        model.adapted,
        model.adapted_rank,
        name="refinement",
    )


def _stack(tensors: list[Tensor], name: str) -> Tensor:
    """Stack the results of the passes: [B, ...] each become [B, P, ...]."""
    return StackPasses(dtype=coordinate_dtype(), name=name)(tensors)
