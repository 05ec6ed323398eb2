"""Films and their landmarks, from files to batches.

`dataset/` and `dicom/` read files, `check/` finds faults in them, `synthetic/` draws films, and
`augmentation/` varies films in training. The folder knows no networks and no checkpoints.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
