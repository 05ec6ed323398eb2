"""Evaluation: a checkpoint against a data set's truth, each film once.

It gives errors and the JSON of them; tables are laid out in `metrics.py`, pictures in
`overlay.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.data.films import read_film
from cephray.data.formats import Record
from cephray.data.table import decode
from cephray.inference import Detection, Detector
from cephray.landmarks import LandmarkSet
from cephray.metrics import summarise, summarise_landmarks
from cephray.overlay import draw_overlay, save_picture

OVERLAY_HEIGHT = 800


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Radial errors of both stages on N films: [N, K] each, millimetres; NaN where missing."""

    split: str
    ground_truth: str
    landmarks: LandmarkSet
    detections: tuple[Detection, ...]
    coarse_mm: NDArray[np.floating[Any]]
    refined_mm: NDArray[np.floating[Any]]

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation in plain values; what is missing is null."""
        return {
            "split": self.split,
            "ground_truth": self.ground_truth,
            **self._stage(self.refined_mm),
            "coarse": self._stage(self.coarse_mm),
        }

    def _stage(self, errors_mm: NDArray[np.floating[Any]]) -> dict[str, Any]:
        return {
            "films": len(errors_mm),
            **summarise(errors_mm).to_json(),
            "landmarks": [
                {"name": name, **summary.to_json()}
                for name, summary in zip(
                    self.landmarks.names, summarise_landmarks(errors_mm), strict=True
                )
            ],
            "films_detail": [
                {
                    "film": detection.film.film,
                    "mre_mm": summarise(row).to_json()["mre_mm"],
                    "errors_mm": [None if np.isnan(e) else float(e) for e in row],
                }
                for detection, row in zip(self.detections, errors_mm, strict=True)
            ],
        }


def evaluate(
    detector: Detector,
    records: list[Record],
    split: str,
    ground_truth: str,
    landmarks: LandmarkSet,
    progress: Callable[[int], None] = lambda films: None,
) -> Evaluation:
    """Measure the radial errors of both stages.

    Args:
        detector: the network.
        records: films with their truth.
        split: name of the films, for the record.
        ground_truth: whose marks the truth is, for the record.
        landmarks: names of the landmarks.
        progress: called with the number of films done since the last call.

    Raises:
        InputError: a film cannot be decoded, or a landmark lies outside its film.
    """
    detections = tuple(detector.detect(decode(records, detector.size), progress))
    truth = np.stack([d.film.landmarks_norm for d in detections])
    extent_mm = np.array([d.film.extent_mm for d in detections])
    coarse_mm, refined_mm = (
        geometry.radial_errors_mm(np.stack(points), truth, extent_mm)
        for points in (
            [d.coarse_norm for d in detections],
            [d.refined_norm for d in detections],
        )
    )
    return Evaluation(split, ground_truth, landmarks, detections, coarse_mm, refined_mm)


def draw_overlays(evaluation: Evaluation, records: list[Record], folder: Path) -> None:
    """Draw every film with truth, prediction and error lines to `NAME.png` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for record, detection in zip(records, evaluation.detections, strict=True):
        picture = draw_overlay(
            read_film(record.image_path),
            detection.refined_px,
            evaluation.landmarks.abbreviations,
            truth_px=record.landmarks_px,
            height=OVERLAY_HEIGHT,
        )
        save_picture(folder / f"{record.film}.png", picture)
