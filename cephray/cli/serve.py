"""The command serve: the page to look, correct and measure on."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from cephray.cli.checkpoint_options import (
    FOR_ENSEMBLE,
    add_checkpoint_options,
    add_spacing_option,
)
from cephray.cli.command import Commands
from cephray.errors import InputError

# What the extra `serve` installs, and nothing else does.
_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "grpc_reflection", "mmh3", "watchfiles")


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    serve = commands.add(
        "serve", run_serve, "serve a page to look at films, correct landmarks and measure"
    )
    add_checkpoint_options(serve, repeated=FOR_ENSEMBLE)
    serve.add_argument(
        "--cases",
        type=Path,
        default=Path("cases"),
        metavar="DIR",
        help="folder in which cases are kept; default: %(default)s",
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="address to listen on; any but the default asks for a token",
    )
    serve.add_argument(
        "--port", type=int, default=8000, metavar="P", help="default: %(default)s; 0: a free one"
    )
    serve.add_argument(
        "--replicas", type=int, default=1, metavar="N", help="number of networks; default: 1"
    )
    add_spacing_option(serve)
    serve.add_argument(
        "--analysis",
        action="append",
        default=[],
        metavar="FILE",
        help="YAML file of an analysis of your own, repeatable; those of cephray are there anyway",
    )
    serve.add_argument(
        "--max-megabytes",
        type=float,
        default=100.0,
        metavar="N",
        help="largest file; default: 100",
    )
    serve.add_argument(
        "--max-megapixels", type=float, default=60.0, metavar="N", help="largest film; default: 60"
    )
    serve.add_argument(
        "--max-seconds",
        type=float,
        default=60.0,
        metavar="N",
        help="longest time of a request; default: 60",
    )
    serve.add_argument(
        "--max-waiting",
        type=int,
        default=64,
        metavar="N",
        help="films that are predicted or wait at a time; default: 64",
    )


def run_serve(options: argparse.Namespace) -> None:
    """Serve the page."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"serve needs packages that are not installed ({', '.join(missing)}):"
            " pip install 'cephray[serve]'"
        )
    if not 0 <= options.port <= 65535:
        raise InputError(f"--port must be 0 to 65535; got {options.port}")
    if options.replicas < 1:
        raise InputError(f"--replicas must be at least 1; got {options.replicas}")
    for name in ("spacing", "max_megabytes", "max_megapixels", "max_seconds", "max_waiting"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name.replace('_', '-')} must be above 0; got {value:g}")
    from cephray.serving import Limits, serve_cases

    serve_cases(
        options.cases,
        options.host,
        options.port,
        [str(one) for one in options.checkpoint or ()],
        options.set,
        options.replicas,
        options.spacing,
        Limits(
            options.max_megabytes,
            options.max_megapixels,
            options.max_seconds,
            options.max_waiting,
        ),
        options.analysis,
    )
