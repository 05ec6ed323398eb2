"""Prediction: films without truth; landmarks as JSON and CSV, and a picture of each.

A film that cannot be read is passed over and named at the end; the others keep their results.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cephray.data.films import Film, read_film
from cephray.errors import InputError
from cephray.inference import Detection, Detector
from cephray.landmarks import LandmarkSet
from cephray.overlay import draw_overlay, save_picture

TABLE = "landmarks.csv"


def predict_films(
    detector: Detector,
    films: Sequence[Path],
    output: Path,
    landmarks: LandmarkSet,
    spacing_mm: float | None = None,
    progress: Callable[[int], None] = lambda films: None,
) -> list[str]:
    """Predict films and write `NAME.json` and `NAME.png` of each, and one table.

    Args:
        detector: the network.
        films: image files.
        output: folder of the results; made once there is one.
        landmarks: names of the landmarks.
        spacing_mm: millimetres per pixel of the films, where it is known.
        progress: called with the number of films done since the last call.

    Returns:
        One line for each film that could not be read.
    """
    unread: list[str] = []

    def readable() -> Iterator[Film]:
        for path in films:
            try:
                image = read_film(path)
            except InputError as error:
                unread.append(str(error))
                progress(1)
                continue
            yield Film(
                film=path.stem,
                image=detector.view.show(image),
                landmarks_norm=np.full((len(landmarks), 2), np.nan, np.float32),
                size_px=(image.shape[1], image.shape[0]),
                frame=detector.view.frame((image.shape[1], image.shape[0])),
                spacing_mm=spacing_mm if spacing_mm is not None else float("nan"),
            )

    by_name = {path.stem: path for path in films}
    results: list[dict[str, Any]] = []
    for detection in detector.detect(readable(), progress):
        output.mkdir(parents=True, exist_ok=True)
        result = _to_json(detection, landmarks)
        name = detection.film.film
        (output / f"{name}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        picture = draw_overlay(
            read_film(by_name[name]), detection.refined_px, landmarks.abbreviations
        )
        save_picture(output / f"{name}.png", picture)
        results.append(result)
    if results:
        _write_table(output / TABLE, results)
    return unread


def _to_json(detection: Detection, landmarks: LandmarkSet) -> dict[str, Any]:
    film = detection.film
    return {
        "film": film.film,
        "size_px": list(film.size_px),
        "spacing_mm": film.spacing_mm if np.isfinite(film.spacing_mm) else None,
        "landmarks": [
            {"name": name, "x_px": round(float(x), 2), "y_px": round(float(y), 2)}
            for name, (x, y) in zip(landmarks.names, detection.refined_px, strict=True)
        ],
    }


def _write_table(path: Path, results: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["film", "landmark", "x_px", "y_px"])
        for result in results:
            for point in result["landmarks"]:
                writer.writerow([result["film"], point["name"], point["x_px"], point["y_px"]])
