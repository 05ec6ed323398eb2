"""DICOM films: grey values as a viewer shows them, and the spacing of their pixels.

It knows bytes and DICOM elements, but no paths and no data sets.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
