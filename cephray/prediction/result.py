"""The result of one film: landmarks, measurements, picture.

It knows one film, and neither networks nor files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cephray.clinical import error_of_radius, read_challenge
from cephray.data import UPRIGHT, Film, GrayImage, Orientation, Original
from cephray.drawing import draw_overlay
from cephray.landmarks import LandmarkSet
from cephray.prediction.detector import Detection


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadFilm(Film):
    """A film of the network's size, with all that its file holds."""

    number: int  # place among the films
    original: Original
    spacing_source: str | None
    notes: tuple[str, ...] = ()  # what the file or the user says and was left out, and why


@dataclass(frozen=True, eq=False)
class FilmResult:
    """The landmarks of one film.

    Example:
        >>> found = cephray.load().predict("film.png", spacing_mm=0.25)
        >>> found.names[0], found.points_px.shape
        ('Sella', (19, 2))

    Attributes:
        film: Name of the film.
        landmarks: The set of K landmarks, in order.
        image: The film as it was read: uint8 [H, W], 0 black to 255 white.
        points_px: [K, 2], (x, y) in pixels of the film. (0, 0) is the centre of the first pixel.
        spread_px: [K], scale of the error that the network expects along an axis, pixels. None if
            the network does not estimate it.
        radius_95_px: [K], radius that holds 95 % of the errors, pixels. None if the network is not
            calibrated.
        confidence: [K], probability of an error of at most 2 mm. NaN if the spacing is unknown,
            None if the network is not calibrated.
        spacing_mm: Millimetres per pixel, or None if unknown.
        spacing_source: Where the spacing is from, or None.
        resampled_from_px: (width, height) of a file whose pixels are not square, otherwise None.
        notes: What the file or the caller says that was left out, and why.
        doubtful: Reasons why the result is doubtful; empty if there are none.
        orientation: How the film lies. It was righted for the network; `image` and `points_px` are
            of the film as it lies.
    """

    film: str
    landmarks: LandmarkSet
    image: GrayImage = field(repr=False)
    points_px: NDArray[np.floating[Any]] = field(repr=False)
    spread_px: NDArray[np.float32] | None = field(repr=False)
    radius_95_px: NDArray[np.float32] | None = field(repr=False)
    confidence: NDArray[np.float32] | None = field(repr=False)
    spacing_mm: float | None
    spacing_source: str | None
    resampled_from_px: tuple[int, int] | None
    notes: tuple[str, ...]
    doubtful: tuple[str, ...]
    orientation: Orientation = UPRIGHT

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the K landmarks, in order."""
        return self.landmarks.names

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the film, pixels."""
        return self.image.shape[1], self.image.shape[0]

    def measurements(self) -> list[dict[str, Any]]:
        """Return the clinical measurements, as `to_dict` has them.

        Returns:
            A dictionary with `name`, `value`, `sd`, `unit`, `class`, `class_probability` and
            `meaning` for each measurement. `sd` is the standard deviation of the value, from
            `radius_95_px`. The value is None if it needs an unknown spacing; the class is 0 if
            the value is None or the result is doubtful; `sd` and `class_probability` are None if
            unknown. Empty if the set lacks a landmark that is needed.
        """
        # Values can be judged beside the picture, whereas classes would be believed.
        error_px = None if self.radius_95_px is None else error_of_radius(self.radius_95_px)
        return read_challenge(
            self.points_px, self.spacing_mm, self.landmarks, error_px, classified=not self.doubtful
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the content of the JSON file that `cephray predict` writes."""
        points = []
        for k, (name, (x, y)) in enumerate(zip(self.names, self.points_px, strict=True)):
            points.append({"name": name, "x_px": round(float(x), 2), "y_px": round(float(y), 2)})
            if self.confidence is not None:
                points[k]["confidence"] = _plain(self.confidence[k], 3)
            if self.radius_95_px is not None:
                points[k]["radius_95_px"] = _plain(self.radius_95_px[k], 2)
        return {
            "film": self.film,
            "size_px": list(self.size_px),
            "spacing_mm": self.spacing_mm,
            "spacing_source": self.spacing_source,
            "resampled_from_px": self.resampled_from_px and list(self.resampled_from_px),
            "orientation": self.orientation._asdict(),
            "notes": list(self.notes),
            "doubtful": list(self.doubtful),
            "landmarks": points,
            "measurements": self.measurements(),
        }

    def draw(self, height: int = 1200) -> NDArray[np.uint8]:
        """Draw the landmarks and the tracing lines on the film.

        Args:
            height: Of the picture without the strip of warnings, pixels.

        Returns:
            uint8 [h, w, 3], red, green, blue.
        """
        picture: NDArray[np.uint8] = np.ascontiguousarray(
            draw_overlay(
                self.image,
                self.points_px,
                self.landmarks.abbreviations,
                height=height,
                lines=self.landmarks.lines,
                doubts=self.doubtful,
            )[..., ::-1]
        )
        return picture


def result_of(detection: Detection, landmarks: LandmarkSet) -> FilmResult:
    """Return the result of a film.

    Args:
        detection: Of a `ReadFilm`.
        landmarks: The K landmarks of the network.
    """
    film = cast(ReadFilm, detection.film)
    return FilmResult(
        film=film.film,
        landmarks=landmarks,
        image=film.original.image,
        points_px=detection.refined_px,
        spread_px=detection.spread_px,
        radius_95_px=detection.radius_px,
        confidence=detection.confidence,
        spacing_mm=float(film.spacing_mm) if np.isfinite(film.spacing_mm) else None,
        spacing_source=film.spacing_source,
        resampled_from_px=film.original.resampled_from_px,
        notes=film.notes,
        doubtful=detection.doubts,
        orientation=detection.orientation,
    )


def _plain(value: Any, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
