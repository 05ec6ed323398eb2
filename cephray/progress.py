"""Terminal output of long work: a progress bar and durations, without start-up messages.

TensorFlow's start-up messages are held back, and shown if the import fails.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from cephray.errors import InputError

Show = Callable[[str], None]
"""Takes a line for the user; `print`, for example."""


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr.

    Args:
        description: what is done.
        total: how many things there are to do, or None if this is not known.

    Yields:
        A function that counts on by so many things.
    """
    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)


def duration(seconds: float) -> str:
    """Write a duration as people say it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what native code writes to stderr, and show it if the block raises an error.

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
    """Import TensorFlow and Keras without their start-up messages; see `prepare_tensorflow`.

    Raises:
        InputError: Keras uses another backend.
    """
    prepare_tensorflow()
    with quiet_stderr():
        import tensorflow  # noqa: F401


def prepare_tensorflow() -> None:
    """Set the environment in which this process, or those that it starts, import TensorFlow.

    On a GPU, TensorFlow takes memory as it needs it, instead of nearly all at once. Keras is
    told to use TensorFlow, unless another backend was chosen.

    Raises:
        InputError: Keras uses another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    loaded = sys.modules.get("keras")
    chosen = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    backend = loaded.backend.backend() if loaded is not None else chosen
    if backend != "tensorflow":
        raise InputError(
            f"Keras's backend is {backend!r}; cephray trains and predicts with TensorFlow: set "
            "KERAS_BACKEND=tensorflow before Keras is imported"
        )
