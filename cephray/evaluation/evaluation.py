"""Evaluation: a checkpoint against a data set's truth, each film once.

It computes errors, summaries of all films and of subsets, and their JSON. Lines for the screen are
laid out in `text.py`, pictures in `drawing/overlay.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.clinical import ClassComparison, compare_classes
from cephray.data import UPRIGHT, Comparison, Record, compare_readers, decode, read_pixels
from cephray.drawing import draw_overlay, save_picture
from cephray.evaluation.subsets import Copies, Subset, choose_subsets
from cephray.landmarks import LandmarkSet
from cephray.metrics import (
    LEVEL_PERCENT,
    RESAMPLES,
    SEED,
    Band,
    Estimate,
    Regions,
    bands,
    estimate,
    measure_regions,
    summarise,
    summarise_landmarks,
)
from cephray.prediction import Detection, Detector

OVERLAY_HEIGHT = 800

Errors = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of both stages on N films, millimetres; NaN where a landmark is missing.

    Args:
        split: name of the films.
        ground_truth: whose marks the truth is.
        landmarks: K landmarks.
        detections: N.
        coarse_offset_mm: of stage one: [N, K, 2], from truth to prediction.
        refined_offset_mm: the same after refinement.
        readers: how far the readers lie from the truth and from each other.
        copies: films that occur twice, or None if they were not looked for.
        classes: how far those of clinical measurements agree.
    """

    split: str
    ground_truth: str
    landmarks: LandmarkSet
    detections: tuple[Detection, ...]
    coarse_offset_mm: Errors
    refined_offset_mm: Errors
    readers: tuple[Comparison, ...]
    copies: Copies | None
    classes: tuple[ClassComparison, ...] = ()

    @property
    def films(self) -> tuple[str, ...]:
        """N names."""
        return tuple(detection.film.film for detection in self.detections)

    @cached_property
    def coarse_mm(self) -> Errors:
        """Radial errors of stage one: [N, K]."""
        errors_mm: Errors = np.linalg.norm(self.coarse_offset_mm, axis=-1)
        return errors_mm

    @cached_property
    def refined_mm(self) -> Errors:
        """Radial errors after refinement: [N, K]."""
        errors_mm: Errors = np.linalg.norm(self.refined_offset_mm, axis=-1)
        return errors_mm

    @cached_property
    def coarse(self) -> Estimate:
        """Summary of the errors of stage one."""
        return estimate(self.coarse_mm)

    @cached_property
    def refined(self) -> Estimate:
        """Summary of the errors after refinement."""
        return estimate(self.refined_mm)

    @cached_property
    def subsets(self) -> tuple[tuple[Subset, Estimate, Estimate], ...]:
        """Subsets, each with the summary after refinement and that of stage one."""
        return tuple(
            (subset, estimate(subset.of(self.refined_mm)), estimate(subset.of(self.coarse_mm)))
            for subset in choose_subsets(self.films, self.copies, self.landmarks)
        )

    @cached_property
    def reader_estimates(self) -> tuple[tuple[Comparison, Estimate], ...]:
        """Summaries of the distances between readers, and from the readers to the truth."""
        return tuple((readers, estimate(readers.distances_mm)) for readers in self.readers)

    @cached_property
    def spread_mm(self) -> Errors | None:
        """Spreads that the network expects: [N, K], or None if it does not estimate them."""
        return _stacked([detection.spread_mm for detection in self.detections])

    @cached_property
    def regions(self) -> Regions | None:
        """How often the 95 % regions hold the truth; None if the network gives no regions."""
        radius_px = _stacked([detection.radius_px for detection in self.detections])
        if radius_px is None:
            return None
        spacing_mm = np.array([[detection.film.spacing_mm] for detection in self.detections])
        return measure_regions(radius_px * spacing_mm, self.refined_mm)

    @property
    def doubtful(self) -> dict[str, tuple[str, ...]]:
        """The films whose result is doubtful, each with the reasons."""
        return {d.film.film: d.doubts for d in self.detections if d.doubts}

    @property
    def righted(self) -> dict[str, str]:
        """The films that were righted, each with how it lies."""
        return {
            d.film.film: str(d.orientation) for d in self.detections if d.orientation != UPRIGHT
        }

    @cached_property
    def confidence(self) -> tuple[Band, ...]:
        """Bands of confidence with their errors; empty if the network gives no confidence."""
        sure = _stacked([detection.confidence for detection in self.detections])
        return bands(sure, self.refined_mm) if sure is not None else ()

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation in plain values; what is missing is null."""
        return {
            "split": self.split,
            "ground_truth": self.ground_truth,
            **self._stage(self.refined, self.refined_mm, self.refined_offset_mm),
            "coarse": self._stage(self.coarse, self.coarse_mm, self.coarse_offset_mm),
            "intervals": {
                "level_percent": LEVEL_PERCENT,
                "method": "percentile bootstrap over films",
                "resamples": RESAMPLES,
                "seed": SEED,
            },
            "subsets": [
                {
                    "name": subset.name,
                    "title": subset.title,
                    "landmarks": int(subset.landmarks.sum()),
                    **refined.to_json(),
                    "coarse": coarse.to_json(),
                }
                for subset, refined, coarse in self.subsets
            ],
            "readers": [
                {
                    "reader": readers.reader,
                    "against": readers.against,
                    **found.to_json(),
                    "landmarks": self._landmarks(readers.distances_mm),
                }
                for readers, found in self.reader_estimates
            ],
            "classes": [comparison.to_json() for comparison in self.classes],
            "confidence": [band.to_json() for band in self.confidence],
            "regions": self.regions and self.regions.to_json(),
            "copies": self.copies.to_json() if self.copies else None,
            "doubtful": {film: list(reasons) for film, reasons in self.doubtful.items()},
            "righted": self.righted,
        }

    def _stage(self, whole: Estimate, errors_mm: Errors, offset_mm: Errors) -> dict[str, Any]:
        return {
            **whole.to_json(),
            "landmarks": self._landmarks(errors_mm, offset_mm),
            "films_detail": [
                {
                    "film": film,
                    "mre_mm": summarise(row).to_json()["mre_mm"],
                    "errors_mm": [None if np.isnan(e) else float(e) for e in row],
                }
                for film, row in zip(self.films, errors_mm, strict=True)
            ],
        }

    def _landmarks(self, errors_mm: Errors, offset_mm: Errors | None = None) -> list[Any]:
        summaries = summarise_landmarks(errors_mm)
        rows = [
            {"name": name, **summary.to_json()}
            for name, summary in zip(self.landmarks.names, summaries, strict=True)
        ]
        if offset_mm is not None:
            for row, mean_mm in zip(rows, mean_offsets_mm(offset_mm), strict=True):
                row["mean_offset_mm"] = None if np.isnan(mean_mm).any() else mean_mm.tolist()
        return rows


def mean_offsets_mm(offset_mm: Errors) -> Errors:
    """Average the ways from truth to prediction over films: [N, K, 2] gives [K, 2]."""
    there = ~np.isnan(offset_mm)
    count = there.sum(axis=0)
    total = np.where(there, offset_mm, 0).sum(axis=0)
    mean_mm: Errors = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean_mm


def evaluate_detector(
    detector: Detector,
    records: list[Record],
    split: str,
    ground_truth: str,
    landmarks: LandmarkSet,
    progress: Callable[[int], None] = lambda films: None,
    copies: Copies | None = None,
) -> Evaluation:
    """Measure the errors of both stages.

    Args:
        detector: the network.
        records: films with their truth.
        split: name of the films, for the record.
        ground_truth: whose marks the truth is, for the record.
        landmarks: names of the landmarks.
        progress: called with the number of films done since the last call.
        copies: among the films, and with those trained on.

    Raises:
        InputError: a film cannot be decoded, or a landmark lies outside its film.
    """
    detections = tuple(detector.detect(decode(records, detector.view), progress))
    coarse_mm, refined_mm = stage_offsets_mm(detections)
    return Evaluation(
        split=split,
        ground_truth=ground_truth,
        landmarks=landmarks,
        detections=detections,
        coarse_offset_mm=coarse_mm,
        refined_offset_mm=refined_mm,
        readers=compare_readers(records, ground_truth),
        copies=copies,
        classes=compare_classes(records, np.stack([d.refined_px for d in detections]), landmarks),
    )


def stage_offsets_mm(detections: Sequence[Detection]) -> tuple[Errors, Errors]:
    """Return the offsets from truth to prediction on N films, of stage one and after refinement.

    Returns:
        Twice [N, K, 2], millimetres; NaN where a landmark is missing.
    """
    truth = np.stack([detection.film.landmarks_norm for detection in detections])
    extent_mm = np.array([detection.film.extent_mm for detection in detections])
    coarse, refined = (
        geometry.offsets_mm(np.stack(points), truth, extent_mm)
        for points in (
            [detection.coarse_norm for detection in detections],
            [detection.refined_norm for detection in detections],
        )
    )
    return coarse, refined


def _stacked(parts: Sequence[Errors | None]) -> Errors | None:
    there = [part for part in parts if part is not None]
    return np.stack(there) if len(there) == len(parts) and there else None


def draw_overlays(evaluation: Evaluation, records: list[Record], folder: Path) -> None:
    """Draw every film with truth, prediction and error lines to `NAME.png` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for record, detection in zip(records, evaluation.detections, strict=True):
        picture = draw_overlay(
            read_pixels(record.image_path),
            detection.refined_px,
            evaluation.landmarks.abbreviations,
            truth_px=record.landmarks_px,
            height=OVERLAY_HEIGHT,
            doubts=detection.doubts,
        )
        save_picture(folder / f"{record.film}.png", picture)
