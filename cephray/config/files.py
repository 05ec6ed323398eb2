"""Configurations from YAML files and dotted overrides, and back, with one-line error messages."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from cephray.config.absent import with_absent
from cephray.config.config import Config
from cephray.config.presets import find_config
from cephray.errors import InputError
from cephray.storage import Place
from cephray.tree import read_mapping


def load_config(source: Place | str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Build a configuration from the defaults, a YAML file and dotted overrides.

    Values of the file replace the defaults, and overrides replace the values of the file.

    Args:
        source: YAML file with any subset of the keys. A string is the name of a preset, or the
            path of a file. If None, there are only defaults and overrides.
        overrides: strings `section.key=value`, with the value in YAML.

    Returns:
        The validated configuration.

    Raises:
        InputError: If there is no such preset or file, the file cannot be read, a key is unknown,
            or a value is not allowed.

    Example:
        >>> load_config(overrides=["model.fusion_depth=2"]).model.fusion_depth
        2
        >>> load_config("best").model.backbone
        'efficientnet_lite2'
    """
    tree: dict[str, Any] = {}
    if source is not None:
        file = find_config(source) if isinstance(source, str) else source
        tree = read_mapping(file, "config file")
    for key, value in parse_overrides(overrides).items():
        _set_dotted(tree, key, value)
    return parse_config(tree)


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Parse dotted overrides.

    Args:
        overrides: strings `section.key=value`, with the value in YAML.

    Returns:
        Values by dotted key. If a key is given twice, the last value is used.

    Raises:
        InputError: If an override does not have this form.
    """
    values = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise InputError(f"override must be section.key=value; got {text!r}")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"override {text!r}: the value is not valid YAML") from None
    return values


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a copy of a configuration with some values replaced.

    Args:
        config: configuration to start from.
        values: new values by dotted key.

    Raises:
        InputError: If a key is unknown, or a value is not allowed.
    """
    tree = config.model_dump()
    for key, value in values.items():
        _set_dotted(tree, key, value)
    return parse_config(tree)


def with_inference(config: Config, overrides: Sequence[str]) -> Config:
    """Return the configuration of a trained network with changed inference settings.

    Args:
        config: configuration of a checkpoint.
        overrides: strings `inference.key=value`, with the value in YAML.

    Raises:
        InputError: If an override is of another section, or is not valid.
    """
    values = parse_overrides(overrides)
    for key in values:
        if not key.startswith("inference."):
            raise InputError(
                f"--set {key}: a trained network cannot change it; only keys of the section "
                "inference can be set"
            )
    return override(config, values)


def plain_value(key: str, value: Any) -> Any:
    """Return a value for a dotted key, or None if the value is the key's `none` or `null`.

    Example:
        >>> plain_value("train.clip_norm", "none")
        >>> plain_value("data.validation", "none")
        'none'
    """
    tree: dict[str, Any] = {}
    _set_dotted(tree, key, value)
    read: Any = with_absent(Config, tree)
    for part in key.split("."):
        read = read[part]
    return read


def value_of(config: Config, key: str) -> Any:
    """Return the value of a dotted key, which must exist."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def parse_config(tree: Mapping[str, Any]) -> Config:
    """Build a configuration from a tree of plain values, in which `none` and `null` mean None.

    Raises:
        InputError: If a key is unknown, or a value is not allowed. The message names the first
            such key, its value, and what is allowed.
    """
    try:
        return Config.model_validate(with_absent(Config, tree))
    except ValidationError as error:
        raise InputError(_explain(error)) from None


def flatten(config: Config) -> dict[str, Any]:
    """Return the plain value of each dotted key."""
    flat: dict[str, Any] = {}

    def add(section: BaseModel, tree: Mapping[str, Any], prefix: str) -> None:
        for key, value in tree.items():
            part = getattr(section, key)
            if isinstance(part, BaseModel):
                add(part, value, f"{prefix}{key}.")
            else:
                flat[f"{prefix}{key}"] = value

    add(config, config.model_dump(mode="json"), "")
    return flat


def dump_config(config: Config) -> str:
    """Return the whole configuration as YAML, which `load_config` can read."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return text


def _set_dotted(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise InputError(f"override {dotted!r}: {parent!r} is not a section")
        tree = child
    tree[leaf] = value


def _keys(section: type[BaseModel]) -> list[str]:
    return list(section.model_fields)


def _section_at(location: Sequence[int | str]) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for key in location:
        annotation = section.model_fields[str(key)].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return section


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    location = [part for part in first["loc"] if isinstance(part, str)]
    dotted = ".".join(location)
    if first["type"] == "extra_forbidden":
        valid = _keys(_section_at(location[:-1]))
        close = difflib.get_close_matches(location[-1], valid, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"unknown config key {dotted!r}{hint}; valid keys there: {', '.join(valid)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":  # from our own validators, whose messages include the value
        return f"config {dotted}: {message}" if dotted else f"config: {message}"
    return f"config key {dotted!r}: {message}; got {first['input']!r}"
