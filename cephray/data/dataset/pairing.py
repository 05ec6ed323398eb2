"""The check that each film has its annotation files, and each annotation file its film.

It knows names and folders, but reads no films and no annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cephray.data.dataset.layouts import Layout
from cephray.data.dataset.names import first_few, natural_key
from cephray.errors import InputError
from cephray.storage import Place

# Called with the names of films, and the error that makes them unusable.
OnFault = Callable[[Sequence[str], InputError], None]


def refuse(films: Sequence[str], fault: InputError) -> None:
    """Raise the fault. This is the default handler, which refuses a data set at the first one."""
    raise fault


def check_pairs(
    folder: Place,
    layout: Layout,
    split: str,
    films: Mapping[str, Mapping[str, Place]],
    readers: Mapping[str, Mapping[str, Place]],
    needed: Sequence[str],
    on_fault: OnFault = refuse,
) -> set[str]:
    """Find films without annotation, and annotations without film.

    Args:
        folder: folder of the data set.
        layout: layout of the data set.
        split: split to check.
        films: image file by split and film.
        readers: annotation file by reader and film, for this split.
        needed: readers who must have marked every film.
        on_fault: called with each fault. It may raise the fault or ignore it.

    Returns:
        The films without annotation by a needed reader.

    Raises:
        InputError: If there is a fault that `on_fault` raises.
    """
    unmarked: set[str] = set()
    for reader, files in readers.items():
        annotations = layout.annotations[split][reader]
        lone_films = [film for film in films[split] if film not in files]
        if lone_films and reader in needed:
            unmarked.update(lone_films)
            fault = InputError(
                f"films without annotation in {folder / annotations}: {first_few(lone_films)};"
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
                f" {first_few(lone_files)}; add the films or remove the .txt files"
            )
            on_fault([], fault)
    return unmarked


def _may_be_of_absent_split(film: str, splits: Sequence[Mapping[str, Place]]) -> bool:
    """Return whether a film may belong to a split whose films are absent.

    This is possible if its name lies between those of the splits before and after. The data set
    numbers the films of all splits consecutively.

    Args:
        film: name of the film.
        splits: films of each split, in the order of their numbers.
    """
    key = natural_key(film)
    return any(
        not absent
        and all(natural_key(other) < key for split in splits[:place] for other in split)
        and all(natural_key(other) > key for split in splits[place + 1 :] for other in split)
        for place, absent in enumerate(splits)
    )
