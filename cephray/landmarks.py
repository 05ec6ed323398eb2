"""Landmark sets: the points marked on a film, their order, and the lines drawn through them.

The number of landmarks is defined here only; all other code takes it from the set.
"""

from __future__ import annotations

from dataclasses import dataclass

from cephray.errors import InputError


@dataclass(frozen=True)
class Landmark:
    """An anatomical point, with its full name and the abbreviation used on tracings."""

    name: str
    abbreviation: str


@dataclass(frozen=True)
class TracingLine:
    """A line that orthodontists draw through two landmarks.

    Args:
        name: name of the line.
        start, end: abbreviations of the two landmarks.
    """

    name: str
    start: str
    end: str


@dataclass(frozen=True)
class LandmarkSet:
    """An ordered set of landmarks, in the order of the annotation files.

    A lateral film shows the head from the side. Mirroring it therefore does not swap landmarks.

    Args:
        name: name of the set.
        landmarks: the landmarks, in order.
        lines: tracing lines through pairs of the landmarks.
        contested: abbreviations of the landmarks that are not marked by the same convention
            throughout the data set. Errors are reported with and without them.
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
        """Full names of the landmarks, in order."""
        return tuple(landmark.name for landmark in self.landmarks)

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """Abbreviations of the landmarks, in order."""
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
    contested=("Pog'",),  # Test2 marks it by another convention than Training
)

LANDMARK_SETS = {landmark_set.name: landmark_set for landmark_set in (ISBI2015,)}


def landmark_set(name: str) -> LandmarkSet:
    """Return the landmark set called `name`.

    Raises:
        InputError: If no set has this name.
    """
    try:
        return LANDMARK_SETS[name]
    except KeyError:
        known = ", ".join(sorted(LANDMARK_SETS))
        raise InputError(f"unknown landmark set {name!r}; known sets: {known}") from None
