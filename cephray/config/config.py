"""The whole configuration: its sections, and the rules across sections."""

from __future__ import annotations

from pydantic import model_validator

from cephray.config.augment import AugmentConfig
from cephray.config.data import DataConfig
from cephray.config.inference import InferenceConfig
from cephray.config.model import LossConfig, ModelConfig
from cephray.config.section import Section
from cephray.config.train import TrainConfig
from cephray.landmarks import landmark_set


class Config(Section):
    """All settings of a run, except the locations of its data and output."""

    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    inference: InferenceConfig = InferenceConfig()

    @model_validator(mode="after")
    def _check_landmark_weights(self) -> Config:
        count = len(landmark_set(self.data.landmarks))
        weights = self.loss.landmark_weights
        if weights is not None and len(weights) != count:
            raise ValueError(
                f"loss.landmark_weights must have {count} entries, one for each landmark; "
                f"got {len(weights)}"
            )
        return self

    @model_validator(mode="after")
    def _check_spread(self) -> Config:
        if self.model.spread != (self.loss.error == "laplace"):
            raise ValueError(
                "loss.error=laplace and model.spread=true need each other; got "
                f"loss.error={self.loss.error}, model.spread={str(self.model.spread).lower()}"
            )
        if self.loss.error == "laplace" and self.loss.unit != "mm":
            raise ValueError("loss.error=laplace needs loss.unit=mm; got loss.unit=film")
        return self

    @model_validator(mode="after")
    def _check_inference(self) -> Config:
        if self.inference.looks > 1 and (
            self.data.fit != "letterbox" or self.model.detection_prior != "mean_shape"
        ):
            raise ValueError(
                f"inference.looks={self.inference.looks} needs data.fit=letterbox and "
                f"model.detection_prior=mean_shape; got data.fit={self.data.fit}, "
                f"model.detection_prior={self.model.detection_prior}"
            )
        if self.inference.zooms != (1.0,) and self.data.fit != "letterbox":
            raise ValueError("inference.zooms needs data.fit=letterbox; got data.fit=stretch")
        for name in ("confidence", "radius_factor"):
            if getattr(self.inference, name) is not None and not self.model.spread:
                raise ValueError(
                    f"inference.{name} needs model.spread=true; got model.spread=false"
                )
        return self
