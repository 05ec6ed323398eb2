"""The section `inference`: what is done with a trained network on a film."""

from __future__ import annotations

from pydantic import Field

from cephray.config.section import PositiveInt, Section


class InferenceConfig(Section):
    """How a trained network looks at films."""

    looks: PositiveInt = Field(
        1,
        description="times that a film is looked at; from the second on, in a frame in which the "
        "landmarks found before lie as the mean shape of the training films does",
    )
    confidence: tuple[float, float] | None = Field(
        None,
        description="offset and slope that make a spread the probability of an error of at most "
        "2 mm; `cephray calibrate` finds them",
    )
