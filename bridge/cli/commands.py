"""The command line: one subcommand per module of this package.

A command is a module with `add_arguments(parser)`, which declares its arguments, and `run(arguments)`, which does the
work and returns the exit status. The first line of its docstring is its help.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

COMMANDS = ("doctor", "matrix", "explain", "inspect")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `python -m bridge`; None takes those of this process.

    Returns:
        The exit status. A command line that cannot be understood ends in SystemExit(2) with the usage.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bridge", description="Arrays that travel: what works here, and how."
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        if importlib.util.find_spec(f"bridge.cli.{name}") is None:
            continue
        command = importlib.import_module(f"bridge.cli.{name}")
        summary = (command.__doc__ or "").partition("\n")[0]
        subparser = commands.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status
