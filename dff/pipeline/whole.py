"""The order of the stages, and nothing else: read, order, align, find depth and picture.

The libraries that find depth take as long to load as a few frames to register, which needs none of them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from dff import io
from dff.ahead import meanwhile
from dff.pipeline.first_run import loop_modules
from dff.pipeline.geometry import resolve_geometry, unit_warning
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.plan import Plan
from dff.pipeline.prepare import (
    coherence,
    make_ready,
    ordered,
    recorded_warnings,
    use_threads,
)
from dff.pipeline.watch import UNWATCHED, Watcher
from dff.settings import DEFAULTS, Settings
from dff.stack import FocalStack, Progress, Reconstruction, silent

_LATER = ("dff.focus.stack_pass", "PIL.ImageDraw", "tifffile")
"""What most runs load when they come to it, beside their loops."""


def reconstruct(
    stack: FocalStack,
    settings: Settings = DEFAULTS,
    *,
    scratch: str | Path | None = None,
    on_progress: Progress = silent,
    watcher: Watcher = UNWATCHED,
    journal: Journal | None = None,
) -> Reconstruction:
    """Turn a focal stack into a sharp picture and a depth map.

    Frames are decoded once and moved once; they then lie in one scratch file, from which the stages read strips of
    full-width rows. Memory does not grow with the number of frames beyond the label lattice.

    Args:
        stack: The frames. Their own geometry, if any, stands before that of the settings.
        settings: Every option.
        scratch: Folder for the scratch file; by default that of the settings, else the system's temporary folder.
        on_progress: Called as (stage, done, total).
        watcher: Who is shown what is found as it is found.
        journal: What earlier runs finished of this one; see `open_journal`.

    Raises:
        ValueError: frames or settings that cannot be used.
        OSError: not enough space for the scratch file.
    """
    journal = journal or Journal()
    messages: list[str] = []
    use_threads(settings.threads)
    with recorded_warnings(messages), _plan_coming(stack, settings) as coming:
        shown = _Shown(coming, watcher)

        def tell(stage: str, done: int, total: int) -> None:
            shown.look()
            on_progress(stage, done, total)

        stages = Stages(tell, journal, messages)
        journal.warn_again()
        stack = ordered(stack, settings, stages)
        geometry = stack.geometry or resolve_geometry(stack, settings)
        if note := unit_warning(geometry):
            warnings.warn(note, stacklevel=2)
        watcher.on_start(stack, geometry)
        folder = Path(scratch or settings.scratch or io.temporary_folder())
        with journal.scratch(folder, stack) as frames:
            alignment = make_ready(stack, frames, settings, stages, watcher)
            plan = shown.plan()
            use_threads(settings.threads)
            from dff.pipeline import run

            estimator = run.make_estimator(settings, geometry)
            estimator = replace(estimator, z_sigma_frames=coherence(settings, alignment))
            strips = run.Strips(frames, alignment, estimator, plan, stack.white)
            depth, picture = run.find_depth(strips, stack, settings, stages, watcher)
    return Reconstruction(
        all_in_focus=picture,
        depth=depth,
        geometry=geometry,
        alignment=alignment,
        settings=settings,
        metadata=stack.metadata,
        names=stack.names,
        files=stack.files,
        suffix=stack.suffix,
        timings_s=stages.timings_s,
        warnings=tuple(messages),
    )


@contextmanager
def _plan_coming(stack: FocalStack, settings: Settings) -> Iterator[Future[Plan]]:
    """The plan, made in another thread once the libraries that find depth are loaded; at once where they are."""

    def plan() -> Plan:
        from dff.pipeline import run

        return run.plan_for(stack, settings)

    if "dff.pipeline.run" in sys.modules:
        coming: Future[Plan] = Future()
        coming.set_result(plan())
        yield coming
        return
    with meanwhile(plan, _load_more) as coming:
        yield coming


def _load_more() -> None:
    """Load what most runs load later on, each where it is used first; whatever cannot be loaded fails there."""
    for name in (*loop_modules(), *_LATER):
        import_module(name)


@dataclass
class _Shown:
    """A plan that the watcher is shown as soon as it is there; what keeps it from coming ends the run as soon."""

    coming: Future[Plan]
    watcher: Watcher
    told: bool = False

    def look(self) -> None:
        """Show the plan if it has come."""
        if self.coming.done() and not self.told:
            self.told = True
            self.watcher.on_plan(self.coming.result())

    def plan(self) -> Plan:
        """Wait for the plan."""
        self.coming.exception()
        self.look()
        return self.coming.result()
