"""Radial errors, their bootstrap intervals, and the calibration of confidence.

It knows arrays of errors, but no films and no networks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
