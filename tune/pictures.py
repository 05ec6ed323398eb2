"""Pictures of a search, drawn with matplotlib: history, curves, effects of values, cost.

It knows the leaderboard's entries, and writes PNG files; the page that they stand on is not its
concern.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from tune.axes import abscissa, placer, scale_values, ticks
from tune.evidence import Evidence
from tune.importance import LEVEL_PERCENT, Importance, importances_of
from tune.leaderboard import FAILED, FINISHED, PRUNED, Entry
from tune.objectives import Objective
from tune.space import Dimension, Space, short, short_names

SEARCH, VALUES, COST = "The search", "What the values did", "What the values cost"
SIZE_IN, DPI = (4.8, 3.2), 180
ABOVE = "; triangles: above the scale"
_MOST_UPRIGHT = 5  # keys whose names stand side by side below parallel axes
BLUE, GREEN, ORANGE, RED, GREY = "#2b6cb0", "#0b8a4b", "#d9730d", "#c53030", "#a0aab5"


@dataclass(frozen=True)
class Picture:
    """A picture on disk.

    Args:
        section: that it belongs to.
        caption: what it shows.
        path: of the PNG file.
    """

    section: str
    caption: str
    path: Path


def draw(
    study: optuna.Study,
    entries: Sequence[Entry],
    space: Space,
    objectives: Sequence[Objective],
    folder: Path,
    evidence: Evidence,
) -> list[Picture]:
    """Draw what the trials that ended allow.

    Args:
        study: asked for the importance of its parameters alone.
        entries: of the leaderboard.
        space: of the search.
        objectives: of the search.
        folder: of the pictures; those that it held before are removed.
        evidence: what the figures rest on; importances are drawn if it is enough for them.

    Raises:
        OSError: a picture could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    measured = [entry for entry in entries if entry.figures]
    finished = [entry for entry in measured if entry.state == FINISHED]
    names = short_names(list(space.dimensions))
    pictures: list[Picture] = []

    def add(section: str, name: str, caption: str, plot: Callable[[Figure], None]) -> None:
        figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
        plot(figure)
        path = folder / f"{name}.png"
        figure.savefig(path)
        pictures.append(Picture(section, caption[0].upper() + caption[1:], path))

    if not finished:
        return pictures
    if len(objectives) > 1:
        caption = "Each dot is a trial; those on the line, the Pareto front, no other one beats"
        add(SEARCH, "pareto", caption, partial(_pareto, finished=finished, objectives=objectives))
    for index, objective in enumerate(objectives):
        plot = partial(_history, entries=entries, index=index, objective=objective)
        add(SEARCH, f"history-{objective.key}", f"{objective.label} by trial{ABOVE}", plot)
    if any(entry.curve for entry in measured):
        caption = "Least error up to each epoch; a line that ends early was pruned"
        add(SEARCH, "curves", caption, partial(_curves, entries=measured, objective=objectives[0]))
    for index, objective in enumerate(objectives):
        if not evidence.missing(objective):
            plot = partial(_importance, importances=importances_of(study, index), keys=names)
            caption = (
                f"Importance for {objective.label}: PED-ANOVA of {evidence};"
                f" the lines are {LEVEL_PERCENT:g} % intervals over resampled trials"
            )
            add(VALUES, f"importance-{objective.key}", caption, plot)
        aim: dict[str, Any] = {"index": index, "objective": objective}
        plot = partial(_parallel, finished=finished, space=space, **aim)
        caption = f"Finished trials, coloured by {objective.label}; the best is thick"
        add(VALUES, f"parallel-{objective.key}", caption, plot)
        shown = measured if index == 0 else finished
        for key, dimension in space.dimensions.items():
            plot = partial(_slice, entries=shown, key=key, dimension=dimension, **aim)
            caption = (
                f"{objective.label} by {names[key]}; of pruned trials, what they reached{ABOVE}"
            )
            add(VALUES, f"slice-{objective.key}-{names[key]}", caption, plot)
    for key, dimension in space.dimensions.items():
        plot = partial(_cost, entries=measured, key=key, dimension=dimension)
        add(COST, f"cost-{names[key]}", f"Time and memory by {names[key]}", plot)
    return pictures


def _history(figure: Figure, entries: Sequence[Entry], index: int, objective: Objective) -> None:
    axes = _axes(figure, "trial", objective.title)
    by_number = sorted(entries, key=lambda entry: entry.trial)
    finished = [e for e in by_number if e.state == FINISHED]
    pruned = [e for e in by_number if e.state == PRUNED and e.figures and index == 0]
    failed = [e for e in by_number if e.state == FAILED]
    shown = [*pruned, *finished]
    values = [e.figures[index] for e in shown]
    _scatter(axes, [e.trial for e in shown], values, shown, _scale(axes, values, shown))
    best = [min(e.figures[index] for e in finished[: n + 1]) for n in range(len(finished))]
    axes.step(
        [e.trial for e in finished], best, where="post", color=BLUE, lw=1, label="best so far"
    )
    if failed:
        low = axes.get_ylim()[0]
        axes.plot(
            [e.trial for e in failed],
            [low] * len(failed),
            "x",
            color=RED,
            clip_on=False,
            label="failed",
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_once(axes)


def _curves(figure: Figure, entries: Sequence[Entry], objective: Objective) -> None:
    axes = _axes(figure, "epoch", objective.title)
    for entry in sorted(entries, key=lambda e: (e.is_best, e.trial == 0, e.state == FINISHED)):
        colour, _, label, _ = _look(entry)
        axes.plot(
            list(entry.curve),
            list(entry.curve.values()),
            color=colour,
            lw=2 if entry.is_best or entry.trial == 0 else 1,
            marker="o" if entry.state == PRUNED else None,
            markevery=[-1],
            ms=4,
            label=label,
        )
    values = [value for entry in entries for value in entry.curve.values()]
    if min(values) > 0:
        axes.set_yscale("log")
        if max(values) < 100 * min(values):
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_once(axes)


def _pareto(figure: Figure, finished: Sequence[Entry], objectives: Sequence[Objective]) -> None:
    axes = _axes(figure, objectives[1].title, objectives[0].title)
    front = sorted((e for e in finished if e.is_best), key=lambda e: e.figures[1])
    axes.step(
        [e.figures[1] for e in front],
        [e.figures[0] for e in front],
        where="post",
        color=GREEN,
        lw=1,
        zorder=1,
    )
    values = [e.figures[0] for e in finished]
    _scatter(
        axes, [e.figures[1] for e in finished], values, finished, _scale(axes, values, finished)
    )
    _legend_once(axes)


def _importance(figure: Figure, importances: Sequence[Importance], keys: dict[str, str]) -> None:
    axes = _axes(figure, "share", "")
    ordered = sorted(importances, key=lambda one: one.share)
    axes.barh(
        [keys[one.key] for one in ordered],
        [one.share for one in ordered],
        xerr=[
            [max(0.0, one.share - one.low) for one in ordered],
            [max(0.0, one.high - one.share) for one in ordered],
        ],
        color=BLUE,
        height=0.6,
        error_kw={"ecolor": GREY, "capsize": 3},
    )
    axes.set_xlim(left=0)


def _parallel(
    figure: Figure, finished: Sequence[Entry], space: Space, index: int, objective: Objective
) -> None:
    axes = figure.subplots()
    figures = [entry.figures[index] for entry in finished]
    low, high = min(figures), max(figures)
    wide = low > 0 and high > 20 * low
    norm: Normalize = LogNorm(low, high) if wide else Normalize(low, high)
    colours: Any = ScalarMappable(norm, "viridis")
    names = short_names(list(space.dimensions))
    places = {key: placer(dimension) for key, dimension in space.dimensions.items()}
    for entry in sorted(finished, key=lambda e: -e.figures[index]):
        heights = [places[key](entry.values[key]) for key in space.dimensions]
        axes.plot(
            range(len(heights)),
            heights,
            color=colours.to_rgba(entry.figures[index]),
            lw=3 if entry.is_best else 1.2,
        )
    for x, (key, dimension) in enumerate(space.dimensions.items()):
        axes.axvline(x, color="#1d2733", lw=0.8)
        for value in ticks(dimension):
            axes.annotate(
                short(value),
                (x, places[key](value)),
                (4, 0),
                textcoords="offset points",
                fontsize=8 if len(short(value)) < 6 else 6,
                va="center",
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.7},
            )
    if len(names) <= _MOST_UPRIGHT:
        axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names.values()])
    else:
        axes.set_xticks(range(len(names)), list(names.values()), rotation=30, ha="right")
    axes.tick_params(axis="x", length=0, labelsize=9)
    axes.set_xlim(-0.1, len(names) - 0.6)
    axes.yaxis.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.colorbar(colours, ax=axes, label=objective.title, pad=0.02)


def _slice(
    figure: Figure,
    entries: Sequence[Entry],
    key: str,
    dimension: Dimension,
    index: int,
    objective: Objective,
) -> None:
    axes = _axes(figure, short_names([key])[key], objective.title)
    places = [abscissa(dimension, e.values[key]) for e in entries]
    values = [e.figures[index] for e in entries]
    _scatter(axes, places, values, entries, _scale(axes, values, entries))
    scale_values(axes, dimension)
    _legend_once(axes)


def _cost(figure: Figure, entries: Sequence[Entry], key: str, dimension: Dimension) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True)
    for axes, label in ((top, "s / epoch"), (bottom, "GB")):
        _plain(axes, "", label)
        known = [(e, e.seconds_per_epoch if axes is top else e.memory_gb) for e in entries]
        there = [(entry, cost) for entry, cost in known if cost is not None]
        _scatter(
            axes,
            [abscissa(dimension, entry.values[key]) for entry, _ in there],
            [cost for _, cost in there],
            [entry for entry, _ in there],
        )
        axes.margins(y=0.2)
    bottom.set_xlabel(short_names([key])[key])
    scale_values(bottom, dimension)


def _axes(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.subplots()
    _plain(axes, x, y)
    return axes


def _plain(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e8ecf0", lw=0.8)
    axes.set_axisbelow(True)


def _look(entry: Entry) -> tuple[str, str, str, int]:
    """Return colour, marker, label and rank of a trial's dot."""
    if entry.is_best:
        return GREEN, "*", "best", 4
    if entry.trial == 0:
        return ORANGE, "D", "baseline", 3
    if entry.state == PRUNED:
        return GREY, "o", "pruned", 1
    return BLUE, "o", "finished", 2


def _scatter(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    entries: Sequence[Entry],
    top: float = math.inf,
) -> None:
    """Draw a dot for each trial; a triangle at `top` for those above it."""
    for x, y, entry in zip(xs, ys, entries, strict=True):
        colour, marker, label, rank = _look(entry)
        if y > top:
            y, marker, label = top, "^", "_nolegend_"
        size = {"*": 11, "D": 6}.get(marker, 5)
        axes.plot(
            x, y, marker, color=colour, ms=size, label=label, zorder=rank, ls="none", clip_on=False
        )


def _legend_once(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(reversed(labels), reversed(handles), strict=True))
    order = [name for name in ("best", "baseline", "best so far", "finished") if name in first]
    order += [name for name in first if name not in order]
    axes.legend(
        [first[name] for name in order],
        order,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=5,
        columnspacing=1.0,
        handletextpad=0.4,
        frameon=False,
        fontsize=8,
    )


def _scale(axes: Axes, values: Sequence[float], entries: Sequence[Entry]) -> float:
    """Choose the scale of the y axis by the finished trials.

    The axis is logarithmic where a linear one would show the worst of them alone.

    Args:
        axes: of the picture.
        values: of the trials.
        entries: the trials, at least one of them finished.

    Returns:
        The upper end of the scale, or infinity if no value lies above it.
    """
    finished = [v for v, entry in zip(values, entries, strict=True) if entry.state == FINISHED]
    low, high = min(finished), max(finished)
    bottom: float
    top: float
    if low > 0 and high > 20 * low:
        axes.set_yscale("log")
        margin = (high / low) ** 0.15
        bottom, top = low / margin, high * margin
    else:
        margin = 0.15 * ((high - low) or abs(high) or 1.0)
        bottom, top = low - margin, high + margin
    if max(values) <= top:
        return math.inf
    axes.set_ylim(bottom, top)
    return top
