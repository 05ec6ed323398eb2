"""What `--help` says: each command's summary as it is written, and names in their own letters."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from cephray.cli import __main__ as cli
from cephray.cli.command import sentence
from cephray.config import Config
from tune import search
from tune.settings import Search

NAMES = (
    "AdamW",
    "Adam",
    "CPU",
    "CPUs",
    "DICOM",
    "EfficientNet-Lite",
    "GPU",
    "GPUs",
    "JSON",
    "Keras",
    "MRE",
    "Optuna",
    "PNG",
    "PyTorch",
    "Ray",
    "ResNet50",
    "ROI",
    "SavedModel",
    "TensorBoard",
    "TensorFlow",
    "URI",
    "URL",
    "VGG",
    "YAML",
)


def commands() -> dict[str, argparse.ArgumentParser]:
    [choices] = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(choices.choices)


def summaries() -> dict[str, str]:
    """Return the one-line summaries that `cephray --help` lists."""
    [choices] = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return {str(action.dest): str(action.help) for action in choices._get_subactions()}


def descriptions(section: type[BaseModel], before: str = "") -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from descriptions(annotation, f"{before}{name}.")
        elif field.description:
            yield f"{before}{name}", field.description


def texts() -> dict[str, str]:
    found = {"cephray": cli._parser().format_help(), "search": search._parser().format_help()}
    found |= {name: parser.format_help() for name, parser in commands().items()}
    return found | dict(descriptions(Config)) | dict(descriptions(Search, "search."))


def misspelt(text: str) -> list[str]:
    """List names that stand as words of a text in other letters than their own."""
    # No part of a longer word, an option, a path or a file name.
    words = re.findall(r"(?<![\w./-])[A-Za-z][\w-]*(?![\w/-]|\.\w)", text)
    own = {name.lower(): name for name in NAMES}
    return [word for word in words if own.get(word.lower(), word) != word]


@pytest.mark.parametrize("command", summaries())
def test_a_command_describes_itself_as_its_summary_is_written(command: str) -> None:
    summary, described = summaries()[command], commands()[command].description
    assert described == f"{summary[0].upper()}{summary[1:]}."


@pytest.mark.parametrize(
    ("summary", "described"),
    [
        ("ROI crop of DICOM films in TensorFlow", "ROI crop of DICOM films in TensorFlow."),
        ("DICOM to PNG", "DICOM to PNG."),
        ("train on a Ray cluster", "Train on a Ray cluster."),
        ("écrire en JSON", "Écrire en JSON."),
    ],
)
def test_a_sentence_keeps_its_letters(summary: str, described: str) -> None:
    assert sentence(summary) == described


def test_names_are_written_in_their_own_letters() -> None:
    found = texts()
    assert {name: misspelt(text) for name, text in found.items() if misspelt(text)} == {}
    assert any("SavedModel" in text for text in found.values())


def test_the_search_for_misspelt_names_finds_them() -> None:
    assert misspelt("Train on a ray cluster. Json, in Tensorflow.") == [
        "ray",
        "Json",
        "Tensorflow",
    ]
    assert misspelt("X-ray, roi-crop, --json FILE, best.yaml, tune/search.py, a GPU.") == []
