"""TensorFlow's start-up notes kept off the terminal, without losing what explains a failure."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what native code writes to stderr; show it after all where an error passes.

    TensorFlow's libraries write before their log level can be set, past Python's streams.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def import_tensorflow() -> None:
    """Import the slow and talkative packages, once everything quick has been checked."""
    with quiet_stderr():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
