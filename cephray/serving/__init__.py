"""The page to look, correct and measure on: its server, its folder of cases, its files.

It knows no training, but that of `cephray.adapt`, which it starts.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
