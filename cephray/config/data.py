"""The section `data`: which films are read, and how they are fitted to the network's input."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cephray.config.section import PositiveFloat, Section

Reader = Literal["mean", "senior", "junior"]


class DataConfig(Section):
    """Which films are read, and how they are fitted to the network's input."""

    landmarks: str = Field("isbi2015", description="name of the landmark set")
    reader: Reader = Field("mean", description="reader whose marks are taken as the truth")
    spacing_mm: PositiveFloat | None = Field(
        None,
        description="millimetres per pixel of all films; if none, the spacing in the data set",
    )
    image_height: Annotated[int, Field(ge=32)] = Field(
        800, description="height of the network's input, pixels"
    )
    image_width: Annotated[int, Field(ge=32)] = Field(
        640, description="width of the network's input, pixels"
    )
    fit: Literal["stretch", "letterbox"] = Field(
        "stretch",
        description="stretch: resizes the film to the input; letterbox: keeps the film's aspect "
        "ratio and fills the rest",
    )
    training: Literal["train", "all"] = Field(
        "train",
        description="split to train on; all: every film, for data sets without splits",
    )
    validation: Literal["holdout", "test1", "test2", "none"] = Field(
        "holdout",
        description="films on which the best epoch is chosen: held out from the training films, "
        "a split, or none",
    )
    holdout_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="fraction of the training films that is held out if validation is holdout"
    )
    separate_copies: bool = Field(
        True,
        description="keep copies of a film on the same side of the split; training films that are "
        "copies of validation films are left out of training",
    )
