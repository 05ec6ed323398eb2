"""What the process imports that the workers of a group are forked from."""

from importlib import import_module

from cephray.progress import import_tensorflow

import_tensorflow()
import_module("cephray.benchmark.scaling.worker")
import_module("cephray.training.exchange")
