"""Augmentation: random changes of training films and their landmarks.

All functions are pure functions of arrays and a random generator.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
