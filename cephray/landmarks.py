"""Landmark sets: which points are marked on a film, in which order, and which lines join them.

A set is data. Nothing else in cephray knows how many landmarks there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from cephray.errors import InputError


@dataclass(frozen=True)
class Landmark:
    """One anatomical point: its full name, and the abbreviation used on tracings."""

    name: str
    abbreviation: str


@dataclass(frozen=True)
class TracingLine:
    """A line that orthodontists draw through two landmarks, which their abbreviations name."""

    name: str
    start: str
    end: str


@dataclass(frozen=True)
class LandmarkSet:
    """An ordered set of landmarks; the order is that of the annotation files.

    A lateral film shows the mid-sagittal plane from the side, so that no landmark changes its
    name when the film is mirrored.

    Args:
        name: of the set.
        landmarks: in order.
        lines: that are drawn through its landmarks.
        contested: abbreviations of those that are not marked alike throughout the data set;
            errors are reported with and without them.
    """

    name: str
    landmarks: tuple[Landmark, ...]
    lines: tuple[TracingLine, ...] = ()
    contested: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return K, the number of landmarks."""
        return len(self.landmarks)

    @property
    def names(self) -> tuple[str, ...]:
        """Full names in order."""
        return tuple(landmark.name for landmark in self.landmarks)

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """Abbreviations in order."""
        return tuple(landmark.abbreviation for landmark in self.landmarks)


ISBI2015 = LandmarkSet(
    "isbi2015",
    tuple(
        Landmark(name, abbreviation)
        for name, abbreviation in (
            ("Sella", "S"),
            ("Nasion", "N"),
            ("Orbitale", "Or"),
            ("Porion", "Po"),
            ("A-point", "A"),
            ("B-point", "B"),
            ("Pogonion", "Pog"),
            ("Menton", "Me"),
            ("Gnathion", "Gn"),
            ("Gonion", "Go"),
            ("Lower incisal incision", "LI"),
            ("Upper incisal incision", "UI"),
            ("Upper lip", "UL"),
            ("Lower lip", "LL"),
            ("Subnasale", "Sn"),
            ("Soft tissue pogonion", "Pog'"),
            ("Posterior nasal spine", "PNS"),
            ("Anterior nasal spine", "ANS"),
            ("Articulare", "Ar"),
        )
    ),
    (
        TracingLine("Sella–nasion", "S", "N"),
        TracingLine("Frankfort horizontal", "Po", "Or"),
        TracingLine("Palatal plane", "PNS", "ANS"),
        TracingLine("Mandibular plane", "Go", "Gn"),
        TracingLine("Facial line", "N", "Pog"),
    ),
    contested=("Pog'",),  # marked by another convention in Test2 than in Training
)

LANDMARK_SETS = {landmark_set.name: landmark_set for landmark_set in (ISBI2015,)}


def landmark_set(name: str) -> LandmarkSet:
    """Return the landmark set called `name`.

    Raises:
        InputError: no set has this name.
    """
    try:
        return LANDMARK_SETS[name]
    except KeyError:
        known = ", ".join(sorted(LANDMARK_SETS))
        raise InputError(f"unknown landmark set {name!r}; known sets: {known}") from None
