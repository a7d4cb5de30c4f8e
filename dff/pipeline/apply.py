"""Edits painted on a result, applied to its folder; the untouched result stays beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dff import io, surface
from dff.edits import Edits
from dff.pipeline.folder import write_previews, write_surfaces
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.retouching import needed_frames, retouch
from dff.pipeline.sources import source_frames
from dff.stack import Progress, Reconstruction, silent

USER_FILES = ("measurements.json", "edits.json", "originals")
"""What belongs to the user's work on a result, not to the result."""
MADE_FILES = (
    "all_in_focus.*",
    "depth.tif",
    "index.tif",
    "confidence.tif",
    "sigma.tif",
    "alignment.json",
    "reconstruction.json",
    "points.*",
    "mesh.*",
    "previews",
    "originals",
)
"""What is not taken over from the folder as it was."""


def apply_edits(
    folder: str | Path, *, frames: str | Path | None = None, on_progress: Progress = silent
) -> Reconstruction:
    """Apply the edits.json of a result folder to its picture, maps, surfaces and previews.

    Edits are always applied to the untouched result, which is kept in `originals`: applying twice is applying once,
    and without edits the untouched files come back, byte for byte. The folder changes as a whole or not at all.

    Args:
        folder: A result.
        frames: Where the source frames are now; None looks where they were.
        on_progress: Called as (stage, done, total).

    Returns:
        The result as it is now.

    Raises:
        OSError: there is no result, source frames that are needed are gone, or the folder cannot be written.
        ValueError: the result or the edits are damaged or do not belong together.
    """
    target, paths = Path(folder), io.result_paths(folder)
    edits = read_folder_edits(folder)
    base = paths.originals if paths.originals.is_dir() else target
    result = io.read_reconstruction(base)
    if not len(edits):
        if base != target:
            _replace(target, lambda staging: io.link_tree(base, staging, leave_out=("edits.json",)))
        return result
    needed = needed_frames(result, edits)
    source = source_frames(result, needed, moved_to=frames) if needed else None
    painted = retouch(result, edits, source, on_progress=on_progress)

    def fill(staging: Path) -> None:
        if (base / "previews").is_dir():
            io.link_tree(base / "previews", staging / "previews")
        kept = io.result_paths(staging).originals
        io.link_tree(base, kept, leave_out=USER_FILES)
        io.write_edits(edits, kept / "edits.json")
        _write(painted, staging, on_progress)
        if np.array_equal(painted.all_in_focus, result.all_in_focus):
            # Encoding it anew could cost a JPEG its last bits.
            io.link_file(io.result_paths(base).all_in_focus, io.result_paths(staging).all_in_focus)

    _replace(target, fill)
    return painted


def read_folder_edits(folder: str | Path) -> Edits:
    """The edits of a result folder; none where nothing was painted.

    Raises:
        OSError: there is no result.
        ValueError: the edits are damaged.
    """
    path = io.result_paths(folder).edits
    return io.read_edits(path) if path.is_file() else Edits((0, 0))


def describe_edits(folder: str | Path) -> str:
    """What applying the edits of a result folder does, and the frames it needs, in a few lines."""
    paths, edits = io.result_paths(folder), read_folder_edits(folder)
    result = io.read_reconstruction(paths.originals if paths.originals.is_dir() else folder)
    needed = needed_frames(result, edits)
    kinds = ", ".join(f"{count} {kind}" for kind, count in edits.counts.items()) or "none"
    names = ", ".join(result.names[k] for k in needed[:5]) + (", ..." if len(needed) > 5 else "")
    return "\n".join((f"edits      {kinds}", f"frames     {len(needed)} to be read{': ' if needed else ''}{names}"))


def _replace(target: Path, fill: Callable[[Path], None]) -> None:
    """Let a new folder take the place of a result, with everything of the old one that is not made anew."""
    with io.staged_folder(target) as staging:
        io.link_tree(target, staging, leave_out=MADE_FILES)
        fill(staging)
        # The viewer may have written while we worked.
        for name in ("measurements.json", "edits.json"):
            if (target / name).is_file():
                io.link_file(target / name, staging / name)


def _write(result: Reconstruction, folder: Path, on_progress: Progress) -> None:
    stages = Stages(on_progress, Journal())
    settings = result.settings
    shown = surface.select_surface(
        result.depth,
        min_confidence=settings.min_confidence,
        outlier_sigma=settings.outlier_sigma,
        cut_frames=settings.cut_frames,
    )
    if shown.known.any():
        write_surfaces(result, shown, folder, stages)
    write_previews(result, shown, folder, stages)
    io.write_reconstruction(result, folder)
