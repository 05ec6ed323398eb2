"""Films and their landmarks, from files to batches.

`dataset/` and `dicom/` read files, `check/` finds what is wrong with them, `synthetic/` draws
films, `augmentation/` varies them. It knows neither networks nor checkpoints.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
