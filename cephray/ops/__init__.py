"""The multi-resolution ROI crop: operation, gradients, and a reference in `keras.ops`.

It knows tensors and boxes, and neither landmarks nor networks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
