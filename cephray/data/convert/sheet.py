"""CSV tables as spreadsheets write them: with commas, or with semicolons or tabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from cephray.errors import InputError


class Sheet(NamedTuple):
    """A CSV table.

    Args:
        delimiter: sign between the columns. Unless it is a comma, numbers may have decimal commas.
        rows: number of the line, and values by column, of each row. A row with too many values has
            the rest under None, and one with too few has None for the others.
    """

    delimiter: str
    rows: list[tuple[int, dict[Any, Any]]]


def parse_sheet(text: str, name: str, needed: Sequence[str]) -> Sheet:
    """Parse a CSV table.

    Args:
        text: content of the file.
        name: name of the file for messages.
        needed: columns that it must have.

    Raises:
        InputError: If it is no CSV table, or a column is missing.
    """
    header = text.split("\n", 1)[0]
    delimiter = next((sign for sign in ";\t" if sign in header), ",")
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = [column.strip() for column in table.fieldnames or []]
        table.fieldnames = columns
        rows = [(table.line_num, row) for row in table]
    except csv.Error as error:
        raise InputError(f"{name} cannot be read as a CSV table ({error})") from None
    if not set(needed) <= set(columns):
        raise InputError(
            f"{name} must have the columns {','.join(needed)}; got {delimiter.join(columns)}"
        )
    return Sheet(delimiter, rows)
