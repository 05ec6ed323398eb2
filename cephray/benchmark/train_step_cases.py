"""Cases of the training step's benchmark: backbones, film sizes, and names of subjects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from cephray.config import Backbone, Config, load_config

SIZES = ((416, 320), (800, 640))
BACKBONE, UPDATE, HEAD_BY_HEAD = "backbone", "update", "head by head"


@dataclass(frozen=True)
class Case:
    """One backbone, one input size (H, W), one film a step."""

    backbone: str = "resnet50"
    height: int = 416
    width: int = 320
    precision: str = "float32"

    @property
    def config(self) -> Config:
        """The paper's network on this input."""
        return load_config(
            overrides=[
                f"model.backbone={self.backbone}",
                f"data.image_height={self.height}",
                f"data.image_width={self.width}",
                f"train.precision={self.precision}",
                "train.global_batch_size=1",
            ]
        )


def quick_cases() -> Iterator[Case]:
    """The case that the published code can be compared on."""
    yield Case()


def full_cases() -> Iterator[Case]:
    """Every backbone at both sizes."""
    for height, width in SIZES:
        for backbone in get_args(Backbone):
            yield Case(backbone, height, width)
