"""`dff batch` and `dff watch`: many stacks."""

from __future__ import annotations

import argparse
from typing import Any

from dff.cli.options import add_settings, settings_from
from dff.cli.report import batch_progress, progress, say


def add_batch(commands: Any) -> None:
    """Add `dff batch`."""
    parser = commands.add_parser(
        "batch",
        help="many stacks, on all cores or on a Dask cluster",
        description="Reconstruct every stack below a folder; the same command again goes on where the last stopped.",
        epilog="example: dff batch stacks/ -o results --z-file z.csv",
    )
    parser.add_argument("folder", help="folder of stacks: folders of frames, multi-page TIFF files, videos")
    parser.add_argument("-o", "--output", required=True, help="folder for a result folder a stack, and the table")
    parser.add_argument("--force", action="store_true", help="replace results made of other frames or options")
    parser.add_argument("--dry-run", action="store_true", help="list the stacks, and what each and all of them take")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers do it, tcp://host:8786")
    _add_pool(parser, jobs=0, told="as many as cores and memory allow")
    add_settings(parser)
    parser.set_defaults(command=batch)


def add_watch(commands: Any) -> None:
    """Add `dff watch`."""
    parser = commands.add_parser(
        "watch",
        help="new stacks as they arrive",
        description="Reconstruct every stack below a folder once its files have settled, until Ctrl-C.",
        epilog="example: dff watch card/ -o results --step 0.05 --pixel-size 0.004",
    )
    parser.add_argument("folder", help="folder that stacks arrive in")
    parser.add_argument("-o", "--output", required=True, help="folder for a result folder a stack, and the table")
    parser.add_argument(
        "--settle", type=float, default=10, metavar="S", help="files stay as they are so long (default 10)"
    )
    parser.add_argument("--interval", type=float, default=2, metavar="S", help="between looks (default 2)")
    _add_pool(parser, jobs=1, told="1")
    add_settings(parser)
    parser.set_defaults(command=watch)


def _add_pool(parser: argparse.ArgumentParser, *, jobs: int, told: str) -> None:
    parser.add_argument("--jobs", type=int, default=jobs, metavar="N", help=f"stacks at a time (default {told})")
    parser.add_argument(
        "--total-memory", type=float, default=0, metavar="GB", help="memory of all together (default what is free)"
    )
    parser.add_argument("--retries", type=int, default=1, metavar="N", help="further attempts at a stack (default 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def batch(options: argparse.Namespace) -> int:
    """`dff batch`: every stack below a folder; 1 where one failed."""
    from dff.batch import run_batch, summary

    if options.dry_run:
        return _forecast(options)
    with batch_progress(options.quiet) as (on_stage, on_row):
        rows = run_batch(
            options.folder,
            options.output,
            settings_from(options),
            jobs=options.jobs,
            memory_gb=options.total_memory,
            retries=options.retries,
            scheduler=options.scheduler,
            force=options.force,
            on_stage=on_stage,
            on_row=on_row,
        )
    say(summary(rows, options.output))
    return int(any(row.state == "failed" for row in rows))


def _forecast(options: argparse.Namespace) -> int:
    from dff.batch import forecast_batch, told_forecast

    with progress(options.quiet) as on_progress:
        expected = forecast_batch(
            options.folder,
            options.output,
            settings_from(options),
            jobs=options.jobs,
            memory_gb=options.total_memory,
            force=options.force,
            on_progress=on_progress,
        )
    say(told_forecast(expected))
    return 0


def watch(options: argparse.Namespace) -> int:
    """`dff watch`: stacks as they arrive."""
    from dff.batch import watch_folder

    say(f"dff: watching {options.folder}; Ctrl-C ends it")
    with batch_progress(options.quiet) as (on_stage, on_row):
        watch_folder(
            options.folder,
            options.output,
            settings_from(options),
            settle_s=options.settle,
            interval_s=options.interval,
            jobs=options.jobs,
            memory_gb=options.total_memory,
            retries=options.retries,
            on_stage=on_stage,
            on_row=on_row,
        )
    return 0
