"""What a command says as it goes, all of it on standard error: progress bars, warnings, lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """A callback that draws one bar a stage with the time left; silent when asked or not on a terminal."""
    from dff.stack import silent

    if quiet:
        yield silent
        return
    with _bars() as bars:
        tasks: dict[str, Any] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield on_progress


@contextmanager
def batch_progress(quiet: bool) -> Iterator[Any]:
    """Callbacks for stages and rows: a bar for all stacks, one for each at work, and a line for each that ended."""
    if quiet:
        yield (lambda *_: None), (lambda *_: None)
        return
    with _bars() as bars:
        every = bars.add_task("stacks", total=None)
        tasks: dict[str, Any] = {}

        def on_stage(job: str, stage: str, done: int, total: int) -> None:
            if job not in tasks:
                tasks[job] = bars.add_task(job)
            bars.update(tasks[job], description=f"{job}: {stage}", completed=done, total=total)

        def on_row(row: Any, total: int | None = None) -> None:
            if row.name in tasks:
                bars.remove_task(tasks.pop(row.name))
            bars.update(every, advance=1, total=total)
            bars.console.print(f"{row.state:<7} {row.name} {row.error}".rstrip(), markup=False, highlight=False)

        yield on_stage, on_row


def _bars() -> Any:
    """Progress bars with the number of steps and the time left, on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


def show_warning(message: Any, category: Any, filename: Any, lineno: Any, file: Any = None, line: Any = None) -> None:
    """Say a warning in one line, in place of Python's own two."""
    say(f"dff: warning: {one_line(message)}")


def one_line(message: object) -> str:
    """A message without its line breaks."""
    return " ".join(str(message).split())


def say(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(text + "\n")
