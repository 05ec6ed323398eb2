"""Sections of the report on single landmarks and on the worst films.

It makes two sections of an evaluation, and draws their pictures into a folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cephray.data import Record, read_pixels
from cephray.drawing import crop_around, draw_offsets, draw_overlay, encode_jpeg, save_picture
from cephray.evaluation import Errors, Evaluation, mean_offsets_mm
from cephray.metrics import SDR_RANGES_MM, Summary, summarise, summarise_landmarks
from cephray.report.cells import WITHIN, number, signed
from cephray.report.page import Cell, Gallery, Picture, Section, Table, Text, data_uri, png_uri

WORST_FILMS = 6
_FILM_HEIGHT_PX = 1040
_LEAST_AXIS_MM, _MOST_AXIS_MM = 3.0, 15.0


def clear_pictures(folder: Path) -> None:
    """Remove the pictures of an earlier report, whose films may be others."""
    for name in ("film", "landmark", "agreement"):
        for old in folder.glob(f"{name}-*.png"):
            old.unlink()


def landmarks_section(evaluation: Evaluation, folder: Path) -> Section:
    """Make the section on single landmarks: a table, and each one's errors with directions."""
    return Section(
        "Landmarks",
        (
            _table(evaluation),
            Text(
                "Where each landmark was put around its true place, in mm, right and down as on"
                " the film: a dot a film, and an ellipse around 95\N{NO-BREAK SPACE}% of them with"
                " its centre; dotted, 2\N{NO-BREAK SPACE}mm from the truth; crosses lie beyond the"
                " border."
            ),
            _offsets(evaluation, folder),
        ),
    )


def _table(evaluation: Evaluation) -> Table:
    offset_mm = evaluation.refined_offset_mm
    names = evaluation.landmarks.names
    summaries = summarise_landmarks(evaluation.refined_mm)
    coarse = summarise_landmarks(evaluation.coarse_mm)
    bias_mm = mean_offsets_mm(offset_mm)  # [K, 2]
    apart = evaluation.readers[-1] if evaluation.readers else None  # with each other
    apart_mm = summarise_landmarks(apart.distances_mm) if apart else None

    def row(name: str, refined: Summary, first: Summary, mean_mm: Errors) -> list[Cell]:
        return [
            Cell(name),
            Cell(f"{number(refined.mre_mm, 2)} ± {number(refined.sd_mm, 2)}"),
            *(Cell(number(refined.sdr_percent[limit], 1)) for limit in SDR_RANGES_MM),
            Cell(number(first.mre_mm, 2)),
            *(Cell(signed(mean, 2)) for mean in mean_mm),
        ]

    rows = [row(name, summaries[k], coarse[k], bias_mm[k]) for k, name in enumerate(names)]
    whole = mean_offsets_mm(offset_mm.reshape(-1, 1, 2))[0]
    rows.append(row("Average", evaluation.refined.summary, evaluation.coarse.summary, whole))
    columns = ["", "MRE ± SD (mm)", *WITHIN, "stage one (mm)", "mean dx (mm)", "mean dy (mm)"]
    if apart is not None and apart_mm is not None:
        columns.append("readers apart (mm)")
        for cells, summary in zip(rows, [*apart_mm, summarise(apart.distances_mm)], strict=True):
            cells.append(Cell(number(summary.mre_mm, 2)))
    return Table(tuple(columns), tuple(map(tuple, rows)), total=True)


def _offsets(evaluation: Evaluation, folder: Path) -> Gallery:
    offset_mm = evaluation.refined_offset_mm
    limit_mm = _axis_mm(offset_mm)
    pictures = []
    for k, name in enumerate(evaluation.landmarks.names):
        path = folder / f"landmark-{k + 1:02d}.png"
        draw_offsets(path, offset_mm[:, k], limit_mm)
        mre_mm = summarise(evaluation.refined_mm[:, k]).mre_mm
        pictures.append(Picture(name, png_uri(path), f"MRE {number(mre_mm, 2)} mm"))
    return Gallery(tuple(pictures), "small")


def worst_films_section(
    evaluation: Evaluation, records: Sequence[Record], folder: Path
) -> Section:
    """Make the section on the films of the greatest mean error: each with truth and prediction."""
    errors_mm = evaluation.refined_mm
    mre_mm = [summarise(row).mre_mm for row in errors_mm]
    known = [n for n in range(len(mre_mm)) if math.isfinite(mre_mm[n])]
    pictures = []
    for n in sorted(known, key=lambda n: -mre_mm[n])[:WORST_FILMS]:
        record, detection = records[n], evaluation.detections[n]
        predicted_px = detection.refined_px
        image, origin = crop_around(
            read_pixels(record.image_path), np.concatenate([predicted_px, record.landmarks_px])
        )
        picture = draw_overlay(
            image,
            predicted_px - origin,
            evaluation.landmarks.abbreviations,
            truth_px=record.landmarks_px - origin,
            height=_FILM_HEIGHT_PX,
        )
        save_picture(folder / f"film-{record.film}.png", picture)
        worst = int(np.nanargmax(errors_mm[n]))
        pictures.append(
            Picture(
                f"Film {record.film}: {mre_mm[n]:.2f} mm",
                data_uri(encode_jpeg(picture), "image/jpeg"),
                f"worst: {evaluation.landmarks.names[worst]}, {errors_mm[n, worst]:.1f} mm",
            )
        )
    return Section(
        "Worst films",
        (
            Text(
                "Those of the greatest mean error. Yellow dots are predicted, green crosses the"
                " truth, red lines the errors."
            ),
            Gallery(tuple(pictures), "large"),
        ),
    )


def _axis_mm(offset_mm: Errors) -> float:
    """Return a limit of the axes that all but a few offsets keep to."""
    present = np.abs(offset_mm[~np.isnan(offset_mm)])
    wide = float(np.percentile(present, 99)) if present.size else 0.0
    return float(np.clip(math.ceil(wide), _LEAST_AXIS_MM, _MOST_AXIS_MM))
