"""Every setting of a run: typed, validated and documented; YAML files, overrides and presets.

A `Config` is immutable. It travels in every checkpoint, so that a checkpoint alone suffices to
rebuild its network. It knows no TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
