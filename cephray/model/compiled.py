"""Steps that XLA compiles for some batch sizes; other batches run without XLA.

XLA compiles a function anew for each batch size, which takes up to minutes. It knows steps as
functions, and no network.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from cephray.progress import Show, duration


@dataclass(frozen=True)
class Jit:
    """The batch sizes that XLA compiles for.

    Args:
        batch_sizes: numbers of films of the training batches to compile for.
        validation_size: number of films of the validation batches to compile for.
        show: takes the lines that say how long a compilation takes.
        required: True if a step that XLA cannot compile is an error, False if it then runs
            without XLA.
    """

    batch_sizes: frozenset[int]
    validation_size: int
    show: Show
    required: bool = True


class CompiledStep:
    """A step that is compiled by XLA for some batch sizes; other batches take the plain step.

    Args:
        what: name of the step in messages.
        compiled: a `tf.function` with `jit_compile=True`.
        plain: the same function without it.
        batch_sizes: numbers of films of the batches to compile for.
        jit: takes the lines before and after a compilation, and says whether it is required.
    """

    def __init__(
        self,
        what: str,
        compiled: Any,
        plain: Any,
        batch_sizes: frozenset[int],
        jit: Jit,
    ) -> None:
        self.compiled = compiled
        self.plain = plain
        self._what = what
        self._waiting = set(batch_sizes)
        self._batch_sizes = batch_sizes
        self._show = jit.show
        self._required = jit.required
        self.has_failed = False  # to compile

    def __call__(self, *batch: Any) -> Any:
        """Take a step; the first of a batch size to compile for takes long."""
        films = int(batch[0].shape[0])
        if films not in self._batch_sizes or self.has_failed:
            return self.plain(*batch)
        if films not in self._waiting:
            return self.compiled(*batch)
        self._show(f"compiling the {self._what} for batches of {films} (XLA)")
        started = time.perf_counter()
        try:
            result = self.compiled(*batch)
        except tf.errors.OpError as error:
            if self._required:
                raise
            reason = " ".join(str(error.message).split())[:200]
            self._show(
                f"the {self._what} runs without XLA, which could not compile it ({reason}); "
                "train.jit=off does not try"
            )
            self.has_failed = True
            return self.plain(*batch)
        self._waiting.remove(films)
        self._show(f"compiled the {self._what} in {duration(time.perf_counter() - started)}")
        return result
