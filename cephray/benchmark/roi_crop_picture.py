"""The picture of the ROI crop's benchmark: time relative to the floor, by case and subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cephray.benchmark.timing import FLOOR, IN_GRAPH, Row

MOST_CASES = 24  # that a picture can label
SHORT = {"batch": "B", "landmarks": "K", "crop_size": "S", "depth": "L"}


def draw(rows: Sequence[Row], machine: Mapping[str, Any], path: Path) -> None:
    """Draw a panel for each direction: a bar for each subject, grouped by case."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    cases = list(dict.fromkeys(tuple(row.case.items()) for row in rows))[:MOST_CASES]
    floors = (FLOOR, FLOOR + IN_GRAPH)
    subjects = [s for s in dict.fromkeys(row.subject for row in rows) if s not in floors]
    directions = list(dict.fromkeys(row.direction for row in rows))
    times = {(tuple(r.case.items()), r.subject, r.direction): r for r in rows}
    figure = Figure(
        figsize=(max(8, 2 + 0.7 * len(cases)), 3.6 * len(directions)), layout="constrained"
    )
    panels = figure.subplots(len(directions), 1, squeeze=False, sharex=True)[:, 0]
    width = 0.8 / len(subjects)
    for panel, direction in zip(panels, directions, strict=True):
        for place, name in enumerate(subjects):
            for x, case in enumerate(cases):
                own_floor = floors[name.endswith(IN_GRAPH)]
                row, floor = (times.get((case, s, direction)) for s in (name, own_floor))
                if row is None or floor is None:
                    continue
                panel.bar(
                    x + (place + 0.5) * width - 0.4,
                    row.median_s / floor.median_s,
                    width,
                    color=f"C{place}",
                )
        panel.axhline(1, color="black", linewidth=1)
        panel.set_yscale("log")
        panel.set_ylabel(f"{direction}\ntime / floor")
    patches = [Patch(color=f"C{place}", label=name) for place, name in enumerate(subjects)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(subjects))
    panels[-1].set_xticks(range(len(cases)), [_label(dict(case)) for case in cases], fontsize=8)
    figure.suptitle(
        f"ROI crop: time relative to copying the bytes that it must move\n{machine['processor']}, "
        f"{machine['cpus']} processors" + (f", {machine['gpu']}" if machine["gpu"] else "")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _label(case: Mapping[str, Any]) -> str:
    sizes = [f"{short}={case[name]}" for name, short in SHORT.items() if name in case]
    return "\n".join([*sizes, str(case.get("dtype", "")), str(case.get("device", ""))])
