"""Synthetic cephalograms with exactly known landmarks, for demonstrations and tests.

A head is the template of `anatomy.py` under a random mapping, which is applied to contours and
landmarks alike. The films resemble lateral radiographs, but are not anatomically accurate.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cephray.data.dataset import LAYOUTS, SPACING_FILE
from cephray.data.opencv import cv2
from cephray.data.synthetic import anatomy, radiograph
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, LandmarkSet
from cephray.storage import is_free

Points = NDArray[np.float64]  # [n, 2], millimetres
# Maps template points, and the fraction [n] of the jaw's motion that each takes part in, to points
# of a head.
Head = Callable[[Points, NDArray[np.float64]], Points]
Place = Callable[[Points], Points]

DEFAULT_SIZE_PX = (1935, 2400)  # (width, height), as ISBI 2015
_DRAWN_HEIGHT_PX = 1200  # larger films are drawn at this height and enlarged
_READER_SD_MM = 0.7  # standard deviation of a reader's marks from the truth along each axis
_MARGIN_MM = 8.0  # minimum distance of landmarks to the film's edge


def spacing_mm(size_px: tuple[int, int]) -> float:
    """Return the spacing at which a head of natural size fills a film, millimetres per pixel.

    The film is 240 mm high, or higher so that it is at least 180 mm wide.

    Args:
        size_px: (width, height) of the film, pixels.
    """
    width, height = size_px
    return max(anatomy.FILM_HEIGHT_MM / height, 180.0 / width)


def draw_film(
    rng: np.random.Generator,
    size_px: tuple[int, int] = DEFAULT_SIZE_PX,
    landmarks: LandmarkSet = ISBI2015,
) -> tuple[NDArray[np.uint8], Points]:
    """Draw a film of a random head that looks to the right.

    Args:
        rng: random generator. The same state gives the same film.
        size_px: (width, height) of the film, pixels, each at least 32.
        landmarks: set of K landmarks, by whose abbreviations the drawn head knows them.

    Returns:
        The image, uint8 [H, W], and the landmarks, [K, 2] in pixels.

    Raises:
        InputError: If the size is too small, or the drawn head has no such landmark.

    Example:
        >>> image, landmarks_px = draw_film(np.random.default_rng(0), (480, 600))
        >>> image.shape, landmarks_px.shape
        ((600, 480), (19, 2))
    """
    width, height = size_px
    if min(width, height) < 32:
        raise InputError(f"a film must be at least 32 × 32 pixels; got {width} × {height}")
    _require_landmarks(landmarks)
    head = _random_head(rng)
    spacing = spacing_mm(size_px)
    marked = head(*_controls(landmarks.abbreviations, "skull"))  # [K, 2]
    place = _random_pose(rng, marked, (width * spacing, height * spacing))
    landmarks_mm = place(marked)

    enlarge = max(1.0, height / _DRAWN_HEIGHT_PX)
    canvas_px = (round(width / enlarge), round(height / enlarge))
    scale = np.array(canvas_px) / (np.array(size_px) * spacing)  # [2], canvas pixels per mm
    strokes = [_stroke(contour, head, place, scale) for contour in anatomy.CONTOURS]
    grey = radiograph.expose(
        radiograph.attenuation(strokes, canvas_px),
        rng,
        contrast=rng.uniform(1.4, 2.0),
        gamma=rng.uniform(1.0, 1.35),
        gradient=(rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)),
    )
    if rng.random() < 0.5:
        radiograph.collimate(grey, rng, border_px=rng.uniform(1.0, 4.0) * float(scale[1]))
    image = radiograph.develop(grey, rng, size_px, noise=rng.uniform(0.006, 0.014))

    return image, landmarks_mm / spacing - 0.5


def write_dataset(
    folder: Path,
    count: int,
    seed: int = 0,
    size_px: tuple[int, int] = DEFAULT_SIZE_PX,
    on_film: Callable[[int], None] | None = None,
    landmarks: LandmarkSet = ISBI2015,
) -> None:
    """Write a synthetic data set in the first layout of `dataset/layouts.py`.

    The films 001, 002 … are PNG files. The first half, rounded up, is Training, and the rest is
    Test1. The marks of the two readers differ, and their mean is the truth, rounded to 0.01
    pixels. A film depends only on its number, the seed and the size. If the spacing differs from
    that of the layout, a `spacing.csv` is written. If writing fails, nothing remains.

    Args:
        folder: folder to create. If it exists, it must be empty.
        count: number of films, at least 2.
        seed: seed of the random numbers.
        size_px: (width, height) of the films, pixels.
        on_film: called with the number of films written so far, to show progress.
        landmarks: set that the readers mark.

    Raises:
        InputError: If the count or the size is too small, the drawn head has no such landmark, or
            the folder cannot be used.
    """
    if count < 2:
        raise InputError(f"count must be at least 2, one film for each split; got {count}")
    _require_landmarks(landmarks)
    if not is_free(folder):
        raise InputError(f"output folder {folder} is not an empty folder; give a new one")
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise InputError(f"output folder {folder} cannot be created ({error.strerror})") from None
    try:
        _write_films(draft, count, seed, size_px, on_film, landmarks)
        draft.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _write_films(
    folder: Path,
    count: int,
    seed: int,
    size_px: tuple[int, int],
    on_film: Callable[[int], None] | None,
    landmarks: LandmarkSet,
) -> None:
    layout = LAYOUTS[0]
    films = [f"{number:03d}" for number in range(1, count + 1)]
    for number, film in enumerate(films, 1):
        rng = np.random.default_rng([seed, number])
        image, landmarks_px = draw_film(rng, size_px, landmarks)
        split = "train" if number <= (count + 1) // 2 else "test1"
        path = folder / layout.images[split] / f"{film}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        )

        spread_px = _READER_SD_MM / spacing_mm(size_px)
        offset = np.clip(
            rng.normal(0, spread_px, landmarks_px.shape), -3 * spread_px, 3 * spread_px
        )
        truth, offset = np.round(landmarks_px, 2), np.round(offset, 2)
        for reader, marks in (("senior", truth - offset), ("junior", truth + offset)):
            path = folder / layout.annotations[split][reader] / f"{film}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{x:.2f},{y:.2f}\n" for x, y in marks), encoding="utf-8")
        if on_film is not None:
            on_film(number)
    if spacing_mm(size_px) != layout.spacing_mm:
        with (folder / SPACING_FILE).open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(["film", "spacing_mm"])
            table.writerows([film, spacing_mm(size_px)] for film in films)


def _random_head(rng: np.random.Generator) -> Head:
    """Return a mapping from the template to a random head, both in millimetres."""
    # Long waves vary the overall shape, and short waves vary regions of it.
    wavelength_mm = np.concatenate([rng.uniform(110, 220, 4), rng.uniform(35, 60, 6)])
    amplitude_mm = np.concatenate([np.full(4, 1.5), np.full(6, 0.35)])[:, None]
    angle = rng.uniform(0, 2 * np.pi, 10)
    wave = 2 * np.pi / wavelength_mm[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    phase = rng.uniform(0, 2 * np.pi, 10)
    swing = amplitude_mm * rng.normal(0, 1, (10, 2))

    face_length = rng.normal(0, 0.05)
    midface_mm = rng.normal(0, 2.0)
    pivot = np.array(anatomy.CONDYLE_MM)
    jaw = np.exp(rng.normal(0, 0.025)) * _rotation(np.radians(rng.normal(0, 1.5)))
    jaw_shift_mm = rng.normal(0, 1.0, 2)

    def head(points: Points, of_jaw: NDArray[np.float64]) -> Points:
        jaw_moves = (points - pivot) @ (jaw - np.eye(2)).T + jaw_shift_mm
        moved: Points = points + of_jaw[:, None] * jaw_moves
        x, y = points[:, 0], points[:, 1]
        face = _ramp(x, 60, 120)
        moved[:, 0] += midface_mm * face * _ramp(y, 105, 140)
        moved[:, 1] += face_length * face * np.maximum(y - 110, 0)
        # The vault varies less than the face, so that its curvature stays even.
        of_waves = 0.25 + 0.75 * _ramp(y, 30, 100)
        moved += of_waves[:, None] * (np.sin(points @ wave.T + phase) @ swing)
        return moved

    return head


def _require_landmarks(landmarks: LandmarkSet) -> None:
    known = anatomy.LANDMARKS_MM.keys() | anatomy.OTHER_ABBREVIATIONS.keys()
    for landmark in landmarks.landmarks:
        if landmark.abbreviation not in known:
            raise InputError(
                f"landmark set {landmarks.name!r}: the drawn head has no {landmark.name} "
                f"({landmark.abbreviation}); it has {', '.join(sorted(known))}"
            )


def _random_pose(
    rng: np.random.Generator, landmarks: Points, extent_mm: tuple[float, float]
) -> Place:
    """Return a mapping from a head to a film that keeps a margin around its landmarks."""
    turn = _rotation(np.radians(np.clip(rng.normal(0, 4), -10, 10)))
    turn *= rng.uniform(0.92, 1.06)
    middle = np.array([0.53 * anatomy.FILM_WIDTH_MM, 0.5 * anatomy.FILM_HEIGHT_MM])
    extent = np.array(extent_mm)
    target = extent * (0.53, 0.5) + rng.normal(0, (4.0, 5.0))
    placed = (landmarks - middle) @ turn.T + target
    target += np.maximum(_MARGIN_MM - placed.min(axis=0), 0)
    target -= np.maximum(placed.max(axis=0) - (extent - _MARGIN_MM), 0)
    return lambda points: (points - middle) @ turn.T + target


def _controls(
    controls: Sequence[anatomy.Control], motion: anatomy.Motion
) -> tuple[Points, NDArray[np.float64]]:
    """Return template points [n, 2], and the fraction [n] of the jaw's motion of each."""
    named = [
        anatomy.OTHER_ABBREVIATIONS.get(control, control) if isinstance(control, str) else None
        for control in controls
    ]
    points = np.array(
        [
            control if name is None else anatomy.LANDMARKS_MM[name]
            for control, name in zip(controls, named, strict=True)
        ],
        np.float64,
    )
    if motion == "skin":
        x, y = points[:, 0], points[:, 1]
        of_jaw = _ramp(y, *anatomy.MOUTH_MM) * _ramp(x, *anatomy.THROAT_MM)
    else:
        of_jaw = np.full(len(points), float(motion == "jaw"))
    # A landmark has the same motion in all contours.
    for index, name in enumerate(named):
        if name is not None:
            of_jaw[index] = name in anatomy.JAW_LANDMARKS
    return points, of_jaw


def _stroke(
    contour: anatomy.Contour, head: Head, place: Place, scale: NDArray[np.float64]
) -> radiograph.Stroke:
    """Convert a contour of the template to a stroke on the canvas, in pixels."""
    points = place(head(*_controls(contour.controls, contour.motion)))
    per_mm = float(scale[1])
    return radiograph.Stroke(
        points_px=radiograph.spline(points * scale - 0.5, contour.closed),
        closed=contour.closed,
        fill=contour.fill,
        rim=contour.rim,
        rim_px=contour.rim_mm * per_mm,
        stroke=contour.stroke,
        stroke_px=contour.stroke_mm * per_mm,
        blur_px=contour.blur_mm * per_mm,
    )


def _ramp(value: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Return a smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    ramp: NDArray[np.float64] = t * t * (3 - 2 * t)
    return ramp


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
