"""The base class of all sections of the configuration, and the types of their values."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base class of all sections. Sections are immutable and refuse unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
