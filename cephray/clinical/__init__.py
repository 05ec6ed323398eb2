"""Clinical measurements of landmarks, their classes, and the agreement of classes.

It knows landmarks in pixels, but no networks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
