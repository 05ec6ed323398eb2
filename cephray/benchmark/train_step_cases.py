"""Cases of the training step's benchmark: networks, film sizes, and names of subjects.

It knows which subject does without which case, and no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from cephray.benchmark.timing import OURS
from cephray.config import Backbone, Config, load_config

SIZES = ((416, 320), (800, 640))
PRESETS = ("paper", "best")
BATCHES = (8, 32)
PRECISIONS = ("mixed_bfloat16", "float32")
BACKBONE, UPDATE, HEAD_BY_HEAD = "backbone", "update", "head by head"
PYTORCH, BOUND = "pytorch", "bound"
PARTS = (BACKBONE, UPDATE)


@dataclass(frozen=True)
class Case:
    """One network on one input size (H, W).

    Args:
        backbone: name of the backbone.
        height: of the input.
        width: of the input.
        precision: Keras's dtype policy.
        batch: films of a step.
        device: that the step runs on.
        preset: whose network it is. If None, the paper's with this backbone.
        deterministic: train with `train.deterministic`.
    """

    backbone: str = "resnet50"
    height: int = SIZES[0][0]
    width: int = SIZES[0][1]
    precision: str = "float32"
    batch: int = 1
    device: Literal["cpu", "gpu"] = "cpu"
    preset: str | None = None
    deterministic: bool = False

    @property
    def config(self) -> Config:
        """The configuration of the network and of its training."""
        return load_config(
            self.preset,
            overrides=[
                f"model.backbone={self.backbone}",
                f"data.image_height={self.height}",
                f"data.image_width={self.width}",
                f"train.precision={self.precision}",
                f"train.global_batch_size={self.batch}",
                f"train.deterministic={str(self.deterministic).lower()}",
                f"train.jit={'on' if self.device == 'gpu' else 'auto'}",  # as in a long run
            ],
        )

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the subjects, those that the case must do without included."""
        others = (HEAD_BY_HEAD,) if self.device == "cpu" else (PYTORCH, BOUND)
        return (OURS, *PARTS, *others)

    def reason_without(self, subject: str) -> str | None:
        """Say why this case does without a subject, or None if it does not."""
        if subject == HEAD_BY_HEAD and (self.height, self.width) != SIZES[0]:
            return "twenty passes at this size take more memory than machines have"
        if subject == PYTORCH and self.backbone != "resnet50":
            return f"it is a ResNet50, and this case has the backbone {self.backbone}"
        return None


def preset_case(
    preset: str, batch: int, precision: str = PRECISIONS[0], deterministic: bool = False
) -> Case:
    """Return the case of a preset's network on a GPU."""
    config = load_config(preset)
    return Case(
        config.model.backbone,
        config.data.image_height,
        config.data.image_width,
        precision,
        batch,
        "gpu",
        preset,
        deterministic,
    )


def quick_cases(on_gpu: bool) -> Iterator[Case]:
    """On a CPU the case that the published code can be compared on, on a GPU one a preset."""
    if on_gpu:
        yield from (preset_case(preset, BATCHES[0]) for preset in PRESETS)
    else:
        yield Case()


def full_cases(on_gpu: bool) -> Iterator[Case]:
    """On a CPU every backbone at both sizes; on a GPU every preset, batch and precision.

    On a GPU the quick cases come again with `train.deterministic`.
    """
    if on_gpu:
        for preset in PRESETS:
            for batch in BATCHES:
                for precision in PRECISIONS:
                    yield preset_case(preset, batch, precision)
        yield from (preset_case(name, BATCHES[0], deterministic=True) for name in PRESETS)
    else:
        for height, width in SIZES:
            for backbone in get_args(Backbone):
                yield Case(backbone, height, width)
