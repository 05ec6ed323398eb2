"""Cases as files to take away: tables, annotations of other programs, pictures.

It knows cases and formats, and no HTTP.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cephray.clinical import (
    CHALLENGE,
    Analysis,
    analysis_names,
    choose_analyses,
    error_of_radius,
)
from cephray.data import format_named, read_pixels
from cephray.data.convert import Labels, MarkedFilm
from cephray.drawing import draw_overlay, encode_png
from cephray.errors import InputError
from cephray.serving.case import points_of, radii_of
from cephray.serving.cases import CaseFolder

ANNOTATIONS = ("csv", "cephray", "labelme", "coco")
MEASURES, PICTURE = "measures", "png"
FORMATS = (*ANNOTATIONS, MEASURES, PICTURE)

_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".zip": "application/zip",
}


class Exported(NamedTuple):
    """A file to take away.

    Args:
        name: of the file.
        media_type: of its content.
        content: of the file.
    """

    name: str
    media_type: str
    content: bytes


def export(
    folder: CaseFolder,
    names: Sequence[str],
    to: str,
    analyses: Sequence[str] = (),
    own: Sequence[Analysis] = (),
) -> Exported:
    """Export cases.

    Args:
        folder: of the cases.
        names: of the cases.
        to: one of `FORMATS`. `csv` is a table of landmarks, `measures` a table of measures,
            `cephray` the JSON of `cephray predict`.
        analyses: names of the analyses in the table of measures. If empty, all that the landmark
            set allows.
        own: analyses of the user, beside those of cephray.

    Returns:
        A file. It is a zip archive if the format has a file for each film, and there are several.

    Raises:
        NoCaseError: there is no such case.
        InputError: the format or an analysis is unknown, or there are no cases.
    """
    if to not in FORMATS:
        raise InputError(f"unknown format {to[:40]!r}; formats: {', '.join(FORMATS)}")
    cases = [folder.read(name) for name in names]
    if not cases:
        raise InputError("there are no cases to export; open a film first")
    if to == PICTURE:
        return _files([(f"{one['film']}.png", _picture(folder, one)) for one in cases])
    if to == MEASURES:
        return _file("measures.csv", _measures(folder, cases, analyses, own))
    form, labels = format_named(to), Labels(folder.landmarks)
    films = [_marked(case) for case in cases]
    if form.is_per_film:
        return _files(
            [(f"{one.film}{form.suffix}", form.render([one], labels).encode()) for one in films]
        )
    return _file(f"landmarks{form.suffix}", form.render(films, labels).encode())


def _marked(case: dict[str, Any]) -> MarkedFilm:
    reader, radii = case["reader"], radii_of(case)
    ruler = case["ruler"]
    return MarkedFilm(
        film=case["film"],
        readers_px={reader: points_of(case)},
        image=f"{case['film']}.png",
        size_px=(case["size_px"][0], case["size_px"][1]),
        spacing_mm=case["spacing_mm"],
        rulers_px={} if ruler is None else {reader: np.array(ruler["points_px"], np.float64)},
        radii_95_px={} if np.isnan(radii).all() else {reader: radii},
        doubtful={reader: tuple(case["doubtful"])} if case["doubtful"] else {},
    )


def _measures(
    folder: CaseFolder,
    cases: Sequence[dict[str, Any]],
    analyses: Sequence[str],
    own: Sequence[Analysis],
) -> bytes:
    known = (CHALLENGE, *analysis_names(), *(one.name for one in own))
    for name in analyses:  # no paths: this comes from the network
        if name not in known:
            raise InputError(f"unknown analysis {name[:40]!r}; give {', '.join(known)}")
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(
        ["film", "analysis", "measure", "value", "sd", "unit", "norm", "norm_sd", "norm_for",
         "deviation_sd", "class", "doubtful"]
    )  # fmt: skip
    for chosen in choose_analyses(analyses, folder.landmarks, own):
        for case in cases:
            measures = chosen.read(
                points_of(case),
                case["spacing_mm"],
                error_of_radius(radii_of(case)),
                not case["doubtful"],
            )
            for one in measures:
                norm = _norm(one.get("norms", ()), case)
                table.writerow(
                    [case["film"], chosen.name, one["name"], one["value"], one["sd"], one["unit"],
                     norm.get("mean"), norm.get("sd"), norm.get("for"), norm.get("difference_sd"),
                     one.get("meaning"), "; ".join(case["doubtful"])]
                )  # fmt: skip
    return stream.getvalue().encode()


def _norm(norms: Sequence[dict[str, Any]], case: dict[str, Any]) -> dict[str, Any]:
    """Return the norm for the patient's group, or the only one; otherwise an empty one."""
    of_group = [norm for norm in norms if norm["for"] == case.get("norms_for")]
    if of_group:
        return of_group[0]
    return norms[0] if len(norms) == 1 else {}


def _picture(folder: CaseFolder, case: dict[str, Any]) -> bytes:
    return encode_png(
        draw_overlay(
            read_pixels(folder.film(case["film"])),
            points_of(case),
            folder.landmarks.abbreviations,
            lines=folder.landmarks.lines,
            doubts=case["doubtful"],
        )
    )


def _file(name: str, content: bytes) -> Exported:
    return Exported(name, _TYPES[f".{name.rsplit('.', 1)[1]}"], content)


def _files(files: Sequence[tuple[str, bytes]]) -> Exported:
    if len(files) == 1:
        return _file(*files[0])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writing:
        for name, content in files:
            writing.writestr(name, content)
    return _file("cases.zip", archive.getvalue())
