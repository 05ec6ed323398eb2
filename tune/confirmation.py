"""Whether the best configuration of a search beats the baseline, by runs of both on other films.

The best trial was chosen by its own validation error, which is therefore too low. Both
configurations are trained again with other seeds, on other folds of the Training films. It knows
errors as NumPy arrays, and neither runs nor the study.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cephray.errors import InputError
from cephray.metrics import LEVEL_PERCENT, RESAMPLES, resampled_sums
from cephray.storage import replace_text

FILE = "confirmation.json"
_SEED = 0


@dataclass(frozen=True)
class Pair:
    """One run of each configuration, with the same seed and the same films.

    Args:
        fold: fold of the Training films that both runs held out.
        seed: seed of both runs.
        films: number of films that were held out.
        baseline_mm, best_mm: mean radial error of each on these films.
    """

    fold: int
    seed: int
    films: int
    baseline_mm: float
    best_mm: float

    @property
    def difference_mm(self) -> float:
        """Error of the best configuration minus that of the baseline."""
        return self.best_mm - self.baseline_mm


@dataclass(frozen=True)
class Confirmation:
    """What the runs of both configurations show.

    Args:
        trial: number of the trial that was the best one when the runs were made.
        films: number of different films that were held out.
        baseline_mm, best_mm: mean errors over these films.
        difference_mm: mean over films of the difference of both.
        low_mm, high_mm: its bootstrap interval over films.
        pairs: the runs.
    """

    trial: int
    films: int
    baseline_mm: float
    best_mm: float
    difference_mm: float
    low_mm: float
    high_mm: float
    pairs: tuple[Pair, ...]

    @property
    def is_better(self) -> bool:
        """Whether the best configuration is better in every pair, and over films beyond chance."""
        return self.high_mm < 0 and all(pair.difference_mm < 0 for pair in self.pairs)

    def __str__(self) -> str:
        """Say what was found, in one paragraph."""
        verdict = (
            "The best configuration beats the baseline beyond noise"
            if self.is_better
            else "The best configuration is not shown to beat the baseline"
        )
        pairs = ", ".join(f"{pair.difference_mm:+.3f}" for pair in self.pairs)
        return (
            f"{verdict}: trained again {len(self.pairs)} times each, trial {self.trial} has"
            f" {self.best_mm:.3f} mm and the baseline {self.baseline_mm:.3f} mm on {self.films}"
            f" other films. The difference is {self.difference_mm:+.3f} mm"
            f" ({LEVEL_PERCENT:.0f} % interval {self.low_mm:+.3f} to {self.high_mm:+.3f});"
            f" of each pair of runs: {pairs} mm."
        )

    def save(self, folder: Path) -> None:
        """Write it to `confirmation.json`."""
        replace_text(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")


def load_confirmation(folder: Path) -> Confirmation | None:
    """Read the confirmation of a search, or return None if there is none.

    Args:
        folder: of the search.

    Raises:
        InputError: the file is broken.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return Confirmation(**{**tree, "pairs": tuple(Pair(**pair) for pair in tree["pairs"])})
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: is broken; run python -m tune.confirm again") from None


@dataclass(frozen=True, eq=False)
class Measured:
    """Errors of both configurations on the films that a pair of runs held out.

    Args:
        fold, seed: as in `Pair`.
        films: names, n of them.
        baseline_mm, best_mm: [n], mean error of each film.
    """

    fold: int
    seed: int
    films: tuple[str, ...]
    baseline_mm: NDArray[np.float64]
    best_mm: NDArray[np.float64]


def confirm(trial: int, measured: Sequence[Measured]) -> Confirmation:
    """Compare two configurations by the films that pairs of their runs held out.

    A film that several pairs held out counts once, with the mean of its errors.

    Args:
        trial: number of the best trial.
        measured: one for each pair of runs; at least one.
    """
    errors: dict[str, list[tuple[float, float]]] = {}
    for one in measured:
        for film, *both in zip(one.films, one.baseline_mm, one.best_mm, strict=True):
            errors.setdefault(film, []).append((float(both[0]), float(both[1])))
    means = np.array([np.mean(values, axis=0) for values in errors.values()])  # [films, 2]
    differences = means[:, 1] - means[:, 0]
    drawn = resampled_sums(differences[:, None], RESAMPLES, _SEED) / len(differences)
    tail = (100 - LEVEL_PERCENT) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Confirmation(
        trial,
        len(errors),
        float(means[:, 0].mean()),
        float(means[:, 1].mean()),
        float(differences.mean()),
        float(low),
        float(high),
        tuple(
            Pair(
                one.fold,
                one.seed,
                len(one.films),
                float(one.baseline_mm.mean()),
                float(one.best_mm.mean()),
            )
            for one in measured
        ),
    )
