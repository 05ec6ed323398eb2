"""A landmark set in memory, and as a tree of plain values. It knows no files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cephray.errors import InputError
from cephray.tree import check_keys, entries, text

SYNONYMS = {
    "N": ("Na",),
    "Pog": ("Pg",),
    "UI": ("UIT", "U1"),
    "LI": ("LIT", "L1"),
    "UIA": ("U1A",),
    "LIA": ("L1A",),
    "UMT": ("U6",),
    "LMT": ("L6",),
    "UL": ("Ls",),
    "LL": ("Li",),
    "Pn": ("Prn",),
    "Pog'": ("Pg'", "sPog"),
}
"""What other landmark sets call a landmark, by the abbreviation that cephray uses."""


@dataclass(frozen=True)
class Landmark:
    """An anatomical point.

    Args:
        name: full name.
        abbreviation: as used on tracings.
        definition: where the point is, in words.
        aliases: other labels of the point in annotation files.
    """

    name: str
    abbreviation: str
    definition: str = ""
    aliases: tuple[str, ...] = ()


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

    def find(self, abbreviation: str) -> int | None:
        """Return the index of a landmark.

        Example:
            >>> landmark_set("aariz").find("UI")  # which Aariz calls UIT
            21

        Args:
            abbreviation: that of the landmark, which precedes; or one of its aliases; or the
                abbreviation of `SYNONYMS` under which cephray knows it.

        Returns:
            The index, or None if the set has no such landmark.
        """
        if abbreviation in self.abbreviations:
            return self.abbreviations.index(abbreviation)
        for name in (abbreviation, *SYNONYMS.get(abbreviation, ())):
            for index, landmark in enumerate(self.landmarks):
                if name in (landmark.abbreviation, *landmark.aliases):
                    return index
        return None

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> LandmarkSet:
        """Build a set from plain values, as its YAML file contains them.

        Args:
            tree: `name`; `landmarks`, a list of mappings with `name`, `abbreviation` and, if
                wanted, `definition` and `aliases`, a list; and, if wanted, `lines`, a list of
                mappings with `name`, `start` and `end`, and `contested`, a list of abbreviations.

        Raises:
            InputError: If a key is unknown or missing, a value is no text, an abbreviation, a name
                or an alias occurs twice, or a line or a contested landmark is not in the set. The
                message begins with the place in the tree.
        """
        check_keys("landmark set", tree, {"name", "landmarks"}, {"lines", "contested"})
        name = text("name", tree["name"])
        landmarks = [_landmark(*pair) for pair in entries("landmarks", tree["landmarks"])]
        if not landmarks:
            raise InputError("landmarks: is empty; a set needs at least one landmark")
        lines = [
            TracingLine(**_texts(place, entry, {"name", "start", "end"}, set()))
            for place, entry in entries("lines", tree.get("lines", []))
        ]
        contested = [text(*pair) for pair in entries("contested", tree.get("contested", []))]
        known = [landmark.abbreviation for landmark in landmarks]
        _check_distinct("abbreviation", known)
        _check_distinct("name", [landmark.name for landmark in landmarks])
        aliases = [alias for landmark in landmarks for alias in landmark.aliases]
        _check_distinct("alias", [*known, *aliases])
        ends = [(f"line {line.name!r}", end) for line in lines for end in (line.start, line.end)]
        for place, abbreviation in [*ends, *(("contested", one) for one in contested)]:
            if abbreviation not in known:
                raise InputError(f"{place}: no landmark has the abbreviation {abbreviation!r}")
        return cls(name, tuple(landmarks), tuple(lines), tuple(contested))

    def to_tree(self) -> dict[str, Any]:
        """Return the plain values that `from_tree` builds this set from."""
        return {
            "name": self.name,
            "landmarks": [
                {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in asdict(landmark).items()
                    if value
                }
                for landmark in self.landmarks
            ],
            "lines": [asdict(line) for line in self.lines],
            "contested": list(self.contested),
        }


def _landmark(place: str, entry: Any) -> Landmark:
    aliases: tuple[str, ...] = ()
    if isinstance(entry, Mapping) and "aliases" in entry:
        given = entries(f"{place}, aliases", entry["aliases"])
        aliases = tuple(text(*pair) for pair in given)
        entry = {key: value for key, value in entry.items() if key != "aliases"}
    texts = _texts(place, entry, {"name", "abbreviation"}, {"definition"})
    return Landmark(**texts, aliases=aliases)


def _texts(place: str, entry: Any, needed: set[str], others: set[str]) -> dict[str, str]:
    checked = check_keys(place, entry, needed, others)
    return {key: text(f"{place}, {key}", value) for key, value in checked.items()}


def _check_distinct(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise InputError(f"landmarks: the {what} {value!r} occurs twice")
        seen.add(value)
