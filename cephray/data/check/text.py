"""Formatting of the check of a data set for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from cephray.data.check.check import FAR_APART_MM, PLAUSIBLE_HEIGHT_MM, Check, mean
from cephray.data.check.unlike import FEWEST_FILMS
from cephray.data.dataset import Comparison, first_few

MOST_NAMED = 5
MOST_DOUBTFUL = 30


def format_check(check: Check) -> str:
    """Format the results of a check as text. The faults come last, where they are noticed."""
    topics: dict[str, list[str]] = {
        "films": [", ".join(f"{split} {count}" for split, count in check.splits.items())],
        "size": list(_sizes(check)),
        "spacing": list(_spacings(check)),
        "marks": list(_marks(check)),
        "readers": [line for comparison in check.readers for line in _reader(check, comparison)],
        "copies": list(_copies(check)),
        "doubtful": list(_doubtful(check)),
        "faults": [fault.message for fault in check.faults] or [_no_faults(check)],
    }
    rows = [
        f"{topic if number == 0 else '':<9}{line}"
        for topic, lines in topics.items()
        for number, line in enumerate(lines)
    ]
    return "\n".join(rows)


def _sizes(check: Check) -> Iterator[str]:
    counts = Counter(check.sizes_px)
    if not counts:
        return
    usual, films = counts.most_common(1)[0]
    if len(counts) == 1:
        yield f"{_size(usual)} px"
    elif 2 * films > len(check.sizes_px):
        others = [
            f"{record.film} ({_size(size)})"
            for record, size in zip(check.records, check.sizes_px, strict=True)
            if size != usual
        ]
        yield f"{_size(usual)} px; other sizes: {first_few(others, MOST_NAMED)}"
    else:
        ordered = sorted(counts, key=lambda size: size[0] * size[1])
        yield f"{len(counts)} sizes, {_size(ordered[0])} to {_size(ordered[-1])} px"
    if check.blank:
        yield f"films with a single grey value: {first_few(check.blank, MOST_NAMED)}"


def _spacings(check: Check) -> Iterator[str]:
    spacings_mm = sorted({record.spacing_mm for record in check.records})
    if not spacings_mm:
        return
    span = f"{spacings_mm[0]:g}" + (f" to {spacings_mm[-1]:g}" if len(spacings_mm) > 1 else "")
    heights_mm = [
        record.spacing_mm * height
        for record, (_, height) in zip(check.records, check.sizes_px, strict=True)
    ]
    low, high = round(min(heights_mm)), round(max(heights_mm))
    yield f"{span} mm per pixel; films are {low if low == high else f'{low} to {high}'} mm high"
    if check.implausible:
        least, most = PLAUSIBLE_HEIGHT_MM
        yield (
            f"not {least:g} to {most:g} mm high, is the spacing right? "
            f"{first_few(check.implausible, MOST_NAMED)}"
        )


def _marks(check: Check) -> Iterator[str]:
    if not check.missing:
        yield f"{len(check.landmarks)} landmarks on every usable film"
    for name, films in check.missing.items():
        yield f"{name} is missing on {_films(len(films))}: {first_few(films, MOST_NAMED)}"
    for reader in dict.fromkeys(
        reader for record in check.records for reader in record.readers_px
    ):
        lacking = [
            record.film
            for record in check.records
            if reader not in record.readers_px
            or (np.isnan(record.readers_px[reader]) & ~np.isnan(record.landmarks_px)).any()
        ]
        if lacking:
            yield (
                f"{reader} reader: landmarks that another reader marked are missing on "
                f"{_films(len(lacking))}: {first_few(lacking, MOST_NAMED)}"
            )


def _reader(check: Check, comparison: Comparison) -> Iterator[str]:
    whole = mean(comparison.distances_mm)
    if whole is None:
        return
    splits = np.array([record.split for record in check.records])
    each = {split: mean(comparison.distances_mm[splits == split]) for split in check.splits}
    parts = ", ".join(f"{split} {value:.2f}" for split, value in each.items() if value is not None)
    yield f"{comparison.title}: {whole:.2f} mm apart ({parts})"
    far = check.far_apart(comparison)
    if far:
        named = ", ".join(f"{film} {name} {mm:.1f}" for film, name, mm in far[:MOST_NAMED])
        more = f" and {len(far) - MOST_NAMED} more" if len(far) > MOST_NAMED else ""
        yield f"more than {FAR_APART_MM:g} mm apart, are they swapped or slipped? {named}{more}"


def _copies(check: Check) -> Iterator[str]:
    if not check.copies:
        yield "no film occurs twice"
        return
    crossing = sum(pair.crosses for pair in check.copies)
    yield f"pairs of the same film: {len(check.copies)}; in training and test (*): {crossing}"
    for pair in check.copies:
        (a, b), (split_a, split_b) = pair.films, pair.splits
        yield f"  {a} ({split_a}) and {b} ({split_b})" + (" *" if pair.crosses else "")


def _doubtful(check: Check) -> Iterator[str]:
    yield from map(str, check.doubtful[:MOST_DOUBTFUL])
    if len(check.doubtful) > MOST_DOUBTFUL:
        yield f"and {len(check.doubtful) - MOST_DOUBTFUL} more; --json FILE lists all of them"
    if not check.compared:
        yield f"fewer than {FEWEST_FILMS} readable films: the shapes of marks were not compared"


def _no_faults(check: Check) -> str:
    films = len({doubt.film for doubt in check.doubtful})
    return f"none, but look at the doubtful marks on {_films(films)}" if films else "none"


def _size(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]} × {size_px[1]}"


def _films(count: int) -> str:
    return "1 film" if count == 1 else f"{count} films"
