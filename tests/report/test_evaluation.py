"""The report of an evaluation: all in one file, nothing loaded, the worst films first."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cephray.checkpoint import Checkpoint, Progress
from cephray.clinical import compare_classes
from cephray.config import Config, DataConfig, load_config
from cephray.data import Record, View, compare_readers, read_dataset, write_dataset
from cephray.data.films import load_film
from cephray.evaluation import Evaluation
from cephray.evaluation.subsets import Copies
from cephray.landmarks import ISBI2015, LandmarkSet
from cephray.prediction import Detection
from cephray.report.clinical import clinical_sections
from cephray.report.evaluation import PAGE, PICTURES, report_sections, write_report
from cephray.report.landmarks import WORST_FILMS
from cephray.report.limits import limits_sections
from cephray.report.page import Gallery, Table

HISTORY = [
    {"epoch": epoch, "detection_loss": 1 / epoch, "refinement_loss": 2 / epoch, "score": 1.0,
     "train_coarse_mre_mm": 9 / epoch, "train_refined_mre_mm": 5 / epoch}
    for epoch in (1, 2, 3)
]  # fmt: skip


class Reader(HTMLParser):
    """Collects what a page shows and refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.headings: list[str] = []
        self._in_heading = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        self._in_heading = tag == "h2"

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings.append(data.strip())
            self._in_heading = False


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 16, size_px=(192, 240))
    return read_dataset(folder, "test1", DataConfig())


def evaluation_of(records: list[Record], shift_px: Any = 1.0) -> Evaluation:
    """Evaluate predictions that lie so far to the right of the truth, film by film."""
    films = [load_film(record, View(96, 64)) for record in records]
    truth = np.stack([film.landmarks_norm for film in films])
    shift = np.zeros_like(truth)
    shift[..., 0] = np.broadcast_to(shift_px, len(films))[:, None] / films[0].size_px[0]
    extent_mm = np.array(films[0].extent_mm)
    detections = (
        Detection(film, (t + 2 * s).astype(np.float32), (t + s).astype(np.float32))
        for film, t, s in zip(films, truth, shift, strict=True)
    )
    return Evaluation(
        split="test1",
        ground_truth="mean",
        landmarks=ISBI2015,
        detections=tuple(detections),
        coarse_offset_mm=2 * shift * extent_mm,
        refined_offset_mm=shift * extent_mm,
        readers=compare_readers(records, "mean"),
        copies=Copies({records[0].film: "<001>"}, {}),
    )


def checkpoint(history: list[dict[str, float]], config: Config | None = None) -> Checkpoint:
    progress = Progress(epoch=len(history), history=history)
    return Checkpoint(Path("/runs/<1>"), config or load_config(), progress)


def test_the_page_holds_everything_and_loads_nothing(
    records: list[Record], tmp_path: Path
) -> None:
    shift_px = np.arange(1.0, len(records) + 1)
    evaluation = evaluation_of(records, shift_px)
    page = write_report(tmp_path, evaluation, records, checkpoint(HISTORY))
    assert page == tmp_path / PAGE
    text = page.read_text(encoding="utf-8")
    reader = Reader(text)
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert not re.search(r"url\(|@import|https?:", text)
    assert reader.headings == [
        "Accuracy", "Subsets", "Landmarks", "Limits of agreement", "Worst films", "Training",
        "Settings and versions",
    ]  # fmt: skip
    kinds = [source.split(";")[0] for source in reader.sources]
    assert kinds == ["data:image/png"] * 28 + ["data:image/jpeg"] * 6 + ["data:image/png"] * 2
    assert "/runs/&lt;1&gt;" in text
    assert "is &lt;001&gt; of train" in text
    assert "image_height: 800" in text
    assert "package tensorflow" in " ".join(text.split()).replace("packages", "package")
    assert f"{evaluation.refined.summary.mre_mm:.2f} [" in text

    worst = re.findall(r"Film (\d+): ([\d.]+) mm</?", text)
    assert len(worst) == WORST_FILMS
    assert [film for film, _ in worst] == [r.film for r in records[:-7:-1]]
    errors_mm = evaluation.refined_mm.mean(axis=1)
    assert [float(mm) for _, mm in worst] == pytest.approx(errors_mm[:-7:-1], abs=0.006)

    pictures = sorted((tmp_path / PICTURES).glob("*.png"))
    assert len(pictures) == 1 + 19 + 8 + 6 + 2
    for path in pictures:
        assert np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)).std() > 5, path


def test_pictures_of_an_earlier_report_are_gone(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / PICTURES).mkdir()
    for name in ("film-999.png", "landmark-20.png", "mine.png"):
        (tmp_path / PICTURES / name).touch()
    write_report(tmp_path, evaluation_of(records), records, checkpoint(HISTORY))
    left = {path.name for path in (tmp_path / PICTURES).iterdir()}
    assert "mine.png" in left
    assert not {"film-999.png", "landmark-20.png"} & left


def test_a_report_of_little(records: list[Record], tmp_path: Path) -> None:
    """One film without marks, one with; no readers, no copies, no history."""
    few = evaluation_of(records[:2])
    few.refined_offset_mm[0] = few.coarse_offset_mm[0] = np.nan
    little = Evaluation(
        split="all",
        ground_truth="senior",
        landmarks=few.landmarks,
        detections=few.detections,
        coarse_offset_mm=few.coarse_offset_mm,
        refined_offset_mm=few.refined_offset_mm,
        readers=(),
        copies=None,
    )
    page = write_report(tmp_path, little, records[:2], checkpoint([{"epoch": 1, "score": 1.0}]))
    text = page.read_text(encoding="utf-8")
    assert "tells of no two epochs" in text
    assert "truth: senior reader" in text
    assert text.count("data:image/jpeg") == 1
    assert "nan" not in re.sub(r"data:[^\"]*", "", text)


def test_clinical_sections_are_there_where_something_is_known(
    records: list[Record], tmp_path: Path
) -> None:
    plain = evaluation_of(records)
    assert clinical_sections(plain) == []
    sure = np.full(len(ISBI2015), 0.92, np.float32)
    predicted_px = np.stack([detection.refined_px for detection in plain.detections])
    evaluation = replace(
        plain,
        detections=tuple(replace(d, spread_px=sure, confidence=sure) for d in plain.detections),
        classes=compare_classes(records, predicted_px, ISBI2015),
    )
    classes, trust = clinical_sections(evaluation)
    assert (classes.title, trust.title) == ("Clinical measurements", "Confidence")
    agreement, text, recalls = classes.blocks
    assert isinstance(agreement, Table)
    assert isinstance(recalls, Table)
    assert [row[0].text for row in agreement.rows][:2] == ["ANB", "SNB"]
    assert agreement.rows[-1][0].text == "All"
    found = evaluation.classes[0].agreement.agreement_percent
    assert found is not None
    assert float(agreement.rows[-1][1].text) == pytest.approx(found, abs=0.06)
    assert "prediction against the truth" in str(text)
    assert sum(int(row[1].text) for row in recalls.rows) == 8 * len(records)
    table = trust.blocks[1]
    assert isinstance(table, Table)
    assert [row[1].text for row in table.rows] == ["0", "0", "0", str(19 * len(records)), "0"]
    assert table.rows[0][3].text == "–"
    page = write_report(tmp_path, evaluation, records, checkpoint(HISTORY)).read_text()
    assert Reader(page).headings[3:5] == ["Clinical measurements", "Confidence"]


def test_doubtful_films_are_listed(records: list[Record], tmp_path: Path) -> None:
    evaluation = evaluation_of(records[:3])
    first, *others = evaluation.detections
    doubted = replace(first, doubts=("it has no contrast", "a <reason>"))
    evaluation = replace(evaluation, detections=(doubted, *others))
    page = write_report(tmp_path, evaluation, records[:3], checkpoint(HISTORY))
    text = page.read_text(encoding="utf-8")
    assert "Doubtful films" in Reader(text).headings
    assert "1 of 3 films have a doubtful result" in text
    assert "it has no contrast; a &lt;reason&gt;" in text


def test_sections_can_be_added_to(records: list[Record], tmp_path: Path) -> None:
    sections = report_sections(evaluation_of(records[:3]), records[:3], checkpoint([]), tmp_path)
    assert [section.title for section in sections][:2] == ["Accuracy", "Subsets"]
    table = sections[2].blocks[0]
    assert isinstance(table, Table)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert table.rows[-1][0].text == "Average"
    assert table.rows[-1][7].text.startswith("+")  # predictions lie to the right


def test_limits_of_agreement_are_those_of_the_marks(records: list[Record], tmp_path: Path) -> None:
    evaluation = evaluation_of(records, 0.0)
    [section] = limits_sections(evaluation, records, tmp_path)
    _, table, _, gallery = section.blocks
    assert isinstance(table, Table)
    assert isinstance(gallery, Gallery)
    assert len(table.rows) == len(gallery.pictures) == 8
    assert table.rows[0][0].text == "ANB (degree)"
    assert table.rows[0][1].text.startswith(("+0.0 (", "-0.0 (", "\N{MINUS SIGN}0.0 (", "0.0 ("))
    assert table.rows[0][2].text != table.rows[0][1].text  # the readers differ
    few = replace(evaluation, landmarks=LandmarkSet("few", ISBI2015.landmarks[:3]))
    assert limits_sections(few, records, tmp_path) == []
