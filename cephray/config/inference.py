"""The section `inference`: how a trained network is used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cephray.config.section import PositiveFloat, PositiveInt, Section

Zoom = Annotated[float, Field(ge=0.5, le=2.0)]


class InferenceConfig(Section):
    """How a trained network is applied to films."""

    looks: PositiveInt = Field(
        1,
        description="number of times that the network is applied to a film; from the second time "
        "on, the frame is chosen such that the landmarks found before match the mean shape of the "
        "training films",
    )
    zooms: Annotated[tuple[Zoom, ...], Field(min_length=1)] = Field(
        (1.0,),
        description="relative widths of the frames in the last look; the network is applied to "
        "each frame, and the landmarks are averaged",
    )
    reframing: bool = Field(
        True,
        description="whether a film on which the head is smaller, larger or elsewhere than on the "
        "training films is looked at again, in a frame in which it lies as on them; only with "
        "data.fit=letterbox and model.detection_prior=mean_shape",
    )
    righting: bool = Field(
        True,
        description="whether films that are mirrored, turned by 90, 180 or 270 degrees, or "
        "inverted are recognised, and righted before landmarks are found",
    )
    convention: Literal["adapted", "original"] = Field(
        "adapted",
        description="how an adapted network marks: adapted, as on the films that it was adapted "
        "to; original, as it was trained before",
    )
    confidence: tuple[float, float] | None = Field(
        None,
        description="offset and slope of the calibration, which turns a spread into the "
        "probability of an error of at most 2 mm; see `cephray calibrate`",
    )
    radius_factor: PositiveFloat | None = Field(
        None,
        description="ratio of the radius that holds a landmark in 95 % of cases to its spread, by "
        "`cephray calibrate`; if none, it follows from the confidence",
    )
