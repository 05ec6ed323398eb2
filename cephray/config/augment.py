"""The section `augment`: what is done to training films, each with its own switch and strength."""

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


class HighPassConfig(Section):
    """Removes the lowest spatial frequencies."""

    enabled: bool = False
    max_radius: PositiveFloat = Field(1.0, description="largest cut-off, cycles per film")


class UnsharpMaskConfig(Section):
    """Adds the difference to a blurred, dilated or eroded copy."""

    enabled: bool = False
    amount: NonNegativeFloat = Field(1.0, description="weight of the difference")
    radius: PositiveFloat = Field(0.001, description="filter radius, share of the film height")


class SolarizeConfig(Section):
    """Inverts what is brighter than a threshold."""

    enabled: bool = False
    threshold: Probability = Field(0.5, description="grey value, 0 black to 1 white")


class InvertConfig(Section):
    """Swaps black and white."""

    enabled: bool = False


class ClaheConfig(Section):
    """Equalises the histogram within tiles, its contrast limited."""

    enabled: bool = False
    clip_limit: PositiveFloat = 1.0
    tiles: PositiveInt = Field(16, description="tiles along each side of the film")


class FlipConfig(Section):
    """Mirrors left and right."""

    enabled: bool = False
    probability: Probability = 0.5


class ShiftConfig(Section):
    """Moves the film along both axes; landmarks keep a margin to its edges."""

    enabled: bool = False
    probability: Probability = 0.5
    vertical: Probability = Field(1.0, description="largest shift, share of the room there is")
    horizontal: Probability = Field(1.0, description="the same for left and right")
    margin: Probability = Field(0.04, description="least distance kept, share of the film height")


class CropConfig(Section):
    """Cuts out the face, with a random margin around the landmarks."""

    enabled: bool = False
    probability: Probability = 0.5
    min_margin: Probability = Field(0.05, description="share of the film height")
    max_margin: Probability = Field(0.08, description="share of the film height")

    @model_validator(mode="after")
    def _ordered(self) -> CropConfig:
        if self.min_margin > self.max_margin:
            raise ValueError(
                f"min_margin must not exceed max_margin; got {self.min_margin} > {self.max_margin}"
            )
        return self


class JitterConfig(Section):
    """Moves each landmark on its own, as readers differ. The image stays."""

    enabled: bool = False
    probability: Probability = 0.25
    max_shift: NonNegativeFloat = Field(0.004, description="each axis, share of the film height")


class AffineConfig(Section):
    """Turns, scales, stretches and moves the film; what it leaves behind is filled."""

    enabled: bool = False
    rotation_deg: NonNegativeFloat = Field(10.0, description="largest, either way")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(0.12, description="largest change")
    aspect: Annotated[float, Field(ge=0, lt=1)] = Field(0.04, description="width over height")
    shift: Probability = Field(0.05, description="largest along each axis, share of the film")
    fill: Literal["black", "drawn"] = Field(
        "black", description="drawn: the film's edge goes on, or black, grey or white, by chance"
    )


class BandConfig(Section):
    """Draws a dark or bright band along the upper and left edge, as collimators do."""

    enabled: bool = False
    probability: Probability = 0.5
    max_share: Probability = Field(0.12, description="of the film's height and width")


class ToneConfig(Section):
    """Changes all grey values by a curve, and adds noise, as other scanners would."""

    enabled: bool = False
    gamma: NonNegativeFloat = Field(0.3, description="largest, of the exponent's logarithm")
    contrast: NonNegativeFloat = Field(0.2, description="largest, of the factor's logarithm")
    brightness: Probability = Field(0.1, description="largest, black to white is 1")
    noise: Probability = Field(0.02, description="largest standard deviation")
    inversion: Probability = Field(0.1, description="probability that black and white are swapped")


class WindowNoiseConfig(Section):
    """Places the first windows around the truth, off by chance, and not around stage one.

    Stage one is soon better on the training films than it ever is on others; so the heads keep
    meeting windows that are as far off as those of a new film.
    """

    enabled: bool = False
    probability: Probability = Field(0.5, description="of a film")
    min_mm: NonNegativeFloat = Field(0.5, description="standard deviation along each axis, from")
    max_mm: NonNegativeFloat = Field(4.0, description="to; one is drawn for a film")

    @model_validator(mode="after")
    def _ordered(self) -> WindowNoiseConfig:
        if self.min_mm > self.max_mm:
            raise ValueError(f"min_mm must not exceed max_mm; got {self.min_mm} > {self.max_mm}")
        return self


class AugmentConfig(Section):
    """Augmentations of the training films, each with its own switch and strength.

    At most one of the photometric ones (high-pass to CLAHE) is drawn for a film, with equal
    chances for each that is enabled and for none. The others act independently.
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
    band: BandConfig = BandConfig()
    tone: ToneConfig = ToneConfig()
    window_noise: WindowNoiseConfig = WindowNoiseConfig()
