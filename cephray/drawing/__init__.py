"""Pictures: films with landmarks, and plots of errors.

It knows arrays and images, but no networks and no report pages.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
