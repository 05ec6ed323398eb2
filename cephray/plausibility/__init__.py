"""Plausibility checks of a film: its contrast, its spacing and the shape of its landmarks.

It knows arrays, but no files and no networks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
