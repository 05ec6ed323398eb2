"""Clinical measurements of landmarks, their classes, and how far classes agree.

It knows landmarks in pixels, and no network.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
