"""The numbers of trials and films behind a search, and when importances need more.

It knows counts of trials and films, and neither study nor pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from tune.objectives import MRE, Objective

# Importances of fewer trials change from one seed to the next: 8 of them are drawn at random.
FEWEST_TRIALS = 20
# The mean error of fewer films is mostly about these films.
FEWEST_FILMS = 5


@dataclass(frozen=True)
class Evidence:
    """Numbers of trials and films behind a search.

    Args:
        finished: number of trials that finished.
        films: number of validation films, or None if it was not written down.
        pruned: number of trials that were pruned after their first validation.
    """

    finished: int
    films: int | None
    pruned: int = 0

    @property
    def trials(self) -> int:
        """Number of trials with an error: finished and pruned ones."""
        return self.finished + self.pruned

    def __str__(self) -> str:
        """Name the counts."""
        trials = _count(self.finished, "finished trial")
        if self.pruned:
            trials += f" and {self.pruned} pruned {'one' if self.pruned == 1 else 'ones'}"
        return trials if self.films is None else f"{trials} on {_films(self.films)}"

    @property
    def warning(self) -> str:
        """A warning about the errors, or "" if there are enough films."""
        if self.films is None or self.films >= FEWEST_FILMS:
            return ""
        return (
            f"errors are of {_films(self.films)}: with fewer than {FEWEST_FILMS}, the best trial "
            "may be the best on these films alone"
        )

    def missing(self, objective: Objective) -> str:
        """Return what is missing for the importances of parameters, or "" if nothing is.

        Args:
            objective: that the importances are for; only the error depends on films.
        """
        missing = []
        if self.trials < FEWEST_TRIALS:
            missing.append(
                f"{FEWEST_TRIALS} finished or pruned trials are needed, and there "
                f"{_is(self.trials)} {self.trials}"
            )
        if objective == MRE and self.films is not None and self.films < FEWEST_FILMS:
            missing.append(
                f"{FEWEST_FILMS} validation films are needed, and there "
                f"{_is(self.films)} {self.films}"
            )
        if not missing:
            return ""
        return f"Importances for {objective.label} are left out: {'; '.join(missing)}."


def _films(count: int) -> str:
    return _count(count, "validation film")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
