"""Training on a Ray cluster: the plan, the driver, the workers, the loop and the step.

It knows films as tables, and evaluates only on its own validation films.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
