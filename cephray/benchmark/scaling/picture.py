"""The picture of the scaling benchmark: steps measured and predicted, and efficiency simulated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cephray.benchmark.scaling.run import SimulatedRow, StepRow


MOST_COLUMNS = 3


def draw(
    rows: Sequence[StepRow],
    simulated: Sequence[SimulatedRow],
    machine: Mapping[str, Any],
    path: Path,
) -> None:
    """Draw a panel of the steps, and one for each preset and network that was simulated.

    Args:
        rows: steps, measured and predicted.
        simulated: steps on GPUs; none: there are no such panels.
        machine: that the steps were measured on.
        path: PNG file.
    """
    from matplotlib.figure import Figure

    cases = list(dict.fromkeys((row.preset, row.network) for row in simulated))
    columns = min(1 + len(cases), MOST_COLUMNS)
    lines = -(-(1 + len(cases)) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.9 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for unused in panels[1 + len(cases) :]:
        unused.axis("off")
    _draw_steps(panels[0], rows)
    panels[0].set_title(f"workers of one machine\n{machine['processor']}", fontsize=9)
    for panel, (preset, network) in zip(panels[1:], cases, strict=False):
        _draw_efficiency(
            panel, [row for row in simulated if (row.preset, row.network) == (preset, network)]
        )
        panel.set_title(f"{preset}, {network}\nsimulated, with assumed links", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_steps(panel: Axes, rows: Sequence[StepRow]) -> None:
    for number, settings in enumerate(dict.fromkeys(row.settings for row in rows)):
        mine = [row for row in rows if row.settings == settings]
        color = f"C{number}"
        panel.plot([r.workers for r in mine], [r.predicted_s for r in mine], color=color)
        for use, face in (("fitted", color), ("checked", "white")):
            of_use = [row for row in mine if row.use == use]
            panel.errorbar(
                [row.workers for row in of_use],
                [row.median_s for row in of_use],
                [
                    [row.median_s - row.least_s for row in of_use],
                    [row.most_s - row.median_s for row in of_use],
                ],
                fmt="o",
                color=color,
                markerfacecolor=face,
                label=f"{settings}, {use}",
            )
    panel.set_ylim(bottom=0)
    panel.set_xlabel("workers")
    panel.set_ylabel("a step, seconds\n(points measured, lines predicted)")
    panel.legend(fontsize=7)


def _draw_efficiency(panel: Axes, rows: Sequence[SimulatedRow]) -> None:
    # Lines that coincide show through each other.
    styles = itertools.cycle(("solid", "dashed", "dotted", "dashdot"))
    for settings in dict.fromkeys(row.settings for row in rows):
        mine = [row for row in rows if row.settings == settings]
        panel.plot(
            [row.gpus for row in mine],
            [100 * row.efficiency for row in mine],
            marker=".",
            linestyle=next(styles),
            label=settings,
        )
    panel.set_xscale("log", base=2)
    panel.set_xticks([row.gpus for row in mine], [str(row.gpus) for row in mine])
    panel.set_ylim(0, 105)
    panel.set_xlabel("GPUs")
    panel.set_ylabel("efficiency, %")
    panel.legend(fontsize=7)
