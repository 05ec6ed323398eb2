"""The section `augment`: random changes of the training films, with switches and strengths."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cephray.config.section import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
)

_LARGEST_BEND = 0.1  # of max_shift times points: neighbours then move by less than they are apart


class HighPassConfig(Section):
    """Removes the lowest spatial frequencies."""

    enabled: bool = False
    max_radius: PositiveFloat = Field(1.0, description="largest cut-off, cycles per film")


class UnsharpMaskConfig(Section):
    """Adds the difference to a blurred, dilated or eroded copy."""

    enabled: bool = False
    amount: NonNegativeFloat = Field(1.0, description="weight of the difference")
    radius: PositiveFloat = Field(0.001, description="filter radius, fraction of the film height")


class SolarizeConfig(Section):
    """Inverts pixels that are brighter than a threshold."""

    enabled: bool = False
    threshold: Probability = Field(0.5, description="grey value, 0 black to 1 white")


class InvertConfig(Section):
    """Swaps black and white."""

    enabled: bool = False


class ClaheConfig(Section):
    """Equalises the histogram within tiles, with limited contrast (CLAHE)."""

    enabled: bool = False
    clip_limit: PositiveFloat = Field(1.0, description="highest histogram bin, times the mean bin")
    tiles: PositiveInt = Field(16, description="tiles along each side of the film")


class FlipConfig(Section):
    """Mirrors left and right."""

    enabled: bool = False
    probability: Probability = 0.5


class ShiftConfig(Section):
    """Shifts the film along both axes. The landmarks keep a margin to the film's edges."""

    enabled: bool = False
    probability: Probability = 0.5
    vertical: Probability = Field(
        1.0, description="maximum vertical shift, fraction of the shift that keeps the margin"
    )
    horizontal: Probability = Field(
        1.0, description="maximum horizontal shift, fraction of the shift that keeps the margin"
    )
    margin: Probability = Field(
        0.04, description="minimum distance of landmarks to the edges, fraction of the film height"
    )


class CropConfig(Section):
    """Crops the film to its landmarks, with a random margin."""

    enabled: bool = False
    probability: Probability = 0.5
    min_margin: Probability = Field(
        0.05, description="minimum margin, fraction of the film height"
    )
    max_margin: Probability = Field(
        0.08, description="maximum margin, fraction of the film height"
    )

    @model_validator(mode="after")
    def _ordered(self) -> CropConfig:
        if self.min_margin > self.max_margin:
            raise ValueError(
                f"min_margin must not exceed max_margin; got {self.min_margin} > {self.max_margin}"
            )
        return self


class JitterConfig(Section):
    """Moves each landmark independently, like the differences between readers.

    The image is unchanged.
    """

    enabled: bool = False
    probability: Probability = 0.25
    max_shift: NonNegativeFloat = Field(
        0.004, description="maximum shift along each axis, fraction of the film height"
    )


class AffineConfig(Section):
    """Rotates, scales, stretches and shifts the film. Uncovered pixels are filled."""

    enabled: bool = False
    rotation_deg: NonNegativeFloat = Field(
        10.0, description="maximum rotation in both directions, degrees"
    )
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.12, description="maximum relative change of the size"
    )
    aspect: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.04, description="maximum relative change of width over height"
    )
    shift: Probability = Field(
        0.05, description="maximum shift along each axis, fraction of the film's side"
    )
    fill: Literal["black", "drawn"] = Field(
        "black",
        description="value of uncovered pixels; drawn: the film's edge pixels are repeated, or "
        "the fill is black, grey or white, at random",
    )


class ElasticConfig(Section):
    """Bends the film: points of a coarse grid move at random, and the film between them smoothly.

    The landmarks move with the film, and may leave it.
    """

    enabled: bool = False
    probability: Probability = Field(0.5, description="probability for each film")
    max_shift: NonNegativeFloat = Field(
        0.015,
        description="maximum shift of a grid point along each axis, fraction of the film height",
    )
    points: Annotated[int, Field(ge=3, le=16)] = Field(
        5, description="grid points along each side of the film"
    )

    @model_validator(mode="after")
    def _does_not_fold(self) -> ElasticConfig:
        if self.max_shift * self.points > _LARGEST_BEND:
            raise ValueError(
                f"max_shift times points must not exceed {_LARGEST_BEND}, or the film folds over "
                f"itself; got {self.max_shift} × {self.points}"
            )
        return self


class BandConfig(Section):
    """Adds a dark or bright band along the top and left edges, like those of collimators."""

    enabled: bool = False
    probability: Probability = 0.5
    max_share: Probability = Field(
        0.12, description="maximum width of a band, fraction of the film's height or width"
    )


class ToneConfig(Section):
    """Applies a random tone curve and adds noise, like the differences between scanners."""

    enabled: bool = False
    gamma: NonNegativeFloat = Field(
        0.3, description="maximum absolute logarithm of the gamma exponent"
    )
    contrast: NonNegativeFloat = Field(
        0.2, description="maximum absolute logarithm of the contrast factor"
    )
    brightness: Probability = Field(
        0.1, description="maximum change of brightness; from black to white is 1"
    )
    noise: Probability = Field(
        0.02, description="maximum standard deviation of the noise; from black to white is 1"
    )
    inversion: Probability = Field(0.1, description="probability that black and white are swapped")


class WindowNoiseConfig(Section):
    """Centres the first windows on the true landmarks plus noise, instead of on stage one.

    Stage one soon becomes more accurate on training films than on new films. With this
    augmentation, the heads still learn from windows that are as far off as on new films.
    """

    enabled: bool = False
    probability: Probability = Field(0.5, description="probability for each film")
    min_mm: NonNegativeFloat = Field(
        0.5, description="minimum standard deviation along each axis, drawn for each film"
    )
    max_mm: NonNegativeFloat = Field(
        4.0, description="maximum standard deviation along each axis, drawn for each film"
    )

    @model_validator(mode="after")
    def _ordered(self) -> WindowNoiseConfig:
        if self.min_mm > self.max_mm:
            raise ValueError(f"min_mm must not exceed max_mm; got {self.min_mm} > {self.max_mm}")
        return self


class AugmentConfig(Section):
    """Random changes of the training films, each with a switch and a strength.

    At most one of the photometric changes (`high_pass` to `clahe`) is applied to a film. The
    enabled ones, and no change at all, are equally likely. The other augmentations are applied
    independently of each other.
    """

    high_pass: HighPassConfig = HighPassConfig()
    unsharp_mask: UnsharpMaskConfig = UnsharpMaskConfig()
    solarize: SolarizeConfig = SolarizeConfig()
    invert: InvertConfig = InvertConfig()
    clahe: ClaheConfig = ClaheConfig()
    flip: FlipConfig = FlipConfig()
    shift: ShiftConfig = ShiftConfig()
    crop: CropConfig = CropConfig()
    jitter: JitterConfig = JitterConfig()
    affine: AffineConfig = AffineConfig()
    elastic: ElasticConfig = ElasticConfig()
    band: BandConfig = BandConfig()
    tone: ToneConfig = ToneConfig()
    window_noise: WindowNoiseConfig = WindowNoiseConfig()
