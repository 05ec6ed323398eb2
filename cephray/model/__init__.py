"""The two-stage network: backbone, detection, fusion, cropping and refinement.

It knows the configuration, and neither films nor training.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
