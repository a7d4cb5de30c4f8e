"""`dff reconstruct`: a focal stack into a result folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dff.cli.options import add_settings, settings_from, sources
from dff.cli.report import progress, say
from dff.cli.viewers import add_browser, show
from dff.settings import Settings


def add_reconstruct(commands: Any) -> None:
    """Add `dff reconstruct`."""
    parser = commands.add_parser(
        "reconstruct",
        help="frames to picture, depth map, point cloud and mesh",
        description="Reconstruct a focal stack into a result folder.",
        epilog="example: dff reconstruct frames/ -o result --step 0.05 --pixel-size 0.004",
    )
    parser.add_argument("stack", nargs="+", help="folder, files, glob pattern, multi-page TIFF or video")
    parser.add_argument("-o", "--output", required=True, help="result folder")
    parser.add_argument("--force", action="store_true", help="replace an existing result")
    parser.add_argument("--resume", action="store_true", help="go on where a killed or interrupted run stopped")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and what it takes")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--view", action="store_true", help="watch the result grow in the browser; Ctrl-C ends")
    add_browser(parser)
    add_settings(parser)
    parser.set_defaults(command=reconstruct)


def reconstruct(options: argparse.Namespace) -> int:
    """`dff reconstruct`: read, reconstruct, write."""
    settings = settings_from(options)
    output = Path(options.output)
    from dff import io, pipeline

    if not options.resume:
        io.check_output(output, force=options.force)
    stack = pipeline.open_stack(sources(options.stack), settings)
    say(pipeline.describe(stack, settings, output))
    if options.dry_run:
        say(pipeline.needs(pipeline.plan_for(stack, settings), stack, settings))
        say(pipeline.told_time(pipeline.forecast(stack, settings)))
        return 0
    with pipeline.compiled_beside(settings.threads, say):
        if options.view:
            return _reconstruct_in_view(stack, output, settings, options)
        with progress(options.quiet) as on_progress:
            result = _to_folder(stack, output, settings, options, on_progress, pipeline.Watcher())
    say(pipeline.summary(result, output))
    return 0


def _to_folder(
    stack: Any,
    output: Path,
    settings: Settings,
    options: argparse.Namespace,
    on_progress: Callable[[str, int, int], None],
    watcher: Any,
) -> Any:
    """The result; what the run takes is said once that is known."""
    from dff import pipeline

    return pipeline.reconstruct_to_folder(
        stack,
        output,
        settings,
        force=options.force,
        resume=options.resume,
        on_progress=on_progress,
        watcher=replace(watcher, on_plan=lambda plan: say(pipeline.needs(plan, stack, settings))),
    )


def _reconstruct_in_view(stack: Any, output: Path, settings: Settings, options: argparse.Namespace) -> int:
    from dff import pipeline
    from viewers.live import live_view

    with live_view(stack, output, settings, port=options.port) as server:
        show(server.address, options)
        with progress(options.quiet) as on_progress:
            told = server.run.telling(on_progress)
            result = _to_folder(stack, output, settings, options, told, server.run.watcher)
        server.finish()
        say(pipeline.summary(result, output))
        say("dff: the browser shows the result; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            server.wait()
    return 0
