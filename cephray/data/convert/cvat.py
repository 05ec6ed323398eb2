"""XML files of CVAT ("CVAT for images 1.1"): one file for all films.

Landmarks are points, alone or in a skeleton; other shapes are not read. The attribute `reader` of
a point or a skeleton is the reader. Source: https://docs.cvat.ai/docs/other/xml_format.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from cephray.data.convert.labels import RULER, Labels
from cephray.data.convert.marked import MarkedFilm, merge_by_image
from cephray.data.convert.values import Where, size_of, text_of
from cephray.errors import InputError


def parse(text: str, file: str, film: str, reader: str, labels: Labels) -> list[MarkedFilm]:
    """Parse a file of films; see `Format.parse`. `film` is not used."""
    films: list[MarkedFilm] = []
    for image in _Reading(file, labels).images_of(text):
        name = image["name"].replace("\\", "/")
        file_name = f"{file}, image {name!r}"
        size_px = size_of(image.get("width"), image.get("height"), file_name)
        groups: dict[str, list[tuple[Where, Any, Any, Any]]] = {}
        for by, point in image["points"]:
            groups.setdefault(by or reader, []).append(point)
        for by, points in groups.items():
            marks, ruler = labels.arrange(points)
            rulers = {} if ruler is None else {by: ruler}
            films.append(
                MarkedFilm(PurePosixPath(name).stem, {by: marks}, name, size_px, None, rulers)
            )
    return merge_by_image(films)


def render(films: list[MarkedFilm], labels: Labels) -> str:
    """Return a file of films; see `Format.render`.

    Raises:
        InputError: If the size of a film is not known.
    """
    names = [*labels.landmarks.abbreviations]
    if any(film.rulers_px for film in films):
        names += RULER
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    lines += ["  <meta>", "    <task>", f"      <size>{len(films)}</size>"]
    lines += ["      <mode>annotation</mode>", "      <labels>"]
    lines += [line for name in names for line in _label(name)]
    lines += ["      </labels>", "    </task>", "  </meta>"]
    for number, film in enumerate(films):
        if film.size_px is None:
            raise InputError(
                f"film {film.film!r}: its size is needed for CVAT; put its image beside the marks"
            )
        name = film.image or f"{film.film}.png"
        width, height = film.size_px
        lines.append(
            f'  <image id="{number}" name={quoteattr(name)} width="{width}" height="{height}">'
        )
        for reader in film.readers_px:
            for point in labels.points_of(film, reader):
                if point.is_marked:
                    lines += _point(point.label, reader, f"{text_of(point.x)},{text_of(point.y)}")
        lines.append("  </image>")
    return "\n".join([*lines, "</annotations>"]) + "\n"


def _label(name: str) -> list[str]:
    return [
        "        <label>",
        f"          <name>{escape(name)}</name>",
        "          <type>points</type>",
        "          <attributes>",
        "            <attribute>",
        "              <name>reader</name>",
        "              <mutable>False</mutable>",
        "              <input_type>text</input_type>",
        "              <default_value></default_value>",
        "              <values></values>",
        "            </attribute>",
        "          </attributes>",
        "        </label>",
    ]


def _point(label: str, reader: str, position: str) -> list[str]:
    return [
        f'    <points label={quoteattr(label)} source="manual" occluded="0" points="{position}"'
        ' z_order="0">',
        f'      <attribute name="reader">{escape(reader)}</attribute>',
        "    </points>",
    ]


class _Reading:
    """Collects images and points while a file is parsed, so that messages can name the line."""

    def __init__(self, file: str, labels: Labels) -> None:
        self._file = file
        self._labels = labels
        self._images: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []  # points and skeletons around the current element
        self._attribute: str | None = None
        self._text = ""
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def images_of(self, text: str) -> list[dict[str, Any]]:
        """Return the images, each with its attributes and `points`: pairs of reader and point."""
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            raise InputError(
                f"annotation {self._file}, line {error.lineno}: not valid XML ({what}); export"
                " the file again"
            ) from None
        return self._images

    @property
    def _where(self) -> Where:
        return Where(self._file, f"line {self._parser.CurrentLineNumber}")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "image":
            if "name" not in attributes:
                raise InputError(f"{self._where}: the image has no name")
            self._images.append({**attributes, "points": []})
        elif name == "track":
            raise InputError(
                f'{self._where}: is an export of a video; export the task as "CVAT for images"'
            )
        elif name in ("points", "skeleton") and self._images:
            self._open.append({**attributes, "where": self._where, "inside": []})
        elif name == "attribute" and self._open:
            self._attribute, self._text = attributes.get("name"), ""
        elif self._images and attributes.get("label") in self._labels:
            raise InputError(
                f"{self._where}: {attributes['label']!r} is drawn as {name!r}; draw landmarks as"
                " points"
            )

    def _characters(self, text: str) -> None:
        self._text += text

    def _end(self, name: str) -> None:
        if name == "attribute" and self._open:
            if self._attribute == "reader":
                self._open[-1]["reader"] = self._text.strip()
            self._attribute = None
        elif name in ("points", "skeleton") and self._open:
            shape = self._open.pop()
            if name == "points":
                position = self._position(shape)
                target = self._open[-1]["inside"] if self._open else self._images[-1]["points"]
                target.append((shape.get("reader"), position))
            else:
                self._images[-1]["points"] += [
                    (by or shape.get("reader"), point) for by, point in shape["inside"]
                ]

    def _position(self, shape: dict[str, Any]) -> tuple[Where, Any, Any, Any]:
        where, label, given = shape["where"], shape.get("label"), shape.get("points", "")
        if shape.get("outside") == "1":
            return where, label, None, None
        parts = given.split(",")
        if ";" in given or len(parts) != 2:
            raise InputError(
                f"{where}: {label!r} must be one point x,y; got {given!r:.60}; draw each landmark"
                " as points of its own"
            )
        return where, label, parts[0], parts[1]

    def _refuse_doctype(self, *_: Any) -> None:
        raise InputError(f"{self._where}: has a document type, which no export of CVAT has")
