"""The figures of an adaptation as text for the terminal, and as JSON values."""

from __future__ import annotations

from typing import Any

from cephray.adapt.adaptation import Adaptation
from cephray.adapt.choose import CANDIDATES
from cephray.adapt.figures import Figures, Mean


def format_adaptation(adaptation: Adaptation, figures: Figures) -> str:
    """Return the figures as lines of text."""
    count = len(adaptation.films)
    lines = [
        f"{count} films; on each film, the error of a network that was fitted to other films"
        f" ({figures_note()}):",
        f"  before  {_mean(figures.before_mm)} mm",
        f"  after   {_mean(figures.after_mm)} mm",
        f"  gain    {_mean(figures.gain_mm)} mm",
    ]
    if not figures.is_gain_shown:
        lines.append("no gain shown: with these films, the difference may be chance")
    lines.append(
        f"changed: {adaptation.candidate.name}, of {len(CANDIDATES)} kinds of change tried"
    )
    if figures.twice_mm is not None:
        lines.append(f"twice as many films would gain about {figures.twice_mm:.2f} mm more")
    shown = [one for one in figures.landmarks if one.is_shown]
    if shown:
        lines += ["", f"{'marked elsewhere':<28}{'right, mm':>24}{'down, mm':>24}"]
        for one in shown:
            lines.append(f"{one.name:<28}{_signed(one.right):>24}{_signed(one.down):>24}")
    else:
        lines.append("no landmark is shown to be marked elsewhere")
    return "\n".join(lines)


def figures_note() -> str:
    """Return what the brackets contain."""
    return "in brackets 95 % intervals over films"


def adaptation_json(adaptation: Adaptation, figures: Figures) -> dict[str, Any]:
    """Return the figures as JSON values."""
    return {
        "films": list(adaptation.films),
        "changed": adaptation.candidate.name,
        "kinds_of_change_tried": len(CANDIDATES),
        "before_mm": figures.before_mm.to_json(),
        "after_mm": figures.after_mm.to_json(),
        "gain_mm": figures.gain_mm.to_json(),
        "gain_shown": figures.is_gain_shown,
        "gain_of_twice_as_many_films_mm": figures.twice_mm,
        "landmarks": [
            {
                "name": one.name,
                "films": one.films,
                "right_mm": one.right.to_json(),
                "down_mm": one.down.to_json(),
                "marked_elsewhere": one.is_shown,
            }
            for one in figures.landmarks
        ],
    }


def _mean(mean: Mean) -> str:
    return f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"


def _signed(mean: Mean) -> str:
    return f"{mean.value:+.2f} [{mean.low:+.2f}, {mean.high:+.2f}]".replace("-", "−")
