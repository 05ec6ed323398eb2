"""The report of an evaluation: one HTML file with figures, pictures, settings and versions.

It chooses what is said; `page.py` lays it out, `drawing/plots.py` draws. A further section is one
more entry of the list in `report_sections`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cephray.checkpoint import Checkpoint, Row
from cephray.config import dump_config
from cephray.data import MEAN, Record
from cephray.drawing import draw_history, draw_success
from cephray.evaluation import Errors, Evaluation
from cephray.metrics import LEVEL_PERCENT, RESAMPLES, SDR_RANGES_MM, Estimate
from cephray.report.cells import WITHIN, in_words, mre_cell, number, rate_cell
from cephray.report.clinical import clinical_sections
from cephray.report.installation import collect, format_info
from cephray.report.landmarks import clear_pictures, landmarks_section, worst_films_section
from cephray.report.limits import limits_sections
from cephray.report.page import (
    Cell,
    Gallery,
    Listing,
    Picture,
    Section,
    Table,
    Text,
    png_uri,
    write_page,
)

PAGE, PICTURES = "report.html", "pictures"


def write_report(
    output: Path,
    evaluation: Evaluation,
    records: Sequence[Record],
    checkpoint: Checkpoint,
    others: Sequence[Checkpoint] = (),
) -> Path:
    """Write `report.html`, and its pictures once more as files in `pictures`.

    Args:
        output: folder.
        evaluation: of the records.
        records: the films, in the evaluation's order.
        checkpoint: that was evaluated; training curves and settings are its own.
        others: of an ensemble, the other checkpoints.

    Returns:
        The page.

    Raises:
        OSError, RunError: a file could not be written.
    """
    folder = output / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    clear_pictures(folder)
    found = evaluation.refined
    company = "".join(f" and {other.folder}, {other.progress}" for other in others)
    lead = [
        f"Mean radial error {in_words(mre_cell(found))} mm;"
        f" {in_words(rate_cell(found, 2.0))} % of the landmarks within 2 mm.",
        f"{found.films} films of {evaluation.split}; truth: {_truth(evaluation)}; checkpoint"
        f" {checkpoint.folder}, {checkpoint.progress}{company}. In brackets: {LEVEL_PERCENT:g} %"
        f" intervals, percentiles of {RESAMPLES:,} bootstrap samples of the films.",
    ]
    page = output / PAGE
    sections = report_sections(evaluation, records, checkpoint, folder)
    write_page(page, f"Evaluation on {evaluation.split}", lead, sections)
    return page


def report_sections(
    evaluation: Evaluation, records: Sequence[Record], checkpoint: Checkpoint, folder: Path
) -> list[Section]:
    """Compose the sections, and draw their pictures into a folder."""
    return [
        _accuracy(evaluation, folder),
        _subsets(evaluation),
        landmarks_section(evaluation, folder),
        *clinical_sections(evaluation),
        *limits_sections(evaluation, records, folder),
        worst_films_section(evaluation, records, folder),
        *_doubtful(evaluation),
        *_righted(evaluation),
        _training(checkpoint.progress.history, folder),
        _setup(checkpoint),
    ]


def _accuracy(evaluation: Evaluation, folder: Path) -> Section:
    columns: list[tuple[str, Estimate, Errors]] = [
        ("refined", evaluation.refined, evaluation.refined_mm),
        ("stage one", evaluation.coarse, evaluation.coarse_mm),
    ]
    for readers, found in evaluation.reader_estimates:
        columns.append((readers.title, found, readers.distances_mm))
    path = folder / "success.png"
    draw_success(path, {label: errors_mm for label, _, errors_mm in columns})
    estimates = [found for _, found, _ in columns]
    rows = [
        (Cell("MRE (mm)"), *(mre_cell(found) for found in estimates)),
        (Cell("SD (mm)"), *(Cell(number(found.summary.sd_mm, 2)) for found in estimates)),
    ]
    for limit in SDR_RANGES_MM:
        rates = (rate_cell(found, limit) for found in estimates)
        rows.append((Cell(f"within {limit:g} mm (%)"), *rates))
    return Section(
        "Accuracy",
        (
            Table(("", *(label for label, _, _ in columns)), tuple(rows)),
            Gallery(
                (
                    Picture(
                        "Success detection curve",
                        png_uri(path),
                        "share of landmarks that lie within each distance of the truth",
                    ),
                )
            ),
        ),
    )


def _subsets(evaluation: Evaluation) -> Section:
    every = len(evaluation.landmarks)
    sets = [("all films and landmarks", every, evaluation.refined, evaluation.coarse)]
    for subset, refined, coarse in evaluation.subsets:
        sets.append((subset.title, int(subset.landmarks.sum()), refined, coarse))
    rows = tuple(
        (
            Cell(title),
            Cell(str(refined.films)),
            Cell(str(landmarks)),
            mre_cell(refined),
            *(rate_cell(refined, limit) for limit in SDR_RANGES_MM),
            mre_cell(coarse),
        )
        for title, landmarks, refined, coarse in sets
    )
    columns = ("", "films", "landmarks", "MRE (mm)", *WITHIN, "stage one (mm)")
    return Section("Subsets", (Table(columns, rows), *_copies(evaluation)))


def _copies(evaluation: Evaluation) -> tuple[Text | Listing, ...]:
    copies = evaluation.copies
    if copies is None:
        return ()
    said = []
    if copies.in_training is not None:
        said.append(f"Films that are in Training as well: {len(copies.in_training)}.")
    said.append(f"Films that repeat another of {evaluation.split}: {len(copies.repeated)}.")
    pairs = [f"{film} is {other} of train" for film, other in (copies.in_training or {}).items()]
    pairs += [f"{film} is {other}" for film, other in copies.repeated.items()]
    listing = (Listing("Films that occur twice", "\n".join(pairs)),) if pairs else ()
    return (Text(" ".join(said)), *listing)


def _doubtful(evaluation: Evaluation) -> list[Section]:
    """List the films whose result is doubtful, if there are any."""
    doubtful = evaluation.doubtful
    if not doubtful:
        return []
    text = Text(
        f"{len(doubtful)} of {len(evaluation.films)} films have a doubtful result. They count in"
        " all figures."
    )
    rows = tuple((Cell(film), Cell("; ".join(reasons))) for film, reasons in doubtful.items())
    return [Section("Doubtful films", (text, Table(("film", "reasons"), rows)))]


def _righted(evaluation: Evaluation) -> list[Section]:
    """List the films that were righted, if there are any."""
    righted = evaluation.righted
    if not righted:
        return []
    text = Text(f"{len(righted)} of {len(evaluation.films)} films were righted for the network.")
    rows = tuple((Cell(film), Cell(orientation)) for film, orientation in righted.items())
    return [Section("Righted films", (text, Table(("film", "lies"), rows)))]


def _training(history: Sequence[Row], folder: Path) -> Section:
    drawn = (
        (
            "training-errors.png",
            "MRE (mm)",
            {
                "train_coarse_mre_mm": "stage one, training",
                "train_refined_mre_mm": "refined, training",
                "coarse_mre_mm": "stage one, validation",
                "refined_mre_mm": "refined, validation",
            },
        ),
        (
            "training-losses.png",
            "loss",
            {"detection_loss": "detection", "refinement_loss": "refinement"},
        ),
    )
    pictures = []
    for name, title, labels in drawn:
        if len([row for row in history if labels.keys() & row.keys()]) < 2:
            continue
        draw_history(folder / name, history, labels, title)
        pictures.append(Picture(f"{title[0].upper()}{title[1:]} by epoch", png_uri(folder / name)))
    if not pictures:
        return Section("Training", (Text("The checkpoint tells of no two epochs."),))
    return Section("Training", (Gallery(tuple(pictures)),))


def _setup(checkpoint: Checkpoint) -> Section:
    return Section(
        "Settings and versions",
        (
            Listing("Configuration", dump_config(checkpoint.config)),
            Listing("Versions and devices", format_info(collect())),
        ),
    )


def _truth(evaluation: Evaluation) -> str:
    name = evaluation.ground_truth
    return "mean of the readers" if name == MEAN else f"{name} reader"
