"""HTML pages, and what is installed.

It lays out what others have measured.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
