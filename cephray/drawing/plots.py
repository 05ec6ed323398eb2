"""Plots of an evaluation, drawn with matplotlib and written to PNG files.

It knows errors, offsets and a run's history as numbers, but not the report page. It does not use
the global state of pyplot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse
from matplotlib.ticker import LogFormatter, MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from cephray.metrics import SDR_RANGES_MM

FARTHEST_MM = 5.0  # end of the success detection curve
COVERED = 0.95  # fraction of the films inside an ellipse
_ROUNDS = 10
_MIN_VARIANCE = 1e-9  # mm², added so that points on a line have an invertible covariance
BLUE, GREEN, ORANGE, RED, GREY = "#2b6cb0", "#0b8a4b", "#d9730d", "#c53030", "#8592a0"

Errors = NDArray[np.floating[Any]]


def draw_success(path: Path, curves: Mapping[str, Errors]) -> None:
    """Draw the percentage of landmarks within each distance of the truth.

    Args:
        path: path of the PNG file.
        curves: radial errors by label, in millimetres, of any shape; NaN where missing. The
            order is refined, stage one, then the readers: it determines colours and line styles.
    """
    figure = Figure(figsize=(5.6, 4.0), dpi=180, layout="constrained")
    axes = _plain(figure, "distance (mm)", "landmarks within (%)")
    looks = [(BLUE, "-", 2.2), (ORANGE, "-", 1.6), (GREEN, "--", 1.6), (GREY, "-.", 1.6)]
    distance_mm = np.linspace(0, FARTHEST_MM, 501)
    for number, (label, errors_mm) in enumerate(curves.items()):
        present = np.sort(errors_mm[~np.isnan(errors_mm)])
        if not present.size:
            continue
        within = 100 * np.searchsorted(present, distance_mm, side="right") / present.size
        colour, style, width = looks[min(number, len(looks) - 1)]
        axes.plot(distance_mm, within, color=colour, ls=style, lw=width, label=label)
    for limit in SDR_RANGES_MM:
        axes.axvline(limit, color="#aab4bf", lw=1, zorder=1)
    axes.set_xlim(0, FARTHEST_MM)
    axes.set_ylim(0, 100)
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
    axes.yaxis.set_major_locator(MultipleLocator(10))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.savefig(path)


def draw_offsets(path: Path, offset_mm: Errors, limit_mm: float) -> None:
    """Draw the offsets of one landmark from its true position, oriented as on the film.

    Args:
        path: path of the PNG file.
        offset_mm: [N, 2], from truth to prediction, millimetres; NaN where missing.
        limit_mm: upper limit of both axes, millimetres. Points beyond it are drawn as red crosses
            on the border.
    """
    figure = Figure(figsize=(2.0, 2.0), dpi=200)
    axes = figure.add_axes((0.16, 0.12, 0.81, 0.81))  # the same for all, whatever their labels
    axes.axhline(0, color="#d9dfe6", lw=0.8)
    axes.axvline(0, color="#d9dfe6", lw=0.8)
    axes.add_patch(Circle((0, 0), SDR_RANGES_MM[0], fill=False, ec="#1d2733", lw=1, ls=":"))
    points = offset_mm[~np.isnan(offset_mm).any(axis=-1)]
    beyond = (np.abs(points) > limit_mm).any(axis=-1)
    axes.plot(*points[~beyond].T, ".", color=BLUE, ms=3.5, alpha=0.5, mew=0)
    border = np.clip(points[beyond], -limit_mm, limit_mm)
    axes.plot(*border.T, "x", color=RED, ms=4, mew=1, clip_on=False)
    ellipse = covering_ellipse(points)
    if ellipse is not None:
        centre, (width, height), angle_deg = ellipse
        axes.add_patch(
            Ellipse(centre, width, height, angle=angle_deg, fill=False, ec=ORANGE, lw=1.3)
        )
        axes.plot(*centre, "+", color=ORANGE, ms=7, mew=1.5)
    axes.set_xlim(-limit_mm, limit_mm)
    axes.set_ylim(limit_mm, -limit_mm)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], symmetric=True))
    axes.tick_params(labelsize=8, length=2)
    axes.spines[:].set_color("#c3ccd5")
    figure.savefig(path)


def covering_ellipse(
    points: Errors,
) -> tuple[tuple[float, float], tuple[float, float], float] | None:
    """Fit an ellipse that contains 95 % of the points. A few outliers do not affect it much.

    Centre and shape come from the mean and the covariance of the 95 % of points nearest to the
    centre. They are found iteratively, starting from the half nearest to the median. The size is
    then chosen such that 95 % of the points lie inside.

    Args:
        points: [n, 2], (x, y).

    Returns:
        The centre, the lengths of the major and the minor axis, and the angle of the major axis
        from x to y in degrees. None for fewer than three points.
    """
    if len(points) < 3:
        return None
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=-1)
    fraction = 0.5
    for _ in range(_ROUNDS):
        near = points[distance <= np.quantile(distance, fraction)]
        fraction = COVERED
        centre = near.mean(axis=0)
        covariance = np.cov(near.T) + _MIN_VARIANCE * np.eye(2)
        away = points - centre
        distance = np.sqrt((away @ np.linalg.inv(covariance) * away).sum(axis=-1))
    variance, direction = np.linalg.eigh(covariance)
    lengths = 2 * np.quantile(distance, COVERED) * np.sqrt(variance)
    angle_deg = float(np.degrees(np.arctan2(direction[1, 1], direction[0, 1])))
    return (
        (float(centre[0]), float(centre[1])),
        (float(lengths[1]), float(lengths[0])),
        angle_deg,
    )


def draw_agreement(
    path: Path, means: Errors, differences: Errors, limits: Errors, others: Sequence[Errors] = ()
) -> None:
    """Draw the differences of a measurement against its mean (Bland and Altman 1986).

    Args:
        path: path of the PNG file.
        means: [N], means of the two sides by film; NaN where unknown.
        differences: [N], between the two sides.
        limits: [3], mean difference, lower and upper limit of agreement. NaN where unknown.
        others: the same of other comparisons, which are drawn as dashed lines.
    """
    figure = Figure(figsize=(2.6, 2.2), dpi=200, layout="constrained")
    axes = _plain(figure, "mean", "difference")
    axes.plot(means, differences, ".", color=BLUE, ms=3.5, alpha=0.5, mew=0)
    for lines, colour, style in [
        *((other, GREY, "--") for other in others),
        (limits, ORANGE, "-"),
    ]:
        for value in lines[np.isfinite(lines)]:
            axes.axhline(value, color=colour, ls=style, lw=1)
    axes.tick_params(labelsize=7, length=2)
    figure.savefig(path)


def draw_history(
    path: Path, history: Sequence[Mapping[str, float]], labels: Mapping[str, str], title: str
) -> None:
    """Draw columns of a run's history against the epoch, on a logarithmic axis.

    Args:
        path: path of the PNG file.
        history: one row for each epoch, with values by column.
        labels: labels of the curves by column. Columns without values are left out.
        title: title of the vertical axis.
    """
    figure = Figure(figsize=(5.6, 3.4), dpi=180, layout="constrained")
    axes = _plain(figure, "epoch", title)
    looks = [(ORANGE, "--"), (BLUE, "--"), (ORANGE, "-"), (BLUE, "-")]
    for (key, label), (colour, style) in zip(labels.items(), looks[-len(labels) :], strict=True):
        rows = [(row["epoch"], row[key]) for row in history if key in row]
        if rows:
            axes.plot(*zip(*rows, strict=True), color=colour, ls=style, lw=1.8, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.7)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.savefig(path)


def _plain(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e8ecf0", lw=0.8)
    axes.set_axisbelow(True)
    return axes
