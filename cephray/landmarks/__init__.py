"""Landmark sets: the points marked on a film, their order, and the lines drawn through them.

The number of landmarks is defined by a set only; all other code takes it from there. The sets that
come with cephray are the YAML files in this folder.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
