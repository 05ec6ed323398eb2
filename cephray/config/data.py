"""The section `data`: which films are read, and how they are fitted to the network's input."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cephray.config.section import PositiveFloat, Section
from cephray.errors import InputError
from cephray.landmarks import landmark_set, landmark_set_names


def fold_count(fraction: float) -> int:
    """Return the number of folds of which each holds out a fraction of the films."""
    return max(1, round(1 / fraction))


class DataConfig(Section):
    """Which films are read, and how they are fitted to the network's input."""

    landmarks: str | dict[str, Any] = Field(
        "isbi2015",
        description="landmark set: the name of one that comes with cephray, the path of a YAML "
        "file, or the values of such a file, which a path is replaced by",
    )
    reader: Annotated[str, Field(min_length=1)] = Field(
        "mean",
        description="reader whose marks are taken as the truth; mean: the mean of all readers; "
        "all: each time that training takes a film, the marks of one of them, and elsewhere their "
        "mean",
    )
    unknown_labels: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="what to do with marked points that are not in the landmark set",
    )
    spacing_mm: PositiveFloat | None = Field(
        None,
        description="millimetres per pixel of all films; if none, the spacing in the data set",
    )
    ruler_mm: PositiveFloat | None = Field(
        None,
        description="millimetres between the points that are marked as ruler1 and ruler2 on each "
        "film, from which its spacing is computed",
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
    fold: Annotated[int, Field(ge=0)] = Field(
        0,
        description="which of the parts of the training films, from 0, is held out if validation "
        "is holdout; with a holdout_fraction of 0.2 there are the folds 0 to 4",
    )
    separate_copies: bool = Field(
        True,
        description="keep copies of a film on the same side of the split; training films that are "
        "copies of validation films are left out of training",
    )

    @model_validator(mode="after")
    def _check_fold(self) -> DataConfig:
        folds = fold_count(self.holdout_fraction)
        if self.fold >= folds:
            raise ValueError(
                f"fold must be below {folds}, the number of folds with holdout_fraction="
                f"{self.holdout_fraction:g}; got {self.fold}"
            )
        return self

    @field_validator("landmarks")
    @classmethod
    def _read_landmarks(cls, given: str | dict[str, Any]) -> str | dict[str, Any]:
        """Replace a file by its values, since a checkpoint needs them where there is no file."""
        try:
            found = landmark_set(given)
        except InputError as error:
            raise ValueError(str(error)) from None
        is_included = isinstance(given, str) and given in landmark_set_names()
        return given if is_included else found.to_tree()
