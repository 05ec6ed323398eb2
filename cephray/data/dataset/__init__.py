"""Data sets on disk: folder layouts, film files, and the landmarks that readers marked.

It reads text files and file names, but decodes no films.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
