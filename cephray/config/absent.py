"""Absent values: `none` and `null`, in upper or lower case, mean None for keys that may be None.

YAML itself reads `null` as None, but `none` as a string. This module treats both alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

WORDS = ("none", "null")


def with_absent(section: type[BaseModel], tree: Mapping[str, Any]) -> dict[str, Any]:
    """Replace `none` and `null` by None in a tree of plain values.

    A word is replaced if its key may be None, unless one of the words is itself a value of the
    key. All other values are returned unchanged and are not validated.

    Args:
        section: section of the configuration that the tree describes.
        tree: values by key, with sections as mappings.

    Returns:
        A copy of the tree.

    Example:
        >>> with_absent(Config, {"train": {"clip_norm": "none"}, "data": {"validation": "none"}})
        {'train': {'clip_norm': None}, 'data': {'validation': 'none'}}
    """
    fields = section.model_fields
    return {
        key: _read(fields[key].annotation, value) if key in fields else value
        for key, value in tree.items()
    }


def _read(annotation: Any, value: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return with_absent(annotation, value) if isinstance(value, Mapping) else value
    if not isinstance(value, str) or value.lower() not in WORDS:
        return value
    allowed = list(_allowed(annotation))
    has_own_word = any(isinstance(one, str) and one.lower() in WORDS for one in allowed)
    return None if None in allowed and not has_own_word else value


def _allowed(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation allows: values of a Literal, None, and other types."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _allowed(part)
    elif origin is Annotated:
        yield from _allowed(get_args(annotation)[0])
    elif origin is Literal:
        yield from get_args(annotation)
    else:
        yield None if annotation is type(None) else annotation
