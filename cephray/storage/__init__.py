"""Local folders, object stores, and files that are written completely or not at all.

It knows paths and bytes, but no file formats.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
