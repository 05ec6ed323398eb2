"""Radial errors, their intervals, and the calibration of confidence.

It knows arrays of errors, and neither films nor networks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
