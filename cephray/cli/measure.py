"""The command measure: cephalometric analyses of landmarks that are known already."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from cephray.cli.command import Commands, make_folder
from cephray.cli.marks_options import add_marks_options, marks_config
from cephray.errors import InputError
from cephray.landmarks import LandmarkSet, landmark_set
from cephray.storage import place


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    measure = commands.add("measure", run_measure, "measure landmarks by cephalometric analyses")
    measure.add_argument(
        "inputs",
        type=place,
        nargs="*",
        metavar="LANDMARKS",
        help="annotation files, or folders with annotations",
    )
    measure.add_argument(
        "--analysis",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="analysis to measure by, repeatable; default: all that the landmarks allow",
    )
    add_marks_options(measure)
    measure.add_argument("--json", type=Path, metavar="FILE", help="file to write measures to")
    measure.add_argument("--list", action="store_true", help="list the analyses and end")


def run_measure(options: argparse.Namespace) -> None:
    """Measure the landmarks of films, or list the analyses."""
    from cephray.clinical import choose_analyses, error_of_radius, format_measures
    from cephray.data import read_all_marks

    landmarks = landmark_set(options.landmarks)
    if options.list:
        _list(options.analysis, landmarks)
        return
    if not options.inputs:
        raise InputError("nothing to measure; give annotation files or folders, or --list")
    analyses = choose_analyses(options.analysis, landmarks)
    data = marks_config(options)
    sources = [read_all_marks(source, data) for source in options.inputs]
    make_folder(options.json and options.json.parent)
    films = []
    for film in (film for marks in sources for film in marks.films):
        for reader, points_px in film.readers_px.items():
            spacing = "unknown" if film.spacing_mm is None else f"{film.spacing_mm:g} mm per pixel"
            print(f"film {film.film}, {reader}; spacing {spacing}")
            radii_px = film.radii_95_px.get(reader)
            error_px = None if radii_px is None else error_of_radius(radii_px)
            doubtful = film.doubtful.get(reader, ())
            if doubtful:
                print(f"DOUBTFUL: {'; '.join(doubtful)}")
            found = []
            for analysis in analyses:
                measures = analysis.read(points_px, film.spacing_mm, error_px, not doubtful)
                found.append({"name": analysis.name, "measures": measures})
                print(f"{analysis.title}\n{format_measures(measures)}")
            facts = {"film": film.film, "reader": reader, "spacing_mm": film.spacing_mm}
            films.append({**facts, "doubtful": list(doubtful), "analyses": found})
            print()
    if options.json is not None:
        text = json.dumps({"films": films}, indent=1, ensure_ascii=False)
        options.json.write_text(f"{text}\n", encoding="utf-8")


def _list(given: Sequence[str], landmarks: LandmarkSet) -> None:
    """Print the analyses with their measures, and the points that the landmark set lacks."""
    from cephray.clinical import (
        CHALLENGE,
        analysis_named,
        analysis_names,
        format_analysis,
        format_challenge,
    )

    for name in given or (CHALLENGE, *analysis_names()):
        is_challenge = name == CHALLENGE
        print(
            format_challenge()
            if is_challenge
            else format_analysis(analysis_named(name), landmarks),
            end="\n\n",
        )
