"""Options that the commands on marks share: how annotations are read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cephray.cli.command import Parser
from cephray.landmarks import landmark_set_names

if TYPE_CHECKING:
    from cephray.config import DataConfig

LANDMARKS_HELP = f"{', '.join(landmark_set_names())}, or a YAML file"


def add_marks_options(command: Parser) -> None:
    """Add `--landmarks`, `--spacing`, `--ruler` and `--unknown-labels`."""
    command.add_argument(
        "--landmarks", default="isbi2015", metavar="NAME|FILE", help=LANDMARKS_HELP
    )
    command.add_argument(
        "--spacing", type=float, metavar="MM", help="millimetres per pixel of all films"
    )
    command.add_argument(
        "--ruler",
        type=float,
        metavar="MM",
        help="millimetres between the points ruler1 and ruler2 that are marked on the films",
    )
    command.add_argument(
        "--unknown-labels",
        choices=("refuse", "ignore"),
        default="refuse",
        help="what to do with points that are not in the landmark set",
    )


def marks_config(options: argparse.Namespace, **others: Any) -> DataConfig:
    """Return how annotations are read.

    Args:
        options: with those of `add_marks_options`.
        others: further keys of the section `data`.
    """
    from cephray.config import load_config, override

    values = {
        "landmarks": options.landmarks,
        "spacing_mm": options.spacing,
        "ruler_mm": options.ruler,
        "unknown_labels": options.unknown_labels,
        **others,
    }
    return override(load_config(), {f"data.{key}": value for key, value in values.items()}).data
