"""Local folders and object stores, and files that are written whole or not at all.

It knows paths and bytes, and nothing of what the files hold.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
