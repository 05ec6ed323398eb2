"""The section `data`: which films are read, and how they become the network's input."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cephray.config.section import PositiveFloat, Section

Reader = Literal["mean", "senior", "junior"]


class DataConfig(Section):
    """Which films are read, and how they become the network's input."""

    landmarks: str = Field("isbi2015", description="landmark set: names and order")
    reader: Reader = Field("mean", description="whose marks are the truth")
    spacing_mm: PositiveFloat | None = Field(
        None, description="millimetres per pixel of all films; if none, the data set's own"
    )
    image_height: Annotated[int, Field(ge=32)] = Field(800, description="network input, pixels")
    image_width: Annotated[int, Field(ge=32)] = Field(640, description="network input, pixels")
    fit: Literal["stretch", "letterbox"] = Field(
        "stretch", description="letterbox: keeps the film's proportions, and fills what is left"
    )
    training: Literal["train", "all"] = Field(
        "train", description="films to train on; all: of a data set without splits"
    )
    validation: Literal["holdout", "test1", "test2", "none"] = Field(
        "holdout", description="films that choose the best epoch: a part of Training, or a split"
    )
    holdout_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="share of the Training films held out where validation is holdout"
    )
    separate_copies: bool = Field(
        True,
        description="no film both trained on and validated on: one that occurs twice is held out "
        "as a whole, or left out of training where it is in the validation split",
    )
