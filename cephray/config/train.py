"""The section `train`: optimisation, and the resources of the job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from cephray.config.section import NonNegativeFloat, PositiveFloat, PositiveInt, Section


def _written_in_yaml(value: object) -> object:
    """Return the word that was written: YAML reads on and off as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class TrainConfig(Section):
    """Optimisation, and the resources of the job."""

    epochs: PositiveInt = 10
    global_batch_size: PositiveInt = Field(8, description="films per step, all workers together")
    learning_rate: PositiveFloat = Field(1e-4, description="of Adam")
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegativeFloat = Field(0.0, description="linear warm-up; may be a fraction")
    weight_decay: NonNegativeFloat = Field(
        0.0, description="of AdamW: kernels shrink by this share of the learning rate each step"
    )
    clip_norm: PositiveFloat | None = Field(None, description="largest global gradient norm")
    precision: Literal["float32", "mixed_bfloat16", "float64"] = Field(
        "float32",
        description="mixed: backbone, fusion, crop and heads compute in bfloat16; weights, "
        "landmarks and loss stay float32, and bfloat16's range needs no loss scaling. float64: "
        "slow; for comparing runs without float32's rounding",
    )
    jit: Annotated[Literal["auto", "on", "off"], BeforeValidator(_written_in_yaml)] = Field(
        "auto",
        description="Compile the training and validation steps with XLA. auto: on GPUs, and only "
        "if XLA can compile them. The first step of each batch size waits for the compiler. On "
        "CPUs the plain steps are faster",
    )
    accumulation_steps: PositiveInt = Field(
        1, description="parts that a worker's share of a batch is computed in, for less memory"
    )
    exchange_dtype: Literal["float32", "bfloat16", "float64"] = Field(
        "float32",
        description="type that gradients travel in between workers; float64 goes with "
        "train.precision=float64",
    )
    average_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="of the weights' moving average, which is validated and saved"
    )
    early_stop_patience: PositiveInt | None = Field(
        None, description="epochs without a better validation MRE before the run ends"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    deterministic: bool = Field(True, description="the same bits in every run on the same machine")
    num_workers: PositiveInt = 1
    use_gpu: bool = Field(False, description="one GPU for each worker")
    cpus_per_worker: PositiveInt | None = Field(
        None, description="CPUs of each worker; if none, the cluster's CPUs are shared evenly"
    )
    min_workers: PositiveInt | None = Field(
        None, description="fewest workers to go on with after a node is lost; if none, all"
    )
    wait_for_resources_s: PositiveFloat = Field(
        30.0,
        description="how long to wait for room for the workers before giving up, at the start and "
        "when a node is lost",
    )
    max_failures: Annotated[int, Field(ge=0)] = Field(
        2, description="times that lost workers are replaced before the run fails"
    )

    @model_validator(mode="after")
    def _fewer_workers(self) -> TrainConfig:
        if self.min_workers is not None and self.min_workers > self.num_workers:
            raise ValueError(
                f"min_workers must not exceed num_workers; got {self.min_workers} > "
                f"{self.num_workers}"
            )
        return self
