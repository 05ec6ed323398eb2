"""The command info."""

from __future__ import annotations

import argparse
import json

from cephray.cli.command import Commands
from cephray.progress import import_tensorflow


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    info = commands.add("info", run_info, "show versions, devices and build of the op")
    info.add_argument("--json", action="store_true", help="print JSON")


def run_info(options: argparse.Namespace) -> None:
    """Print versions, devices and what the op was built for."""
    import_tensorflow()
    from cephray.report import collect, format_info

    facts = collect()
    print(json.dumps(facts, indent=1) if options.json else format_info(facts))
