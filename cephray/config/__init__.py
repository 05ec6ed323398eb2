"""All settings of a run, read from YAML files, overrides and presets, and validated.

A `Config` is immutable. Each checkpoint contains one, so that its network can be rebuilt from the
checkpoint alone. The folder knows no TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
