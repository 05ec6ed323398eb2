"""Data sets on disk: folder layouts, films, and the landmarks that readers marked.

It knows text files and names, and decodes no film.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
