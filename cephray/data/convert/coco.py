"""COCO files of keypoints: one file for all films, as CVAT writes and reads it.

A category names the keypoints, and an annotation has x, y and visibility of each. A visibility of
0 means that the landmark is missing; 1 (not visible) and 2 (visible) both mean that it is marked,
and 2 is written. The attribute `reader` of an annotation is the reader. `spacing_mm` of an image
is an entry of our own. Source: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from cephray.data.convert.labels import RULER, Labels
from cephray.data.convert.marked import MarkedFilm, Points, merge_by_image
from cephray.data.convert.values import (
    Where,
    class_labels_of,
    entries,
    is_marked,
    number_of,
    parse_object,
    plain,
    size_of,
    spacing_of,
)
from cephray.errors import InputError

_CATEGORY = "cephalogram"


def parse(text: str, file: str, film: str, reader: str, labels: Labels) -> list[MarkedFilm]:
    """Parse a file of films; see `Format.parse`. `film` is not used."""
    tree = parse_object(text, file)
    images = {}
    for where, image in entries(tree, "images", file):
        if not isinstance(image.get("file_name"), str):
            raise InputError(f"{where}: file_name must be the name of the film's file")
        images[_id(where, image, "id")] = (where, image)
    keypoints = {
        _id(where, category, "id"): category["keypoints"]
        for where, category in entries(tree, "categories", file)
        if category.get("keypoints")
    }
    parts = []
    for where, annotation in entries(tree, "annotations", file):
        names = keypoints.get(_id(where, annotation, "category_id"))
        if names is None:
            continue  # a box or an outline
        image_id = _id(where, annotation, "image_id")
        if image_id not in images:
            raise InputError(f"{where}: there is no image with the id {image_id!r}")
        points = _points(where, annotation, names)
        marks, ruler = labels.arrange(points)
        attributes = annotation.get("attributes")
        named = attributes.get("reader") if isinstance(attributes, dict) else None
        parts.append(_film(*images[image_id], str(named or reader), marks, ruler))
    return merge_by_image(parts)


def render(films: list[MarkedFilm], labels: Labels) -> str:
    """Return a file of films; see `Format.render`.

    Raises:
        InputError: If the size of a film is not known.
    """
    names = [*labels.landmarks.abbreviations]
    with_ruler = any(film.rulers_px for film in films)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, film in enumerate(films, 1):
        if film.size_px is None:
            raise InputError(
                f"film {film.film!r}: its size is needed for COCO; put its image beside the marks"
            )
        image: dict[str, Any] = {
            "id": number,
            "file_name": film.image or f"{film.film}.png",
            "width": film.size_px[0],
            "height": film.size_px[1],
        }
        if film.spacing_mm is not None:
            image["spacing_mm"] = film.spacing_mm
        if film.class_labels:
            image["class_labels"] = film.class_labels
        images.append(image)
        for reader, marks in film.readers_px.items():
            points = marks
            if with_ruler:
                ruler = film.rulers_px.get(reader, np.full((len(RULER), 2), np.nan))
                points = np.concatenate([marks, ruler])
            annotations.append(_annotation(len(annotations) + 1, number, reader, points))
    if with_ruler:
        names += RULER
    abbreviations = labels.landmarks.abbreviations
    category = {
        "id": 1,
        "name": _CATEGORY,
        "supercategory": "",
        "keypoints": names,
        "skeleton": [
            [abbreviations.index(line.start) + 1, abbreviations.index(line.end) + 1]
            for line in labels.landmarks.lines
        ],
    }
    tree = {
        "info": {"description": f"landmark set {labels.landmarks.name}"},
        "licenses": [],
        "categories": [category],
        "images": images,
        "annotations": annotations,
    }
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def _id(where: Where, entry: dict[str, Any], key: str) -> int | str:
    found = entry.get(key)
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise InputError(f"{where}: {key} must be a number; got {found!r:.60}")
    return found


def _points(
    where: Where, annotation: dict[str, Any], names: Any
) -> list[tuple[Where, Any, Any, Any]]:
    """Return the points of an annotation, with NaN where the visibility is 0."""
    values = annotation.get("keypoints")
    if not isinstance(names, list) or not isinstance(values, list):
        raise InputError(f"{where}: keypoints must be a list")
    if len(values) != 3 * len(names):
        raise InputError(
            f"{where}: has {len(values)} values for {len(names)} keypoints; x, y and visibility"
            " of each are needed"
        )
    points = []
    for name, x, y, visibility in zip(names, values[::3], values[1::3], values[2::3], strict=True):
        if visibility not in (0, 1, 2):
            raise InputError(
                f"{where}: the visibility of {name!r} must be 0, 1 or 2; got {visibility!r:.60}"
            )
        if visibility and (number_of(x) is None or np.isnan(number_of(x) or 0.0)):
            raise InputError(f"{where}: {name!r} is visible, but has no position; got {x!r:.60}")
        points.append((where, name, x, y) if visibility else (where, name, None, None))
    return points


def _film(
    where: Where,
    image: dict[str, Any],
    reader: str,
    marks: Points,
    ruler: Points | None,
) -> MarkedFilm:
    file = f"{where.file}, {where.place}"
    name = image["file_name"].replace("\\", "/")
    return MarkedFilm(
        PurePosixPath(name).stem,
        {reader: marks},
        name,
        size_of(image.get("width"), image.get("height"), file),
        spacing_of(image.get("spacing_mm"), file),
        {} if ruler is None else {reader: ruler},
        class_labels_of(image.get("class_labels"), file),
    )


def _annotation(number: int, image_id: int, reader: str, points: Points) -> dict[str, Any]:
    marked = is_marked(points)
    keypoints: list[Any] = []
    for (x, y), is_there in zip(points, marked, strict=True):
        keypoints += [plain(x), plain(y), 2] if is_there else [0, 0, 0]
    shown = points[marked]
    left, top = shown.min(axis=0) if len(shown) else (0.0, 0.0)
    right, bottom = shown.max(axis=0) if len(shown) else (0.0, 0.0)
    width, height = right - left, bottom - top
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": sum(marked),
        "bbox": [plain(value) for value in (left, top, width, height)],
        "area": plain(width * height),
        "segmentation": [],
        "iscrowd": 0,
        "attributes": {"reader": reader},
    }
