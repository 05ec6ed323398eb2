"""Annotation formats, each in a file: from the text of a file to marks of films, and back.

It knows no folders, no images and no configuration.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
