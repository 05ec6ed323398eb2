"""What all commands share: errors of options in one line, and exit codes.

Exit code 2 is wrong input, 1 a failed run, 143 a run stopped by SIGTERM (pre-emption, or
`ray job stop`), 130 one stopped by Ctrl-C; the line says how to go on. It knows no command.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cephray.config import preset_files
from cephray.errors import InputError, RunError, Stopped

CONFIG_HELP = f"preset ({', '.join(preset_files())}) or YAML file"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that lists what is valid."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._options: list[str] = []
        super().__init__(*args, **kwargs)
        self.set_defaults(parser=self)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument, and remember how it is written."""
        action = super().add_argument(*args, **kwargs)
        self._options += action.option_strings[-1:]
        return action

    def error(self, message: str) -> NoReturn:
        """End the process, exit code 2."""
        self.exit(2, f"{self.prog}: {message}; options here: {' '.join(self._options)}\n")

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse; an unknown argument is refused by the parser of the command that it follows."""
        options, unknown = self.parse_known_args(*args, **kwargs)
        if unknown:
            options.parser.error(f"unknown argument {unknown[0]!r}")
        return options


class Commands:
    """The commands of a program, each with its own parser.

    Args:
        parser: of the program.
    """

    def __init__(self, parser: Parser) -> None:
        self._subparsers = parser.add_subparsers(
            title="commands", required=True, metavar="COMMAND"
        )

    def add(self, name: str, run: Callable[[argparse.Namespace], None], summary: str) -> Parser:
        """Add a command.

        Args:
            name: of the command.
            run: takes the options; see `run_command`.
            summary: of what it does, without a full stop.

        Returns:
            The parser of its options.
        """
        command = self._subparsers.add_parser(
            name, help=summary, description=sentence(summary), allow_abbrev=False
        )
        command.set_defaults(command=run)
        return command


def sentence(summary: str) -> str:
    """Make a summary a sentence: its first letter becomes upper case, all others stay.

    `str.capitalize` would write the others in lower case, and so spoil names.

    Example:
        >>> sentence("train on a Ray cluster")
        'Train on a Ray cluster.'
    """
    return f"{summary[0].upper()}{summary[1:]}."


def run_command(parser: Parser, arguments: Sequence[str] | None) -> int:
    """Run the command that the options name, their attribute `command`.

    Args:
        parser: of the options.
        arguments: command-line arguments. If None, those of the process.

    Returns:
        Its exit code.
    """
    options = parser.parse_args(arguments)
    # Before TensorFlow is imported: its start-up notes are nothing that a user can act upon.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log file shows each epoch as it ends
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except InputError as error:
        return _fail(error, 2)
    except RunError as error:
        return _fail(error, 1)
    except OSError as error:
        return _fail(RunError(_describe(error)), 1)
    except Stopped as stopped:
        return _fail(stopped, stopped.code)
    except KeyboardInterrupt:
        print("cephray: interrupted", file=sys.stderr)
        return 130
    return 0


def make_folder(folder: Path | None) -> None:
    """Create the output folder first, so that a run fails early if it cannot be written."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be written to: {error}") from None


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _fail(error: BaseException, code: int) -> int:
    print(f"cephray: {' '.join(str(error).split())}", file=sys.stderr)
    return code
