"""The section `train`: optimisation, and the resources of the run."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cephray.config.section import NonNegativeFloat, PositiveFloat, PositiveInt, Section


def _written_in_yaml(value: object) -> object:
    """Return "on" or "off" for a boolean, since YAML reads these words as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class TrainConfig(Section):
    """Optimisation, and the resources of the run."""

    epochs: PositiveInt = Field(10, description="number of epochs")
    global_batch_size: PositiveInt = Field(8, description="films per step, over all workers")
    init: str | None = Field(
        None,
        description="checkpoint whose weights a new run begins with, as far as they fit: a "
        "folder, a URI, or included for the one that comes with cephray; if none, fresh weights",
    )
    learning_rate: PositiveFloat = Field(1e-4, description="learning rate of Adam")
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none",
        description="for batches of another size than reference_batch_size: multiply the learning "
        "rate by the ratio of the sizes (linear), by its square root (sqrt), or not",
    )
    reference_batch_size: PositiveInt | None = Field(
        None,
        description="batch size that learning_rate is meant for; learning_rate_scaling needs it",
    )
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="schedule of the learning rate after warm-up"
    )
    warmup_epochs: NonNegativeFloat = Field(
        0.0, description="number of epochs of linear warm-up; may be a fraction"
    )
    weight_decay: NonNegativeFloat = Field(
        0.0,
        description="weight decay of AdamW: in each step, kernels shrink by this fraction, times "
        "the learning rate",
    )
    clip_norm: PositiveFloat | None = Field(
        None, description="maximum global norm of the gradients; if none, no clipping"
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "float64"] = Field(
        "auto",
        description="auto: mixed_bfloat16 on GPUs, float32 on CPUs; float32: GPUs round inputs "
        "of convolutions and products to 10 bits (TF32); mixed_bfloat16: backbone, fusion, crop "
        "and heads compute in bfloat16, while weights, landmarks and loss are float32; float64: "
        "slow, for comparing runs with less rounding",
    )
    jit: Annotated[Literal["auto", "on", "off"], BeforeValidator(_written_in_yaml)] = Field(
        "auto",
        description="compile the training and validation steps with XLA; auto: on GPUs, in runs "
        "of at least 3000 steps, if XLA can compile them; the first step of each batch size waits "
        "one or two minutes for the compiler; on CPUs, steps without XLA are faster",
    )
    accumulation_steps: PositiveInt = Field(
        1,
        description="number of parts in which a worker computes its part of a batch, to save "
        "memory",
    )
    exchange_dtype: Literal["float32", "bfloat16", "float64"] = Field(
        "float32",
        description="type of the gradients that workers exchange; float64 is for "
        "train.precision=float64",
    )
    checkpoint_every: int | str = Field(
        1,
        description="time between checkpoints: a number of epochs, or minutes such as 10min, also "
        "within an epoch; the last epoch always has one; the best is chosen of the epochs that "
        "have one",
    )
    average_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="decay of the moving average of the weights, which is validated and saved; if "
        "none, the weights themselves",
    )
    early_stop_patience: PositiveInt | None = Field(
        None,
        description="number of epochs without a better validation MRE after which the run ends; "
        "if none, it trains for all epochs",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0,
        description="seed of initial weights, holdout, order of films, and augmentation",
    )
    deterministic: bool = Field(
        True, description="compute bit-identical results in every run on the same machine"
    )
    num_workers: PositiveInt = Field(1, description="number of workers")
    use_gpu: bool = Field(False, description="train on GPUs; without it, workers see none")
    gpus_per_worker: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="GPUs of each worker, with use_gpu; with 0.25, four workers or trials share "
        "one",
    )
    cpus_per_worker: PositiveInt | None = Field(
        None, description="CPUs of each worker; if none, the cluster's CPUs are shared evenly"
    )
    min_workers: PositiveInt | None = Field(
        None,
        description="minimum number of workers to begin with, and to continue with after a node "
        "is lost; if none, num_workers",
    )
    grow_every_s: PositiveFloat = Field(
        300.0,
        description="with min_workers, seconds between looks for room for more workers, up to "
        "num_workers; a run that grows goes on from its last checkpoint",
    )
    wait_for_resources_s: PositiveFloat = Field(
        30.0,
        description="seconds to wait for the workers' resources before the run fails, at the "
        "start and after a node is lost",
    )
    stall_timeout_s: PositiveFloat = Field(
        900.0,
        description="seconds without a step of any worker after which the workers that hold up "
        "the others are named, and all start again from the last checkpoint",
    )
    max_failures: Annotated[int, Field(ge=0)] = Field(
        2, description="number of times that lost workers are replaced before the run fails"
    )

    tracking: Literal["mlflow", "wandb"] | None = Field(
        None,
        description="library that is told of settings and epochs, besides the run's own history; "
        "its package extra has the same name; if none, no library",
    )

    @property
    def policy(self) -> str:
        """The precision that is meant: without "auto"."""
        if self.precision == "auto":
            return "mixed_bfloat16" if self.use_gpu else "float32"
        return self.precision

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after warm-up, scaled to the batch size (Goyal et al. 2017)."""
        power = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}[self.learning_rate_scaling]
        ratio = self.global_batch_size / (self.reference_batch_size or self.global_batch_size)
        return float(self.learning_rate * ratio**power)

    @property
    def gpus(self) -> float:
        """GPUs of each worker: 0 on CPUs."""
        return self.gpus_per_worker if self.use_gpu else 0.0

    @property
    def collectives(self) -> Literal["NCCL", "RING"]:
        """The library that sums over workers; NCCL takes no GPU that is shared."""
        return "NCCL" if self.gpus == 1 else "RING"

    @field_validator("checkpoint_every", mode="before")
    @classmethod
    def _check_epochs_or_minutes(cls, every: object) -> object:
        if isinstance(every, str):
            fits = re.fullmatch(r"(?!0*\.?0*min)\d+(\.\d+)?min", every) is not None
        else:
            fits = isinstance(every, int) and not isinstance(every, bool) and every > 0
        if not fits:
            raise ValueError(f"must be a number of epochs, or minutes as in 10min; got {every!r}")
        return every

    @model_validator(mode="after")
    def _check_scaling(self) -> TrainConfig:
        if self.learning_rate_scaling != "none" and self.reference_batch_size is None:
            raise ValueError(
                f"learning_rate_scaling={self.learning_rate_scaling} needs reference_batch_size, "
                "the batch size that learning_rate is meant for"
            )
        return self

    @model_validator(mode="after")
    def _check_workers(self) -> TrainConfig:
        if self.min_workers is not None and self.min_workers > self.num_workers:
            raise ValueError(
                f"min_workers must not exceed num_workers; got {self.min_workers} > "
                f"{self.num_workers}"
            )
        return self
