"""The settings of a search, from options and files, written down so that it can be resumed.

It checks all that can be checked before anything is started, and knows neither Ray nor Optuna's
storage.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import Field, ValidationError

from cephray.config import Config, PositiveInt, Section, dump_config, load_config, override
from cephray.errors import InputError
from cephray.storage import Place, RemotePath, replace_text
from tune.drivers import FOLDER
from tune.objectives import Objective, Second, objectives_of
from tune.space import DEFAULT, Space, load_space

SEARCH, BASE, SPACE = "search.yaml", "base.yaml", "space.yaml"
JOURNAL = "study.journal"
COPIES = "copies.json"  # which films are the same: the driver finds them once, for all trials

Validation = Literal["holdout", "test1"]

_HIDDEN = "***"


class Search(Section):
    """The options of a search."""

    data: str = Field(description="folder of the data set")
    trials: PositiveInt = Field(16, description="in the end, failed ones included")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of Optuna's sampler")
    second_objective: Second | None = Field(None, description="minimised in addition to the error")
    grace_epochs: PositiveInt = Field(description="no trial is pruned earlier")
    reduction_factor: Annotated[int, Field(ge=2)] = Field(
        2, description="one trial in so many goes on at each rung"
    )
    storage: str | None = Field(None, description="database URL; if none, a journal file")
    study_name: str = Field(description="of the study in its storage")
    validation_films: int | None = Field(
        None, description="number of films that trials are compared on"
    )


@dataclass(frozen=True)
class Settings:
    """A search with all that it needs: how it is done, the base of its trials, and its space."""

    output: Path
    search: Search
    base: Config
    space: Space

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives to minimise, the validation error first."""
        return objectives_of(self.search.second_objective)

    @property
    def epochs(self) -> int:
        """Epochs of the longest trial."""
        searched = self.space.dimensions.get("train.epochs")
        choices = (self.base.train.epochs,) if searched is None else searched.probes()
        return max(int(str(choice)) for choice in choices)

    def save(self) -> None:
        """Write it into the output folder, the file that says that it is a search last."""
        self.output.mkdir(parents=True, exist_ok=True)
        replace_text(self.output / BASE, dump_config(self.base))
        replace_text(self.output / SPACE, self.space.dump())
        text = yaml.safe_dump(_kept(self.search), sort_keys=False)
        replace_text(self.output / SEARCH, text)


def settle(options: argparse.Namespace) -> Settings:
    """Make the settings of a new search, or those of one that goes on.

    Args:
        options: of the command line; what is None was not given.

    Raises:
        InputError: something cannot be used, or differs from what the search began with.
    """
    output: Path = options.output.resolve()
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output}: is a file; give a folder")
    found = sorted(path.name for path in output.iterdir()) if output.exists() else []
    if (options.resume or options.join) and SEARCH in found:
        return _resumed(options, output)
    if SEARCH in found:
        raise InputError(
            f"output {output}: holds another search; go on with it by --resume, work on it beside "
            "its driver by --join, or give an empty folder"
        )
    others = [name for name in found if name not in (FOLDER, JOURNAL, BASE, SPACE, COPIES)]
    if others:
        raise InputError(
            f"output {output}: is not empty (holds {others[0]}), and holds no search (no "
            f"{SEARCH}); give an empty folder"
        )
    base = _base(options)
    space = load_space(options.space or DEFAULT, base)
    return Settings(output, _search(options, output, base, {}), base, space)


def _resumed(options: argparse.Namespace, output: Path) -> Settings:
    """Return the saved settings; options that are given again must equal them."""
    saved = load_settings(output)
    base, space = saved.base, saved.space
    if options.config is not None or _overrides(options):
        base = _base(options)
        if base.train.cpus_per_worker is None:  # the first start chose
            base = override(base, {"train.cpus_per_worker": saved.base.train.cpus_per_worker})
    elif options.validation is not None:
        base = override(base, {"data.validation": options.validation})
    if options.space is not None:
        space = load_space(options.space, base)
    if options.storage is None and _HIDDEN in (saved.search.storage or ""):
        raise InputError(f"output {output}: give --storage again, whose password was not kept")
    search = _search(options, output, base, saved.search.model_dump())
    known = {**_kept(saved.search), "config": saved.base, "space": saved.space}
    asked = {**_kept(search), "config": base, "space": space}
    for name, value in known.items():
        if name != "trials" and asked[name] != value:
            raise InputError(
                f"output {output}: the search began with another {name.replace('_', ' ')}, and "
                "its trials would not be comparable: leave the option away, or give another "
                "--output for a new search"
            )
    return Settings(output, search, base, space)


def load_settings(output: Path) -> Settings:
    """Read what a search began with.

    Raises:
        InputError: the folder holds no search.
    """
    if not (output / SEARCH).is_file():
        raise InputError(f"output {output}: holds no search (no {SEARCH})")
    base = load_config(output / BASE)
    tree = yaml.safe_load((output / SEARCH).read_text(encoding="utf-8"))
    return Settings(output, _validated(tree), base, load_space(str(output / SPACE), base))


def _search(
    options: argparse.Namespace, output: Path, base: Config, known: dict[str, Any]
) -> Search:
    given = {
        "data": _written(options.data),
        "trials": options.trials,
        "seed": options.seed,
        "second_objective": options.second_objective,
        "grace_epochs": options.grace_epochs,
        "reduction_factor": options.reduction_factor,
        "storage": options.storage,
    }
    usual = {
        "grace_epochs": max(1, base.train.epochs // 4),
        "study_name": output.name or "cephray",
    }
    given = {name: value for name, value in given.items() if value is not None}
    return _validated({**usual, **known, **given})


def _validated(tree: dict[str, Any]) -> Search:
    try:
        return Search.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "--" + "-".join(str(part).replace("_", "-") for part in first["loc"])
        raise InputError(f"{name}: {first['msg']}; got {first['input']!r}") from None


def _base(options: argparse.Namespace) -> Config:
    config = load_config(options.config, _overrides(options))
    if options.gpus_per_trial is not None:
        workers = config.train.num_workers
        if not 0 < options.gpus_per_trial <= workers:
            raise InputError(
                f"--gpus-per-trial: must be above 0 and at most {workers}, one for each worker of "
                f"a trial; got {options.gpus_per_trial:g}"
            )
        config = override(config, {"train.gpus_per_worker": options.gpus_per_trial / workers})
    return override(config, {"data.validation": options.validation or "holdout"})


def _overrides(options: argparse.Namespace) -> list[str]:
    overrides = list(options.set)
    if options.num_workers is not None:
        overrides.append(f"train.num_workers={options.num_workers}")
    if options.use_gpu or options.gpus_per_trial is not None:
        overrides.append("train.use_gpu=true")
    return overrides


def _kept(search: Search) -> dict[str, Any]:
    """Return the settings to save, without a password."""
    return {**search.model_dump(), "storage": _without_password(search.storage)}


def _without_password(url: str | None) -> str | None:
    if url is None:
        return None
    password = urlsplit(url).password
    return url.replace(f":{password}@", f":{_HIDDEN}@") if password else url


def _written(data: Place) -> str:
    """Return a location as text that means the same in every folder."""
    return data.uri if isinstance(data, RemotePath) else str(data.resolve())
