"""What the page needs to know once: the landmark set, and analyses that it computes by itself.

Points of measures are given as indices into the landmark set, so that the page needs to know no
abbreviation, alias or synonym. It knows no cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cephray import __version__
from cephray.clinical import (
    CHALLENGE,
    CHALLENGE_TITLE,
    GRID_MM,
    LANDMARKS,
    MEASUREMENTS,
    UPRIGHT_BY,
    Analysis,
    analysis_named,
    analysis_names,
    choose_analyses,
    measurable,
)
from cephray.errors import InputError
from cephray.landmarks import LandmarkSet


def own_analyses(files: Sequence[str], landmarks: LandmarkSet) -> tuple[Analysis, ...]:
    """Read analyses of the user.

    Args:
        files: paths of YAML files.
        landmarks: the set of K landmarks of the cases.

    Raises:
        InputError: a file is not valid, its name is that of another analysis, or the landmark set
            has the points of none of its measures.
    """
    found: dict[str, Analysis] = {}
    for file in files:
        analysis = analysis_named(file)
        if analysis.name in (CHALLENGE, *analysis_names(), *found):
            raise InputError(
                f"--analysis {file}: there is an analysis named {analysis.name!r} already; give"
                " this one another name"
            )
        choose_analyses([analysis.name], landmarks, [analysis])
        found[analysis.name] = analysis
    return tuple(found.values())


def describe(landmarks: LandmarkSet, own: Sequence[Analysis] = ()) -> dict[str, Any]:
    """Describe a landmark set and all that can be measured with it, as JSON values.

    Args:
        landmarks: the set of K landmarks.
        own: analyses of the user, which come first.

    Returns:
        `version`; `landmark_set` with its landmarks and lines; `upright`, the indices of sella,
        nasion and menton, or None; `challenge`, the eight measurements, or None; `analyses`,
        and the names of those that are the user's `own`.
    """
    upright = [landmarks.find(name) for name in UPRIGHT_BY]
    included = [analysis_named(name) for name in analysis_names()]
    analyses = [one.of_set(landmarks) for one in (*own, *included)]
    return {
        "version": __version__,
        "landmark_set": {
            "name": landmarks.name,
            "landmarks": [
                {
                    "name": one.name,
                    "abbreviation": one.abbreviation,
                    "definition": one.definition,
                }
                for one in landmarks.landmarks
            ],
            "lines": [
                {
                    "name": line.name,
                    "start": landmarks.find(line.start),
                    "end": landmarks.find(line.end),
                }
                for line in landmarks.lines
            ],
        },
        "upright": None if None in upright else upright,
        "challenge": _challenge(landmarks) if measurable(landmarks) else None,
        "analyses": [_analysis(one, landmarks) for one in analyses if one.measures],
        "own": [one.name for one in own],
    }


def _challenge(landmarks: LandmarkSet) -> dict[str, Any]:
    return {
        "name": CHALLENGE,
        "title": CHALLENGE_TITLE,
        "grid_mm": GRID_MM,
        "points": {name: landmarks.find(name) for name in LANDMARKS},
        "measures": [
            {
                "name": one.name,
                "title": one.title,
                "unit": one.unit,
                "normal": one.normal,
                "below": one.below,
                "above": one.above,
                "zero": one.zero,
                "meanings": one.meanings,
            }
            for one in MEASUREMENTS
        ],
    }


def _analysis(analysis: Analysis, landmarks: LandmarkSet) -> dict[str, Any]:
    return {
        "name": analysis.name,
        "title": analysis.title,
        "source": analysis.source,
        "measures": [
            {
                "name": one.name,
                "title": one.title,
                "unit": one.unit,
                "construction": one.construction,
                "points": [[landmarks.find(name) for name in point] for point in one.points],
                "of": one.of,
                "turned_deg": one.turned_deg,
                "sign": one.sign,
                "norms": [
                    {"mean": norm.mean, "sd": norm.sd, "for": norm.group, "source": norm.source}
                    for norm in one.norms
                ],
            }
            for one in analysis.measures
        ],
    }
