"""Pairs of films and annotation files: each film has its marks, each file its film.

It knows names and folders, and reads neither films nor marks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cephray.data.dataset.layouts import Layout
from cephray.data.dataset.names import natural_key, some
from cephray.errors import InputError

# Takes what is wrong with single films, and their names.
OnFault = Callable[[Sequence[str], InputError], None]


def refuse(films: Sequence[str], fault: InputError) -> None:
    """Raise the fault: where nothing else is asked for, one is enough to refuse a data set."""
    raise fault


def check_pairs(
    folder: Path,
    layout: Layout,
    split: str,
    films: Mapping[str, Mapping[str, Path]],
    readers: Mapping[str, Mapping[str, Path]],
    needed: Sequence[str],
    on_fault: OnFault = refuse,
) -> set[str]:
    """Find films without annotation and annotations without film.

    Args:
        folder: of the data set.
        layout: of the data set.
        split: whose films are checked.
        films: split: film: image file.
        readers: reader: film: annotation file, of this split.
        needed: readers who must have marked every film.
        on_fault: takes each fault; what it does not raise is passed over.

    Returns:
        The films that lack an annotation.

    Raises:
        InputError: names the first of them; see `on_fault`.
    """
    unmarked: set[str] = set()
    for reader, files in readers.items():
        annotations = layout.annotations[split][reader]
        lone_films = [film for film in films[split] if film not in files]
        if lone_films and reader in needed:
            unmarked.update(lone_films)
            fault = InputError(
                f"films without annotation in {folder / annotations}: {some(lone_films)};"
                " add their .txt files or remove the films"
            )
            on_fault(lone_films, fault)
        sharing = [name for name, of in layout.annotations.items() if of[reader] == annotations]
        lone_files = [
            film
            for film in files
            if not any(film in films[name] for name in sharing)
            and not _may_be_of_absent_split(film, [films[name] for name in sharing])
        ]
        if lone_files:
            where = ", ".join(layout.images[name] for name in sharing)
            fault = InputError(
                f"annotations in {folder / annotations} without film in {where}:"
                f" {some(lone_files)}; add the films or remove the .txt files"
            )
            on_fault([], fault)
    return unmarked


def _may_be_of_absent_split(film: str, splits: Sequence[Mapping[str, Path]]) -> bool:
    """Return whether an absent split could hold a film: data sets number their films in turn.

    Args:
        film: its name.
        splits: the films of each split, in the order in which they are numbered.
    """
    key = natural_key(film)
    return any(
        not absent
        and all(natural_key(other) < key for split in splits[:place] for other in split)
        and all(natural_key(other) > key for split in splits[place + 1 :] for other in split)
        for place, absent in enumerate(splits)
    )
