"""The command line: one subcommand a function, one module a group of commands, no logic of its own.

Only the standard library and `dff.settings` are imported before a command is chosen, so that help is instant.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from typing import NoReturn

from dff import program
from dff.cli.batch import add_batch, add_watch
from dff.cli.frames import add_align, add_fuse, add_info
from dff.cli.methods import add_benchmark, add_export, add_measures, add_simulate, add_train
from dff.cli.options import settings_from
from dff.cli.reconstruct import add_reconstruct
from dff.cli.report import one_line, say, show_warning
from dff.cli.results import add_apply, add_compare, add_convert
from dff.cli.viewers import add_page, add_render, add_view
from dff.settings import VERSION

__all__ = ["INTERRUPTED", "USAGE_ERROR", "build_parser", "main", "run", "settings_from"]

USAGE_ERROR = 2
INTERRUPTED = 130
_COMMANDS = (
    add_reconstruct,
    add_batch,
    add_watch,
    add_align,
    add_fuse,
    add_convert,
    add_info,
    add_measures,
    add_compare,
    add_benchmark,
    add_simulate,
    add_train,
    add_export,
    add_page,
    add_view,
    add_render,
    add_apply,
)
"""In the order of the help."""


def run() -> NoReturn:
    """The command that the process was started with, from its beginning to the end of the process."""
    program.begin()
    program.end(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for input that cannot be used, 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    program.tell_libraries()
    warnings.showwarning = show_warning
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        goes_on = {"reconstruct": "--resume", "batch": "the same command", "watch": "the same command"}
        way = vars(options).get("resume", True) and goes_on.get(options.command.__name__)
        say(f"dff: interrupted; {f'{way} goes on from here' if way else 'no unfinished file was left behind'}")
        return INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        say(f"dff: error: {one_line(error)}")
        return USAGE_ERROR


def build_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand."""
    parser = argparse.ArgumentParser(
        prog="dff", description="A focal stack becomes a sharp picture, a metric depth map and a coloured 3D surface."
    )
    parser.add_argument("--version", action="version", version=f"dff {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    return parser
