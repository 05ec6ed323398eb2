"""The space of a search: keys of the configuration, each with its range, read from YAML.

A file maps dotted config keys to one rule each:

    model.roi_pool_size: {integer: [3, 9, 2]}        # lowest, highest, step
    loss.detection_weight: {log_uniform: [0.1, 10]}
    train.learning_rate: {uniform: [1.0e-4, 1.0e-3]}
    model.backbone: {choice: [resnet18, resnet34]}
    model.window_cells: {choice: [[5, 5, 5, 5], [7, 7, 7, 7]]}

It knows Optuna's trials and cephray's configuration, and runs nothing.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from cephray.config import Config, override, plain_value, value_of
from cephray.errors import InputError
from cephray.tree import find_named, read_mapping

# A list is kept as its YAML text, since Optuna takes only plain values.
Value = bool | int | float | str | None

SPACES = Path(__file__).with_name("spaces")
DEFAULT = "default"

# They say what is measured, and on which films: trials would not be comparable.
MEASURE = (
    "data.landmarks",
    "data.reader",
    "data.spacing_mm",
    "data.training",
    "data.validation",
    "data.holdout_fraction",
    "data.separate_copies",
    "train.seed",
)


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def probes(self) -> tuple[Value, ...]:
        """Return values that must be valid for all to be."""
        return self.values

    def contains(self, value: Value) -> bool:
        """Return whether a value may be drawn."""
        return any(
            value == v and isinstance(value, bool) == isinstance(v, bool) for v in self.values
        )

    def suggest(self, trial: optuna.Trial, key: str) -> Value:
        """Draw a value, or return the one that the trial has."""
        return trial.suggest_categorical(key, self.values)

    def rule(self) -> dict[str, list[Value]]:
        """Return it as the file has it."""
        return {"choice": list(self.values)}

    def __str__(self) -> str:
        """Name it as reports do."""
        return ", ".join(map(str, self.values))


@dataclass(frozen=True)
class Integer:
    """A whole number of a range, both ends included."""

    low: int
    high: int
    step: int = 1

    def probes(self) -> tuple[Value, ...]:
        """Return values that must be valid for all to be."""
        return self.low, self.high

    def contains(self, value: Value) -> bool:
        """Return whether a value may be drawn."""
        return isinstance(value, int) and value in range(self.low, self.high + 1, self.step)

    def suggest(self, trial: optuna.Trial, key: str) -> Value:
        """Draw a value, or return the one that the trial has."""
        return trial.suggest_int(key, self.low, self.high, step=self.step)

    def rule(self) -> dict[str, list[Value]]:
        """Return it as the file has it."""
        return {"integer": [self.low, self.high, self.step]}

    def __str__(self) -> str:
        """Name it as reports do."""
        return ", ".join(map(str, range(self.low, self.high + 1, self.step)))


@dataclass(frozen=True)
class Real:
    """A number of a range."""

    low: float
    high: float
    log: bool = False

    def probes(self) -> tuple[Value, ...]:
        """Return values that must be valid for all to be; the last is no whole number."""
        return self.low, self.high, self.low + (self.high - self.low) / math.e

    def contains(self, value: Value) -> bool:
        """Return whether a value may be drawn."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= float(str(value)) <= self.high

    def suggest(self, trial: optuna.Trial, key: str) -> Value:
        """Draw a value, or return the one that the trial has."""
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def rule(self) -> dict[str, list[Value]]:
        """Return it as the file has it."""
        return {"log_uniform" if self.log else "uniform": [self.low, self.high]}

    def __str__(self) -> str:
        """Name it as reports do."""
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


Dimension = Choice | Integer | Real


@dataclass(frozen=True)
class Space:
    """The dimensions of a search by config key, in the order of its file."""

    dimensions: dict[str, Dimension]

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """Draw every value that the trial does not have yet; return all."""
        return {key: d.suggest(trial, key) for key, d in self.dimensions.items()}

    def baseline(self, config: Config) -> dict[str, Value]:
        """Return the configuration's own values: the first trial of every study."""
        return {key: _kept(value_of(config, key)) for key in self.dimensions}

    def dump(self) -> str:
        """Return the space as YAML that `load_space` takes."""
        rules = {key: dimension.rule() for key, dimension in self.dimensions.items()}
        text: str = yaml.safe_dump(rules, sort_keys=False, default_flow_style=None)
        return text


def applied(values: Mapping[str, Value], base: Config) -> Config:
    """Return the configuration of a trial.

    Args:
        values: of the trial, by config key.
        base: configuration whose values they replace.

    Raises:
        InputError: the values are not allowed together.
    """
    return override(
        base,
        {
            key: yaml.safe_load(value)
            if isinstance(value, str) and value.startswith("[")
            else value
            for key, value in values.items()
        },
    )


def _kept(value: Any) -> Value:
    """Return a value of the configuration as trials keep it."""
    return str(list(value)) if isinstance(value, list | tuple) else value


def load_space(name: str, base: Config) -> Space:
    """Read a search space.

    Args:
        name: of a space that comes with the package, or path of a YAML file.
        base: configuration whose values those of the space replace; its own are the first
            trial's, and must lie in the space.

    Raises:
        InputError: a key or a rule that cannot be used; says what is valid.
    """
    path = find_named(name, space_files(), "space", "a space of the package")
    tree = read_mapping(path, "space file")
    if not tree:
        raise InputError(f"space file {path}: is empty; give at least one config key with a rule")
    try:
        return Space({str(key): _dimension(str(key), rule, base) for key, rule in tree.items()})
    except InputError as error:
        raise InputError(f"space file {path}: {error}") from None


def _dimension(key: str, rule: Any, base: Config) -> Dimension:
    if key in MEASURE:
        others = ", ".join(other for other in MEASURE if other != key)
        raise InputError(
            f"{key} cannot be searched: trials would not be measured alike (nor could {others})"
        )
    if not isinstance(rule, Mapping) or len(rule) != 1:
        raise InputError(
            f"{key}: must be {{rule: [values]}}, the rule one of {', '.join(_RULES)}; got {rule!r}"
        )
    [(name, values)] = rule.items()
    if name not in _RULES:
        close = difflib.get_close_matches(str(name), _RULES, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(f"{key}: unknown rule {name!r}{hint}; valid rules: {', '.join(_RULES)}")
    read, wanted = _RULES[name]
    if isinstance(values, list):
        values = [plain_value(key, value) for value in values]
    try:
        dimension = read(values)
    except (TypeError, ValueError):
        raise InputError(f"{key}: {name} takes {wanted}; got {values!r}") from None
    for value in dimension.probes():
        applied({key: value}, base)
    own = _kept(value_of(base, key))
    if not dimension.contains(own):
        raise InputError(
            f"{key}: the configuration's own value {own!r} is not among {dimension}, so that the "
            "search would have no baseline; widen the range, or give another value by --set"
        )
    return dimension


def _choice(values: list[Any]) -> Choice:
    if not isinstance(values, list):
        raise TypeError
    values = [_kept(value) for value in values]
    if len(set(map(repr, values))) < max(2, len(values)):
        raise ValueError
    if not all(isinstance(value, Value) for value in values):
        raise TypeError
    return Choice(tuple(values))


def _integer(values: list[Any]) -> Integer:
    if not all(type(value) is int for value in values):
        raise TypeError
    low, high, step = values if len(values) == 3 else [*values, 1]
    if not (low < high and step >= 1 and (high - low) % step == 0):
        raise ValueError
    return Integer(low, high, step)


def _real(values: list[Any], log: bool = False) -> Real:
    if any(isinstance(value, bool) for value in values):
        raise TypeError
    low, high = map(float, values)  # YAML reads 1e-4 as text
    if not (-math.inf < low < high < math.inf) or (log and low <= 0):
        raise ValueError
    return Real(low, high, log)


_RULES: dict[str, tuple[Callable[[list[Any]], Dimension], str]] = {
    "choice": (
        _choice,
        "a list of at least two numbers, texts, lists, true, false or null, each once",
    ),
    "integer": (
        _integer,
        "[lowest, highest] or [lowest, highest, step], whole numbers, the highest some steps "
        "above the lowest",
    ),
    "uniform": (_real, "[lowest, highest], numbers, the lowest first"),
    "log_uniform": (
        lambda values: _real(values, log=True),
        "[lowest, highest], numbers above 0, the lowest first",
    ),
}


def space_files() -> dict[str, Path]:
    """Return the spaces that come with the package, by name."""
    return {path.stem: path for path in sorted(SPACES.glob("*.yaml"))}


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Map dotted keys to their last parts, where these tell them apart.

    Example:
        >>> short_names(["model.fusion_depth", "augment.flip.enabled"])
        {'model.fusion_depth': 'fusion_depth', 'augment.flip.enabled': 'flip'}
    """
    lasts = {key: key.removesuffix(".enabled").rpartition(".")[2] for key in keys}
    taken = list(lasts.values())
    return {key: last if taken.count(last) == 1 else key for key, last in lasts.items()}


def describe(values: Mapping[str, Value]) -> str:
    """Name values in one line."""
    names = short_names(list(values))
    return ", ".join(f"{names[key]} {short(value)}" for key, value in values.items())


def short(value: Value) -> str:
    """Write a value with as many digits as people read."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
