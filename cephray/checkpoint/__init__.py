"""Checkpoints: saved, found, verified, compacted and exported; and the one that is shipped.

It knows weights by name, and neither films nor epochs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
