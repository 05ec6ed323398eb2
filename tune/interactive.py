"""Interactive pictures of a search: those of `optuna.visualization`, on one page.

It needs plotly, which the extra `search` installs. The page holds plotly's script, and loads
nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from cephray.storage import replace_text
from tune.objectives import Objective
from tune.study import trials_in_state

INTERACTIVE = "interactive.html"
_FEWEST_TRIALS = 2  # with one, there is nothing to compare


def write_interactive(
    study: optuna.Study, objectives: Sequence[Objective], folder: Path
) -> Path | None:
    """Write the page.

    Args:
        study: of the search.
        objectives: of the search.
        folder: of the search.

    Returns:
        The page, or None if plotly is not installed or fewer than two trials have finished.

    Raises:
        OSError: the page could not be written.
    """
    finished = trials_in_state(study, TrialState.COMPLETE)
    if find_spec("plotly") is None or len(finished) < _FEWEST_TRIALS:
        return None
    from optuna import visualization

    figures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna's experimental functions
        if len(objectives) > 1:
            names = [objective.title for objective in objectives]
            figures.append(visualization.plot_pareto_front(study, target_names=names))
        else:
            figures.append(visualization.plot_intermediate_values(study))
        for index, objective in enumerate(objectives):
            target: dict[str, Any] = {
                "target": lambda trial, index=index: trial.values[index],
                "target_name": objective.title,
            }
            figures += [
                visualization.plot_optimization_history(study, **target),
                visualization.plot_parallel_coordinate(study, **target),
                visualization.plot_slice(study, **target),
            ]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0)
        for number, figure in enumerate(figures)
    ]
    page = folder / INTERACTIVE
    replace_text(
        page,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{study.study_name}: search</title></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n",
    )
    return page
