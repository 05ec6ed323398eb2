"""The command line: its commands, by families.

Heavy packages are imported by the command that needs them, so that `cephray --help` answers at
once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cephray import __version__
from cephray.cli import (
    adapt,
    benchmark,
    convert_checkpoint,
    data,
    evaluate,
    info,
    measure,
    predict,
    serve,
    train,
)
from cephray.cli.command import Commands, Parser, run_command

FAMILIES = (
    info,
    data,
    train,
    adapt,
    evaluate,
    predict,
    serve,
    measure,
    convert_checkpoint,
    benchmark,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return run_command(_parser(), arguments)


def _parser() -> Parser:
    parser = Parser(prog="cephray", description="Distributed cephalometric landmark detection.")
    parser.add_argument("--version", action="version", version=f"cephray {__version__}")
    commands = Commands(parser)
    for family in FAMILIES:
        family.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
