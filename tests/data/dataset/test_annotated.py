"""Data sets without a known layout: formats are recognised, films found, readers named freely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data.convert import FORMATS, Labels, MarkedFilm, format_named
from cephray.data.dataset import MEAN, Record, list_films, read_dataset
from cephray.errors import InputError
from cephray.landmarks import ISBI2015

K = len(ISBI2015)
LABELS = Labels(ISBI2015)
SIZE_PX = (100, 120)


def marks(seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).uniform(1, 98, (K, 2)).round(2)


def write_film(path: Path, size_px: tuple[int, int] = SIZE_PX) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros(size_px[::-1], np.uint8))


def render(name: str, *films: MarkedFilm) -> str:
    return format_named(name).render(list(films), LABELS)


def film(name: str, seed: int, reader: str = "r", **others: Any) -> MarkedFilm:
    return MarkedFilm(name, {reader: marks(seed)}, f"{name}.png", SIZE_PX, **others)


def read(source: Path, **data: Any) -> list[Record]:
    return read_dataset(source, "all", DataConfig(**{"spacing_mm": 0.1, **data}))


def message(source: Path, split: Any = "all", **data: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_dataset(source, split, DataConfig(**{"spacing_mm": 0.1, **data}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_annotations_beside_films(tmp_path: Path, one: Any) -> None:
    films = [film("a", 1), film("b", 2)]
    for each in films:
        write_film(tmp_path / f"{each.film}.png")
    if one.is_per_film:
        for each in films:
            text = one.render([each], LABELS)
            (tmp_path / f"{each.film}{one.suffix}").write_text(text, encoding="utf-8")
    else:
        (tmp_path / f"all{one.suffix}").write_text(one.render(films, LABELS), encoding="utf-8")
    records = read(tmp_path)
    assert [record.film for record in records] == ["a", "b"]
    for record, seed in zip(records, (1, 2), strict=True):
        np.testing.assert_array_equal(record.landmarks_px, marks(seed))
        assert record.image_path == tmp_path / f"{record.film}.png"
    assert list_films(tmp_path) == {"all": {r.film: r.image_path for r in records}}


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_a_folder_for_each_reader(tmp_path: Path, one: Any) -> None:
    write_film(tmp_path / "images" / "a.png")
    write_film(tmp_path / "images" / "b.png")
    for reader, seed, names in (("Dr. Anna", 1, "ab"), ("Bo", 2, "a")):
        folder = tmp_path / "annotations" / reader
        folder.mkdir(parents=True)
        films = [film(name, seed, reader) for name in names]
        if one.is_per_film:
            for each in films:
                text = one.render([each], LABELS)
                (folder / f"{each.film}{one.suffix}").write_text(text, encoding="utf-8")
        else:
            (folder / f"x{one.suffix}").write_text(one.render(films, LABELS), encoding="utf-8")
    first, second = read(tmp_path)
    assert set(first.readers_px) == {"Dr. Anna", "Bo"}
    np.testing.assert_allclose(first.landmarks_px, (marks(1) + marks(2)) / 2)
    np.testing.assert_array_equal(second.landmarks_px, marks(1))  # one reader is enough
    np.testing.assert_array_equal(read(tmp_path, reader="Dr. Anna")[0].landmarks_px, marks(1))
    assert "film 'b' is not marked by reader 'Bo'" in message(tmp_path, reader="Bo")
    said = message(tmp_path, reader="Eve")
    assert "data.reader=Eve: the readers in" in said
    assert "Dr. Anna" in said


def test_all_readers_are_the_truths_to_draw_from(tmp_path: Path) -> None:
    write_film(tmp_path / "a.png")
    both = MarkedFilm("a", {"x": marks(1), "y": marks(2)}, "a.png", SIZE_PX)
    (tmp_path / "marks.csv").write_text(render("csv", both), encoding="utf-8")
    (record,) = read(tmp_path, reader="all")
    assert record.truths_px is not None
    np.testing.assert_array_equal(record.truths_px, [marks(1), marks(2)])
    np.testing.assert_allclose(record.landmarks_px, (marks(1) + marks(2)) / 2)
    assert read(tmp_path, reader=MEAN)[0].truths_px is None


def test_an_annotation_file_is_a_data_set(tmp_path: Path) -> None:
    write_film(tmp_path / "images" / "train" / "a.png")
    file = tmp_path / "annotations" / "person_keypoints_train.json"
    file.parent.mkdir()
    file.write_text(render("coco", film("a", 1)), encoding="utf-8")
    for source in (file, tmp_path):
        (record,) = read(source)
        assert record.image_path == tmp_path / "images" / "train" / "a.png"
        np.testing.assert_array_equal(record.landmarks_px, marks(1))


def test_the_image_that_an_annotation_names(tmp_path: Path) -> None:
    for folder in ("left", "right"):
        write_film(tmp_path / folder / "a.png")
    (tmp_path / "labels").mkdir()
    tree = json.loads(render("labelme", film("a", 1)))
    file = tmp_path / "annotations" / "me" / "x.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(tree | {"imagePath": "../../right/a.png"}), encoding="utf-8")
    assert read(tmp_path)[0].image_path == tmp_path / "right" / "a.png"
    file.write_text(json.dumps(tree), encoding="utf-8")
    assert "film 'x' may be any of left/a.png, right/a.png" in message(tmp_path)
    file.write_text(json.dumps(tree | {"imagePath": "c.png"}), encoding="utf-8")
    assert "annotations without film" in message(tmp_path)
    assert "x (c.png)" in message(tmp_path)


def test_texts_with_byte_order_marks(tmp_path: Path) -> None:
    write_film(tmp_path / "a.png")
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "a.txt").write_text(render("text", film("a", 1)), encoding=encoding)
        np.testing.assert_array_equal(read(tmp_path)[0].landmarks_px, marks(1))
    (tmp_path / "a.txt").write_bytes(b"\xff1,2")
    assert "cannot be read as text" in message(tmp_path)


def test_results_of_predict_are_read_once(tmp_path: Path) -> None:
    write_film(tmp_path / "films" / "a.png")
    (tmp_path / "a.json").write_text(render("cephray", film("a", 1)), encoding="utf-8")
    (tmp_path / "landmarks.csv").write_text(render("csv", film("a", 2)), encoding="utf-8")
    (tmp_path / "measurements.csv").write_text("film,SNA\na,80\n", encoding="utf-8")
    (tmp_path / "patients.csv").write_text("film,age\na,12\n", encoding="utf-8")
    (record,) = read(tmp_path)
    np.testing.assert_array_equal(record.landmarks_px, marks(1))


def test_several_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(render("labelme", film("a", 1)), encoding="utf-8")
    (tmp_path / "b.json").write_text(render("coco", film("b", 1)), encoding="utf-8")
    said = message(tmp_path)
    assert "several formats: labelme (a.json); coco (b.json)" in said


def test_faults_of_single_films_are_told_and_left_out(tmp_path: Path) -> None:
    for name in "abc":
        write_film(tmp_path / f"{name}.png")
    (tmp_path / "a.json").write_text(render("labelme", film("a", 1)), encoding="utf-8")
    tree = json.loads(render("labelme", film("b", 2)))
    tree["shapes"][0]["label"] = "N"
    (tmp_path / "b.json").write_text(json.dumps(tree), encoding="utf-8")
    (tmp_path / "d.json").write_text(render("labelme", film("d", 2)), encoding="utf-8")
    faults: list[tuple[list[str], str]] = []
    data = DataConfig(spacing_mm=0.1)
    records = read_dataset(
        tmp_path, "all", data, lambda films, fault: faults.append((list(films), str(fault)))
    )
    assert [record.film for record in records] == ["a"]
    assert [films for films, _ in faults] == [["b"], ["d"]]
    assert "'N' is marked twice (first at shapes 1), and S not at all" in faults[0][1]
    assert "annotations without film" in faults[1][1]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(render("labelme", film("a", 1))[:-30], encoding="utf-8")
    assert "a.json, line" in message(tmp_path)


def test_there_are_no_splits(tmp_path: Path) -> None:
    write_film(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(render("labelme", film("a", 1)), encoding="utf-8")
    assert "have no splits; use 'all' (data.training=all)" in message(tmp_path, "train")


def test_a_folder_without_annotations(tmp_path: Path) -> None:
    write_film(tmp_path / "a.png")
    said = message(tmp_path)
    assert "has no known layout and no annotations: found a.png" in said
    assert "labelme JSON" in said
    (tmp_path / "x.yaml").write_text("", encoding="utf-8")
    assert "is no file of annotations" in message(tmp_path / "x.yaml")


class TestSpacing:
    """The spacing is taken from the first place that gives it."""

    def write(self, folder: Path, **others: Any) -> None:
        write_film(folder / "a.png")
        text = render("csv", film("a", 1, **others))
        (folder / "marks.csv").write_text(text, encoding="utf-8")

    def spacing(self, folder: Path, **data: Any) -> float:
        (record,) = read_dataset(folder, "all", DataConfig(**data))
        return record.spacing_mm

    def test_order(self, tmp_path: Path) -> None:
        ruler = {"r": np.array([[10.0, 10.0], [10.0, 60.0]])}
        self.write(tmp_path, rulers_px=ruler)
        assert "are marked" in message(tmp_path, spacing_mm=None)
        assert self.spacing(tmp_path, ruler_mm=10) == 0.2
        self.write(tmp_path, spacing_mm=0.3, rulers_px=ruler)
        assert self.spacing(tmp_path, ruler_mm=10) == 0.3
        (tmp_path / "spacing.csv").write_text("film;spacing_mm\na;0,4\n", encoding="utf-8")
        assert self.spacing(tmp_path) == 0.4
        assert self.spacing(tmp_path, spacing_mm=0.5) == 0.5

    def test_unknown(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        said = message(tmp_path, spacing_mm=None)
        assert "film 'a' has no known spacing; set data.spacing_mm" in said
        assert "mark two points of a ruler as ruler1 and ruler2" in said

    def test_a_ruler_of_no_length(self, tmp_path: Path) -> None:
        self.write(tmp_path, rulers_px={"r": np.full((2, 2), 7.0)})
        assert "at one place" in message(tmp_path, spacing_mm=None, ruler_mm=10)

    def test_dicom(self, tmp_path: Path) -> None:
        from pydicom import Dataset, FileMetaDataset
        from pydicom.uid import UID, ExplicitVRLittleEndian

        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
        meta.MediaStorageSOPInstanceUID = UID("1.2.3")
        dataset = Dataset()
        dataset.file_meta = meta
        for keyword, value in {
            "Rows": 1000,
            "Columns": 800,
            "PixelSpacing": [0.2, 0.2],
            "BitsAllocated": 8,
            "BitsStored": 8,
            "HighBit": 7,
            "PixelRepresentation": 0,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "PixelData": bytes(range(200)) * 4000,
        }.items():
            setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        marked = MarkedFilm("a", {"r": marks(1)}, "a.dcm", (800, 1000))
        (tmp_path / "a.json").write_text(render("labelme", marked), encoding="utf-8")
        assert self.spacing(tmp_path) == 0.2


def test_the_aariz_layout(tmp_path: Path) -> None:
    for folder, name in (("train", "k1"), ("valid", "k2"), ("test", "k3")):
        write_film(tmp_path / folder / "Cephalograms" / f"{name}.png")
        for reader, seed in (("Senior", 1), ("Junior", 2)):
            path = tmp_path / folder / "Annotations/Cephalometric Landmarks"
            path = path / f"{reader} Orthodontists" / f"{name}.json"
            path.parent.mkdir(parents=True)
            path.write_text(render("aariz", film(name, seed)), encoding="utf-8")
    (tmp_path / "cephalogram_machine_mappings.csv").write_text(
        "cephalogram_id,machine,pixel_size\nk1,X,0.1\nk2,Y,0.12\nk3,Y,0.12\n", encoding="utf-8"
    )
    data = DataConfig()
    assert [r.film for r in read_dataset(tmp_path, "train", data)] == ["k1"]
    (record,) = read_dataset(tmp_path, "test2", data)
    assert (record.film, record.spacing_mm) == ("k3", 0.12)
    np.testing.assert_array_equal(record.readers_px["junior"], marks(2))
    assert "the readers of Aariz" in message(tmp_path, reader="bo")
