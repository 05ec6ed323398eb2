"""Distributed cephalometric landmark detection: a two-stage network on TensorFlow and Ray.

Importing it is quick: TensorFlow, Keras, Ray and OpenCV are imported when they are used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
