"""A page of sections as one HTML file: text, tables and pictures, nothing loaded from elsewhere.

It knows how things are laid out, and nothing of what they say.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jinja2

from cephray import __version__
from cephray.storage import replace_text

TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar = "text"
    text: str


@dataclass(frozen=True)
class Cell:
    """A figure, and its interval or spread in smaller type."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows.

    Args:
        columns: headings.
        rows: of cells; one that ends the table and sums it up may be marked by `total`.
        total: whether the last row is such a one.
    """

    kind: ClassVar = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Args:
        caption: what it shows; the first line is set off from the note.
        source: data URI.
        note: a second line, in smaller type.
    """

    caption: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, as many as there is room for.

    Args:
        pictures: in order.
        size: "small" (four or more across a desk's screen, two a phone's), "medium" (two),
            or "large" (three, in full width on a phone).
    """

    kind: ClassVar = "gallery"
    pictures: tuple[Picture, ...]
    size: str = "medium"


@dataclass(frozen=True)
class Listing:
    """Lines as they are, folded under a title."""

    kind: ClassVar = "listing"
    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Text | Table | Gallery | Listing, ...]


def write_page(path: Path, title: str, lead: Sequence[str], sections: Sequence[Section]) -> None:
    """Write a page.

    Args:
        path: of the HTML file.
        title: of the page.
        lead: paragraphs under the title, the most important first.
        sections: in order.

    Raises:
        OSError: it could not be written.
    """
    replace_text(path, fill(TEMPLATE, title=title, lead=lead, sections=sections))


def fill(template: Path, **values: Any) -> str:
    """Fill an HTML template.

    Args:
        template: In Jinja's language; it may extend `base.html.j2`. Values are escaped.
        values: By their names in the template. cephray's `version` is added.

    Raises:
        jinja2.UndefinedError: the template needs another value.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, TEMPLATE.parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template.name).render(version=__version__, **values)


def png_uri(path: Path) -> str:
    """Return a PNG file as a data URI."""
    return data_uri(path.read_bytes(), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """Return a file's content as a data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
