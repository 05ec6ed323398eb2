"""What the page needs to know once: the landmark set, and analyses that it computes by itself.

Points of measures are given as indices into the landmark set, so that the page needs to know no
abbreviation, alias or synonym. It knows no cases.
"""

from __future__ import annotations

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
    measurable,
)
from cephray.landmarks import LandmarkSet


def describe(landmarks: LandmarkSet) -> dict[str, Any]:
    """Describe a landmark set and all that can be measured with it, as JSON values.

    Args:
        landmarks: the set of K landmarks.

    Returns:
        `version`; `landmark_set` with its landmarks and lines; `upright`, the indices of sella,
        nasion and menton, or None; `challenge`, the eight measurements, or None; and `analyses`.
    """
    upright = [landmarks.find(name) for name in UPRIGHT_BY]
    analyses = [analysis_named(name).of_set(landmarks) for name in analysis_names()]
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
