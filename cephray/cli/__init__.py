"""The command line: a module for each family of commands.

Heavy packages are imported by the command that needs them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
