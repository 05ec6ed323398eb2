"""Axes of searched values: where a value stands, which values are named, and the scale.

It knows dimensions of a space, and no trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from matplotlib.axes import Axes

from tune.space import Choice, Dimension, Integer, Real, Value, short


def abscissa(dimension: Dimension, value: Value) -> float:
    """Return where a value stands on an axis."""
    if isinstance(dimension, Choice):
        return [repr(choice) for choice in dimension.values].index(repr(value))
    return float(str(value))


def scale_values(axes: Axes, dimension: Dimension) -> None:
    """Let the x axis of a picture show a dimension."""
    if isinstance(dimension, Choice):
        axes.set_xticks(range(len(dimension.values)), [short(v) for v in dimension.values])
        axes.set_xlim(-0.5, len(dimension.values) - 0.5)
    elif isinstance(dimension, Integer):
        margin = 0.05 * (dimension.high - dimension.low)
        axes.set_xlim(dimension.low - margin, dimension.high + margin)
        axes.set_xticks([float(str(value)) for value in ticks(dimension)])
    elif dimension.log:
        axes.set_xscale("log")
        factor = (dimension.high / dimension.low) ** 0.05
        axes.set_xlim(dimension.low / factor, dimension.high * factor)
    else:
        margin = 0.05 * (dimension.high - dimension.low)
        axes.set_xlim(dimension.low - margin, dimension.high + margin)


def ticks(dimension: Dimension) -> list[Value]:
    """Return the values that an axis names."""
    if isinstance(dimension, Choice):
        return list(dimension.values)
    if isinstance(dimension, Integer):
        values = list(range(dimension.low, dimension.high + 1, dimension.step))
        return list(values[:: -(-len(values) // 9)])
    middle = (
        math.sqrt(dimension.low * dimension.high)
        if dimension.log
        else (dimension.low + dimension.high) / 2
    )
    return [dimension.low, middle, dimension.high]


def placer(dimension: Dimension) -> Callable[[Value], float]:
    """Return a function from a value to its height on a parallel axis, 0 to 1."""
    if isinstance(dimension, Choice):
        last = len(dimension.values) - 1
        return lambda value: abscissa(dimension, value) / last
    scale = math.log if isinstance(dimension, Real) and dimension.log else float
    low, high = scale(dimension.low), scale(dimension.high)
    return lambda value: (scale(float(str(value))) - low) / (high - low)
