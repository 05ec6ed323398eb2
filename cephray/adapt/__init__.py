"""Adaptation of a network to the marks of another hospital, from a few of its films.

The backbone and all layers but the last of each head stay as they are. It knows checkpoints and
data sets, and no cluster.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
