"""The section `inference`: how a trained network is used."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cephray.config.section import PositiveInt, Section

Zoom = Annotated[float, Field(ge=0.5, le=2.0)]


class InferenceConfig(Section):
    """How a trained network is used."""

    looks: PositiveInt = Field(
        1,
        description="times that a film is looked at; from the second on, in a frame in which the "
        "landmarks found before lie as the mean shape of the training films does",
    )
    zooms: Annotated[tuple[Zoom, ...], Field(min_length=1)] = Field(
        (1.0,),
        description="of the last look: widths of its frames, each a look, in widths of the frame "
        "that 1 is; landmarks are the mean over them",
    )
    confidence: tuple[float, float] | None = Field(
        None,
        description="offset and slope that make a spread the probability of an error of at most "
        "2 mm; `cephray calibrate` finds them",
    )
