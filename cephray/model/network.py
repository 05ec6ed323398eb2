"""The two-stage network: image -> Prediction(coarse, refined), trained end to end.

The backbone runs once. It puts the modules together and knows neither loss nor data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import layers

from cephray.config import Config
from cephray.landmarks import landmark_set
from cephray.model.backbones import STRIDES, build_pyramid
from cephray.model.cropping import WindowCrop
from cephray.model.detection import LandmarkDetection
from cephray.model.fusion import fuse
from cephray.model.refinement import RefinementHeads

Tensor = Any


class Prediction(NamedTuple):
    """Landmarks of both stages: [B, K, 2] each, normalised (x, y), float32."""

    coarse: Tensor
    refined: Tensor


def build_network(config: Config, pretrained: bool = True) -> keras.Model:
    """Build CEPHMark-Net (Khalid et al. 2024) with fresh weights.

    Args:
        config: the sections `data` (image size, landmarks) and `model` are read.
        pretrained: load the backbone's weights where `model.backbone_weights` names some; without
            it, a checkpoint is to fill them.

    Returns:
        A model from image [B, H, W, 3], grey values in [0, 1], to {"coarse", "refined"},
        [B, K, 2] each; `predict` gives them their type.

    Example:
        >>> network = build_network(Config())
        >>> predict(network, images).refined.shape
        (1, 19, 2)
    """
    model, num_landmarks = config.model, len(landmark_set(config.data.landmarks))
    height, width = config.data.image_height, config.data.image_width

    image = keras.Input((height, width, 3), name="image")
    pyramid = build_pyramid(model.backbone, image, model.backbone_weights, pretrained)
    coarse = LandmarkDetection(num_landmarks, scale=model.detection_scale, name="detection")(
        pyramid[-1]
    )

    levels = fuse(pyramid[-model.fusion_depth :], model.fusion_channels)
    crop = WindowCrop(
        STRIDES[-model.fusion_depth :],
        (height, width),
        model.roi_pool_size,
        differentiable=model.differentiable_boxes,
        name="crop",
    )
    heads = RefinementHeads(model.head_channels, model.head_units, name="refinement")
    unit = (1.0, 1.0)
    if model.offset_unit == "window":
        unit = (crop.smallest_window / width, crop.smallest_window / height)
    to_film = layers.Rescaling(unit, dtype="float32", name="offset_unit")

    refined = coarse
    for index in range(model.refinement_passes):
        offset = to_film(heads(crop(levels, refined)))
        refined = layers.Add(dtype="float32", name=f"refined_{index + 1}")([refined, offset])

    network = keras.Model(image, {"coarse": coarse, "refined": refined}, name="cephmark_net")
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = model.batch_norm_momentum
    return network


def predict(network: keras.Model, image: Tensor, training: bool = False) -> Prediction:
    """Apply the network to images [B, H, W, 3]."""
    return Prediction(**network(image, training=training))
