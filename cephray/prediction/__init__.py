"""Landmarks of films, found by one network or several, here or on a cluster.

It knows no truth.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
