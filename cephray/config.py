"""Every knob of a cephray run: typed, validated, documented; YAML file plus dotted overrides.

A `Config` is immutable. It travels in every checkpoint, so that a checkpoint alone suffices to
rebuild its network. It knows no TensorFlow and no files but its own YAML.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cephray.errors import InputError
from cephray.landmarks import LANDMARK_SETS
from cephray.storage import Place

Backbone = Literal[
    "vgg16",
    "vgg19",
    "resnet18",
    "resnet34",
    "resnet50",
    "darknet19",
    "darknet53",
    "efficientnet_lite0",
]
PRETRAINED_BACKBONES = ("vgg16", "vgg19", "resnet50", "efficientnet_lite0")
Reader = Literal["mean", "senior", "junior"]

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all sections: immutable, and refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class DataConfig(Section):
    """Which films are read, and how they become the network's input."""

    landmarks: str = Field("isbi2015", description="landmark set: names and order")
    reader: Reader = Field("mean", description="whose marks are the truth")
    spacing_mm: PositiveFloat | None = Field(
        None, description="millimetres per pixel of all films; none: the data set's own"
    )
    image_height: Annotated[int, Field(ge=32)] = Field(800, description="network input, pixels")
    image_width: Annotated[int, Field(ge=32)] = Field(640, description="network input, pixels")
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


class HighPassConfig(Section):
    """Removes the lowest spatial frequencies."""

    enabled: bool = False
    max_radius: PositiveFloat = Field(1.0, description="largest cut-off, cycles per film")


class UnsharpMaskConfig(Section):
    """Adds the difference to a blurred, dilated or eroded copy."""

    enabled: bool = False
    amount: NonNegativeFloat = Field(1.0, description="weight of the difference")
    radius: PositiveFloat = Field(0.001, description="filter radius, share of the film height")


class SolarizeConfig(Section):
    """Inverts what is brighter than a threshold."""

    enabled: bool = False
    threshold: Probability = Field(0.5, description="grey value, 0 black to 1 white")


class InvertConfig(Section):
    """Swaps black and white."""

    enabled: bool = False


class ClaheConfig(Section):
    """Equalises the histogram within tiles, its contrast limited."""

    enabled: bool = False
    clip_limit: PositiveFloat = 1.0
    tiles: PositiveInt = Field(16, description="tiles along each side of the film")


class FlipConfig(Section):
    """Mirrors left and right."""

    enabled: bool = False
    probability: Probability = 0.5


class ShiftConfig(Section):
    """Moves the film along both axes; landmarks keep a margin to its edges."""

    enabled: bool = False
    probability: Probability = 0.5
    vertical: Probability = Field(1.0, description="largest shift, share of the room there is")
    horizontal: Probability = Field(1.0, description="likewise, left and right")
    margin: Probability = Field(0.04, description="least distance kept, share of the film height")


class CropConfig(Section):
    """Cuts out the face, with a random margin around the landmarks."""

    enabled: bool = False
    probability: Probability = 0.5
    min_margin: Probability = Field(0.05, description="share of the film height")
    max_margin: Probability = Field(0.08, description="share of the film height")

    @model_validator(mode="after")
    def _ordered(self) -> CropConfig:
        if self.min_margin > self.max_margin:
            raise ValueError(
                f"min_margin must not exceed max_margin; got {self.min_margin} > {self.max_margin}"
            )
        return self


class JitterConfig(Section):
    """Moves each landmark on its own, as readers differ. The image stays."""

    enabled: bool = False
    probability: Probability = 0.25
    max_shift: NonNegativeFloat = Field(0.004, description="each axis, share of the film height")


class AffineConfig(Section):
    """Turns, scales, stretches and moves the film; what it leaves behind is filled."""

    enabled: bool = False
    rotation_deg: NonNegativeFloat = Field(10.0, description="largest, either way")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(0.12, description="largest change")
    aspect: Annotated[float, Field(ge=0, lt=1)] = Field(0.04, description="width over height")
    shift: Probability = Field(0.05, description="largest along each axis, share of the film")
    fill: Literal["black", "drawn"] = Field(
        "black", description="drawn: the film's edge goes on, or black, grey or white, by chance"
    )


class BandConfig(Section):
    """Lays a dark or bright band along the upper and left edge, as collimators do."""

    enabled: bool = False
    probability: Probability = 0.5
    max_share: Probability = Field(0.12, description="of the film's height and width")


class ToneConfig(Section):
    """Changes all grey values by a curve, and adds noise, as other scanners would."""

    enabled: bool = False
    gamma: NonNegativeFloat = Field(0.3, description="largest, of the exponent's logarithm")
    contrast: NonNegativeFloat = Field(0.2, description="largest, of the factor's logarithm")
    brightness: Probability = Field(0.1, description="largest, black to white is 1")
    noise: Probability = Field(0.02, description="largest standard deviation")
    inversion: Probability = Field(0.1, description="probability that black and white are swapped")


class WindowNoiseConfig(Section):
    """Places the first windows around the truth, off by chance, and not around stage one.

    Stage one is soon better on the training films than it ever is on others; so the heads keep
    meeting windows that are as far off as those of a new film.
    """

    enabled: bool = False
    probability: Probability = Field(0.5, description="of a film")
    min_mm: NonNegativeFloat = Field(0.5, description="standard deviation along each axis, from")
    max_mm: NonNegativeFloat = Field(4.0, description="to; one is drawn for a film")

    @model_validator(mode="after")
    def _ordered(self) -> WindowNoiseConfig:
        if self.min_mm > self.max_mm:
            raise ValueError(f"min_mm must not exceed max_mm; got {self.min_mm} > {self.max_mm}")
        return self


class AugmentConfig(Section):
    """Augmentations of the training films, each with its own switch and strength.

    At most one of the photometric ones (high-pass to CLAHE) is drawn for a film, with equal
    chances for each that is enabled and for none. The others act independently.
    """

    high_pass: HighPassConfig = HighPassConfig()
    unsharp_mask: UnsharpMaskConfig = UnsharpMaskConfig()
    solarize: SolarizeConfig = SolarizeConfig()
    invert: InvertConfig = InvertConfig()
    clahe: ClaheConfig = ClaheConfig()
    flip: FlipConfig = FlipConfig()
    shift: ShiftConfig = ShiftConfig()
    crop: CropConfig = CropConfig()
    jitter: JitterConfig = JitterConfig()
    affine: AffineConfig = AffineConfig()
    band: BandConfig = BandConfig()
    tone: ToneConfig = ToneConfig()
    window_noise: WindowNoiseConfig = WindowNoiseConfig()


class ModelConfig(Section):
    """The two-stage network (Khalid et al. 2024). The defaults are the paper's."""

    backbone: Backbone = Field("resnet50", description="feature extractor")
    backbone_weights: Literal["imagenet"] | None = Field(
        None,
        description="pretrained: of VGG and ResNet50 downloaded by Keras, of EfficientNet-Lite0 "
        "from a Python package",
    )
    fusion_depth: Annotated[int, Field(ge=1, le=4)] = Field(
        3, description="L, pyramid levels fused and cropped: 1 is C5 alone, 4 is C2 to C5"
    )
    fusion_channels: PositiveInt = Field(256, description="channels of each fused level")
    crop_depth: Annotated[int, Field(ge=1, le=4)] | None = Field(
        None, description="fused levels that are cropped, the finest ones; none: all"
    )
    window_cells: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (3, 5, 7, 9), description="sides of the windows on C5, C4, C3, C2, cells of each"
    )
    roi_pool_size: PositiveInt = Field(5, description="S, samples along each side of a crop")
    head: Literal["convolution", "dense"] = Field(
        "convolution",
        description="of each landmark: 3 × 3 convolution and dense layer; or a dense layer alone, "
        "after a 1 × 1 convolution that all landmarks share",
    )
    head_channels: PositiveInt = Field(512, description="filters of the head's convolution")
    head_units: PositiveInt = Field(512, description="hidden units of a refinement head")
    head_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of a dense head's inputs and hidden units left out in training"
    )
    refinement_passes: PositiveInt = Field(
        1, description="times that crop and heads are applied, with the same weights"
    )
    offset_unit: Literal["film", "window"] = Field(
        "film", description="unit of a head's output: the film, or the smallest window"
    )
    detach_passes: bool = Field(
        False, description="no gradient from a pass to the points that it starts from"
    )
    differentiable_boxes: bool = Field(
        False, description="let the gradient pass through the position of the windows"
    )
    spread: bool = Field(
        False, description="each head estimates its error too: the scale of a Laplace distribution"
    )
    detection_channels: PositiveInt | None = Field(
        None, description="a 1 × 1 convolution before the detection module's; none: no such layer"
    )
    detection_prior: Literal["none", "mean_shape"] = Field(
        "none", description="what the detection module adds its output to"
    )
    detection_scale: PositiveFloat = Field(
        1.0, description="factor on the detection module's output"
    )
    batch_norm_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    sync_batch_norm: bool = Field(True, description="statistics over all workers' films")

    @model_validator(mode="after")
    def _weights_exist(self) -> ModelConfig:
        if self.backbone_weights is not None and self.backbone not in PRETRAINED_BACKBONES:
            known = ", ".join(PRETRAINED_BACKBONES)
            raise ValueError(
                f"backbone_weights are there for {known}; got backbone {self.backbone}"
            )
        return self

    @model_validator(mode="after")
    def _fused_levels_are_cropped(self) -> ModelConfig:
        if self.crop_depth is not None and self.crop_depth > self.fusion_depth:
            raise ValueError(
                "crop_depth must not exceed fusion_depth; got "
                f"{self.crop_depth} > {self.fusion_depth}"
            )
        if self.detach_passes and self.differentiable_boxes:
            raise ValueError("detach_passes leaves differentiable_boxes no gradient; set one")
        return self


class LossConfig(Section):
    """The multi-head refinement loss: how an error counts, and weights."""

    error: Literal["squared", "absolute", "wing", "laplace"] = Field(
        "squared",
        description="of a coordinate; wing: Feng et al. 2018; laplace: likelihood of the error "
        "under the head's model.spread, in stage one absolute",
    )
    unit: Literal["film", "mm"] = Field(
        "film", description="of errors: width and height of the film, or millimetres"
    )
    wing_width: PositiveFloat = Field(2.0, description="errors below count by their logarithm")
    wing_curvature: PositiveFloat = Field(0.5, description="errors below count nearly in full")
    every_pass: bool = Field(
        False, description="the mean over all refinement passes counts, and not the last alone"
    )
    detection_weight: NonNegativeFloat = 1.0
    refinement_weight: NonNegativeFloat = 1.0
    landmark_weights: tuple[NonNegativeFloat, ...] | None = Field(
        None, description="one weight per refinement head; none: all 1"
    )


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
    precision: Literal["float32", "mixed_bfloat16"] = Field(
        "float32",
        description="mixed: backbone, fusion, crop and heads compute in bfloat16; weights, "
        "landmarks and loss stay float32, and bfloat16's range needs no loss scaling",
    )
    accumulation_steps: PositiveInt = Field(
        1, description="parts that a worker's share of a batch is computed in, for less memory"
    )
    exchange_dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="type that gradients travel in between workers"
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
        None, description="none: the cluster's CPUs, shared evenly"
    )
    min_workers: PositiveInt | None = Field(
        None, description="go on with as few where nodes are lost for good; none: with all only"
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


class Config(Section):
    """Everything that a run depends on, apart from where its data and output lie."""

    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _one_weight_a_landmark(self) -> Config:
        known = LANDMARK_SETS.get(self.data.landmarks)
        if known is None:
            raise ValueError(
                f"data.landmarks must be one of {', '.join(LANDMARK_SETS)}; "
                f"got {self.data.landmarks}"
            )
        weights = self.loss.landmark_weights
        if weights is not None and len(weights) != len(known):
            raise ValueError(
                f"loss.landmark_weights must have {len(known)} entries; got {len(weights)}"
            )
        return self

    @model_validator(mode="after")
    def _spread_is_learned(self) -> Config:
        if self.model.spread != (self.loss.error == "laplace"):
            raise ValueError(
                "loss.error=laplace and model.spread=true go together; got "
                f"loss.error={self.loss.error}, model.spread={str(self.model.spread).lower()}"
            )
        if self.loss.error == "laplace" and self.loss.unit != "mm":
            raise ValueError("loss.error=laplace needs loss.unit=mm; got film")
        return self


def load_config(path: Place | None = None, overrides: Sequence[str] = ()) -> Config:
    """Build a configuration from the defaults, a YAML file and dotted overrides, in that order.

    Args:
        path: YAML file with any subset of the keys.
        overrides: `section.key=value` each, the value in YAML.

    Raises:
        InputError: a file that cannot be read, an unknown key, a value outside its range.

    Example:
        >>> load_config(overrides=["model.fusion_depth=2"]).model.fusion_depth
        2
    """
    tree: dict[str, Any] = {}
    if path is not None:
        tree = read_yaml(path, "config")
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise InputError(f"override must be section.key=value; got {text!r}")
        try:
            _set_dotted(tree, key, yaml.safe_load(value))
        except yaml.YAMLError:
            raise InputError(f"override {text!r}: the value is not valid YAML") from None
    return parse_config(tree)


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the configuration with some of its values replaced.

    Args:
        config: to start from.
        values: by dotted key.

    Raises:
        InputError: an unknown key, or a value outside its range.
    """
    tree = config.model_dump()
    for key, value in values.items():
        _set_dotted(tree, key, value)
    return parse_config(tree)


def value_of(config: Config, key: str) -> Any:
    """Return the value of a dotted key that the configuration has."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def parse_config(tree: Mapping[str, Any]) -> Config:
    """Validate a tree of plain values.

    Raises:
        InputError: names the first key at fault, what it was given and what is allowed.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise InputError(_explain(error)) from None


def dump_config(config: Config) -> str:
    """Return the whole configuration as YAML that `load_config` takes."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return text


def read_yaml(path: Place, what: str) -> dict[str, Any]:
    """Read a mapping from a YAML file; an empty file is an empty one.

    Args:
        path: of the file.
        what: it is, in messages.

    Raises:
        InputError: the file cannot be read, or holds no mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} file {path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise InputError(f"{what} file {path}: not valid YAML: {line}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(f"{what} file {path}: must map keys to values; got {tree!r:.60}")
    return tree


def _set_dotted(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise InputError(f"override {dotted!r}: {parent!r} is not a section")
        tree = child
    tree[leaf] = value


def _keys(section: type[BaseModel]) -> list[str]:
    return list(section.model_fields)


def _section_at(location: Sequence[int | str]) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for key in location:
        annotation = section.model_fields[str(key)].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return section


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    location = [part for part in first["loc"] if isinstance(part, str)]
    dotted = ".".join(location)
    if first["type"] == "extra_forbidden":
        valid = _keys(_section_at(location[:-1]))
        close = difflib.get_close_matches(location[-1], valid, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"unknown config key {dotted!r}{hint}; valid keys there: {', '.join(valid)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":  # of our own validators, which say what they got
        return f"config {dotted}: {message}" if dotted else f"config: {message}"
    return f"config key {dotted!r}: {message}; got {first['input']!r}"
