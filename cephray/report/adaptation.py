"""The report of an adaptation: errors before and after, and where landmarks are marked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from cephray.adapt import CANDIDATES, Adaptation, Figures, Mean
from cephray.drawing import draw_offsets
from cephray.landmarks import LandmarkSet
from cephray.metrics import summarise_landmarks
from cephray.report.cells import number, signed
from cephray.report.page import Cell, Gallery, Picture, Section, Table, Text, png_uri, write_page

_LEAST_AXIS_MM, _MOST_AXIS_MM = 3.0, 15.0


def write_adaptation_report(
    path: Path, adaptation: Adaptation, figures: Figures, landmarks: LandmarkSet
) -> None:
    """Write the report as one HTML file. It shows no film.

    Args:
        path: path of the file.
        adaptation: what was learnt.
        figures: what it is worth.
        landmarks: set of the K landmarks.

    Raises:
        OSError: If the file cannot be written.
    """
    gain = "" if figures.is_gain_shown else " No gain is shown: the difference may be chance."
    lead = [
        f"Mean radial error {figures.before_mm.value:.2f} mm before and"
        f" {figures.after_mm.value:.2f} mm after, by cross-validation.{gain}",
        f"{len(adaptation.films)} films. Changed: {adaptation.candidate.name}, of"
        f" {len(CANDIDATES)} kinds of change tried. In brackets: 95 % intervals over films,"
        " by Student's t distribution.",
    ]
    if figures.twice_mm is not None:
        lead.append(f"Twice as many films would gain about {figures.twice_mm:.2f} mm more.")
    sections = [_errors(figures), _landmarks(adaptation, figures, landmarks)]
    write_page(path, "Adaptation", lead, sections)


def _errors(figures: Figures) -> Section:
    rows = (
        (Cell("before"), _mean(figures.before_mm)),
        (Cell("after"), _mean(figures.after_mm)),
        (Cell("gain"), _mean(figures.gain_mm)),
    )
    text = Text(
        "The error on each film is that of a network that was fitted to other films. The network"
        " in the checkpoint is fitted to all of them."
    )
    return Section("Error", (text, Table(("", "mean radial error (mm)"), rows)))


def _landmarks(adaptation: Adaptation, figures: Figures, landmarks: LandmarkSet) -> Section:
    before, after = (
        dict(zip(landmarks.names, summarise_landmarks(errors_mm), strict=True))
        for errors_mm in (adaptation.before_mm, adaptation.after_mm)
    )
    rows = tuple(
        (
            Cell(one.name, "marked elsewhere" if one.is_shown else ""),
            Cell(str(one.films)),
            Cell(signed(one.right.value, 2), _interval(one.right)),
            Cell(signed(one.down.value, 2), _interval(one.down)),
            Cell(number(before[one.name].mre_mm, 2)),
            Cell(number(after[one.name].mre_mm, 2)),
        )
        for one in figures.landmarks
    )
    columns = ("landmark", "films", "right (mm)", "down (mm)", "before (mm)", "after (mm)")
    lengths_mm = np.abs(adaptation.offsets_mm)
    largest_mm = float(np.nanmax(lengths_mm)) if np.isfinite(lengths_mm).any() else 0.0
    limit_mm = float(np.clip(np.ceil(largest_mm), _LEAST_AXIS_MM, _MOST_AXIS_MM))
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "offsets.png"
        for one in figures.landmarks:
            draw_offsets(path, adaptation.offsets_mm[:, landmarks.names.index(one.name)], limit_mm)
            pictures.append(Picture(one.name, png_uri(path)))
    return Section(
        "Landmarks",
        (
            Text(
                "Mean distance from the landmark of the network before adaptation to the mark, and"
                " the error before and after. A landmark counts as marked elsewhere if the"
                " distance differs from 0 beyond chance, tested for all landmarks together."
            ),
            Table(columns, rows),
            Text(
                "Marks around the landmark of the network before adaptation, in mm, right and down"
                " as on the film: a dot a film."
            ),
            Gallery(tuple(pictures), "small"),
        ),
    )


def _mean(mean: Mean) -> Cell:
    return Cell(number(mean.value, 2), f"[{mean.low:.2f}, {mean.high:.2f}]")


def _interval(mean: Mean) -> str:
    return f"[{signed(mean.low, 2)}, {signed(mean.high, 2)}]"
