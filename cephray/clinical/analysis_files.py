"""The analyses that come with cephray, and analyses in files of users.

An analysis is a YAML file: `name`, `title`, `source` and `measures`, a list. A measure has `name`,
`title`, `unit`, `construction`, and either `points` or `of`; if wanted, `turned_deg`, `sign` and
`norms`. docs/measure.md explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import yaml

from cephray.clinical.analysis import COMBINATIONS, Analysis, Measure, Norm, Point, Unit
from cephray.clinical.constructions import CONSTRUCTIONS
from cephray.errors import InputError
from cephray.landmarks import is_file_name
from cephray.tree import check_keys, entries, number, read_mapping, text

_FOLDER = files("cephray.clinical") / "analyses"
_NEEDED = {"name", "title", "unit", "construction"}
_OTHERS = {"points", "of", "turned_deg", "norms", "sign"}


def analysis_names() -> list[str]:
    """Return the names of the analyses that come with cephray, in alphabetical order."""
    found = [file.name for file in _FOLDER.iterdir() if file.name.endswith(".yaml")]
    return sorted(name.removesuffix(".yaml") for name in found)


def analysis_named(given: str) -> Analysis:
    """Return an analysis.

    Example:
        >>> analysis_named("tweed").measures[0].name
        'FMA'

    Args:
        given: name of an analysis that comes with cephray, or path of a YAML file.

    Raises:
        InputError: If there is no such analysis or file, or the file is not valid. The message is
            one line.
    """
    if given in analysis_names():
        return _included(given)
    if not is_file_name(given):
        raise InputError(
            f"unknown analysis {given!r}; give {', '.join(analysis_names())}, or the path of a"
            " YAML file"
        )
    tree = read_mapping(Path(given), "analysis")
    try:
        return parse_analysis(tree)
    except InputError as error:
        raise InputError(f"analysis {given}: {error}") from None


def parse_analysis(tree: Mapping[str, Any]) -> Analysis:
    """Build an analysis from plain values, as its YAML file contains them.

    Raises:
        InputError: If a key is unknown or missing, or a value is invalid. The message begins with
            the place in the tree.
    """
    check_keys("analysis", tree, {"name", "title", "source", "measures"}, set())
    name, title, source = (text(key, tree[key]) for key in ("name", "title", "source"))
    measures: dict[str, Measure] = {}
    for place, entry in entries("measures", tree["measures"]):
        checked = check_keys(place, entry, _NEEDED, _OTHERS)
        called = text(f"{place}, name", checked["name"])
        if called in measures:
            raise InputError(f"{place}: the name {called!r} occurs twice")
        measures[called] = _measure(f"measure {called!r}", checked, measures, source)
    if not measures:
        raise InputError("measures: is empty; an analysis needs at least one measure")
    return Analysis(name, title, source, tuple(measures.values()))


@cache
def _included(name: str) -> Analysis:
    return parse_analysis(yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def _measure(
    place: str, entry: Mapping[str, Any], before: Mapping[str, Measure], source: str
) -> Measure:
    unit, construction = (text(f"{place}, {key}", entry[key]) for key in ("unit", "construction"))
    _check_choice(f"{place}, unit", unit, get_args(Unit))
    _check_choice(f"{place}, construction", construction, (*CONSTRUCTIONS, *COMBINATIONS))
    is_combination = construction in COMBINATIONS
    key, other = ("of", "points") if is_combination else ("points", "of")
    if key not in entry or other in entry:
        raise InputError(f"{place}: construction {construction!r} takes {key!r}, not {other!r}")
    of: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    if is_combination:
        of = tuple(text(*pair) for pair in entries(f"{place}, of", entry["of"]))
        units = _check_parts(place, construction, of, before)
    else:
        points = _points(place, construction, entry["points"])
        units = ("degree",) if CONSTRUCTIONS[construction].is_angle else ("mm",)
    if unit not in units:
        raise InputError(f"{place}, unit: must be {' or '.join(units)} here; got {unit!r}")
    if "turned_deg" in entry and (is_combination or not CONSTRUCTIONS[construction].can_turn):
        turning = ", ".join(name for name, one in CONSTRUCTIONS.items() if one.can_turn)
        raise InputError(f"{place}: turned_deg is for {turning} only; got {construction!r}")
    return Measure(
        name=entry["name"],
        title=text(f"{place}, title", entry["title"]),
        unit=unit,  # type: ignore[arg-type]
        construction=construction,
        points=points,
        of=of,
        turned_deg=number(f"{place}, turned_deg", entry.get("turned_deg", 0)),
        norms=tuple(
            _norm(where, norm, source)
            for where, norm in entries(f"{place}, norms", entry.get("norms", []))
        ),
        sign=text(f"{place}, sign", entry["sign"]) if "sign" in entry else "",
    )


def _points(place: str, construction: str, given: Any) -> tuple[Point, ...]:
    meanings = CONSTRUCTIONS[construction].points
    points = []
    for where, point in entries(f"{place}, points", given):
        several = entries(where, point) if isinstance(point, list) else [(where, point)]
        points.append(tuple(text(*pair) for pair in several))
        if not several:
            raise InputError(f"{where}: is empty; give the landmarks whose mean is the point")
    if len(points) != len(meanings):
        raise InputError(
            f"{place}, points: construction {construction!r} takes {len(meanings)}"
            f" ({', '.join(meanings)}); got {len(points)}"
        )
    return tuple(points)


def _check_parts(
    place: str, construction: str, of: tuple[str, ...], before: Mapping[str, Measure]
) -> tuple[str, ...]:
    """Check the measures that are combined; return the units that the result may have."""
    unknown = [name for name in of if name not in before]
    if unknown:
        known = ", ".join(before) or "none"
        raise InputError(
            f"{place}, of: no measure before it is called {unknown[0]!r}; those are {known}"
        )
    needs_two = construction in ("difference", "ratio")
    if len(of) < 2 or (needs_two and len(of) > 2):
        count = "two measures" if needs_two else "two measures or more"
        raise InputError(
            f"{place}, of: construction {construction!r} takes {count}; got {len(of)}"
        )
    units = sorted({before[name].unit for name in of})
    if len(units) > 1:
        raise InputError(f"{place}, of: measures must have the same unit; got {', '.join(units)}")
    if units[0] in ("ratio", "percent"):
        raise InputError(f"{place}, of: combines degrees or millimetres only; got {units[0]}")
    return ("ratio", "percent") if construction == "ratio" else (units[0],)


def _norm(place: str, given: Any, source: str) -> Norm:
    entry = check_keys(place, given, {"mean"}, {"sd", "for", "source"})
    sd = number(f"{place}, sd", entry["sd"]) if "sd" in entry else None
    if sd is not None and sd <= 0:
        raise InputError(f"{place}, sd: must be above 0; got {sd:g}")
    return Norm(
        mean=number(f"{place}, mean", entry["mean"]),
        sd=sd,
        group=text(f"{place}, for", entry["for"]) if "for" in entry else "",
        source=text(f"{place}, source", entry.get("source", source)),
    )


def _check_choice(place: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{place}: must be one of {', '.join(choices)}; got {value!r}")
