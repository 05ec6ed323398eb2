"""Every knob of a cephray run: typed, validated, documented; YAML file plus dotted overrides.

A `Config` is immutable. It travels in every checkpoint, so that a checkpoint alone suffices to
rebuild its network. It knows no TensorFlow and no files but its own YAML.
"""

from cephray.config.augment import (
    AffineConfig,
    AugmentConfig,
    BandConfig,
    ClaheConfig,
    CropConfig,
    FlipConfig,
    HighPassConfig,
    InvertConfig,
    JitterConfig,
    ShiftConfig,
    SolarizeConfig,
    ToneConfig,
    UnsharpMaskConfig,
    WindowNoiseConfig,
)
from cephray.config.config import Config
from cephray.config.data import (
    DataConfig,
    Reader,
)
from cephray.config.files import (
    dump_config,
    load_config,
    override,
    parse_config,
    parse_overrides,
    plain_value,
    read_yaml,
    value_of,
    with_inference,
)
from cephray.config.inference import InferenceConfig
from cephray.config.model import (
    PRETRAINED_BACKBONES,
    Backbone,
    LossConfig,
    ModelConfig,
)
from cephray.config.section import (
    PositiveInt,
    Section,
)
from cephray.config.train import TrainConfig

__all__ = [
    "PRETRAINED_BACKBONES",
    "AffineConfig",
    "AugmentConfig",
    "Backbone",
    "BandConfig",
    "ClaheConfig",
    "Config",
    "CropConfig",
    "DataConfig",
    "FlipConfig",
    "HighPassConfig",
    "InferenceConfig",
    "InvertConfig",
    "JitterConfig",
    "LossConfig",
    "ModelConfig",
    "PositiveInt",
    "Reader",
    "Section",
    "ShiftConfig",
    "SolarizeConfig",
    "ToneConfig",
    "TrainConfig",
    "UnsharpMaskConfig",
    "WindowNoiseConfig",
    "dump_config",
    "load_config",
    "override",
    "parse_config",
    "parse_overrides",
    "plain_value",
    "read_yaml",
    "value_of",
    "with_inference",
]
