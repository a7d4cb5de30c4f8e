"""Registered frames in files of their own, for other programs."""

from __future__ import annotations

from pathlib import Path

from dff import io
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.prepare import make_ready, ordered, use_threads
from dff.settings import DEFAULTS, Settings
from dff.stack import Alignment, FocalStack, Progress, silent


def align_to_folder(
    stack: FocalStack,
    output: str | Path,
    settings: Settings = DEFAULTS,
    *,
    force: bool = False,
    on_progress: Progress = silent,
) -> Alignment:
    """Register the frames of a stack and write them moved onto the reference frame, with alignment.json.

    Frames keep their name, bit depth, ICC profile and EXIF; those of a format without writer become TIFF. What a
    frame does not cover takes the pixels of its neighbour. Brightness is as it was: its gains are in the alignment.

    Args:
        stack: The frames.
        output: Folder to make.
        settings: Every option of order and alignment.
        force: Replace an existing folder.
        on_progress: Called as (stage, done, total).

    Raises:
        ValueError: frames or settings that cannot be used.
        OSError: the output exists, or cannot be written.
    """
    io.check_output(output, force=force, ours=("alignment.json", *_file_names(stack)))
    use_threads(settings.threads)
    stages = Stages(on_progress, Journal())
    stack = ordered(stack, settings, stages)
    with io.staged_folder(output) as staging:
        scratch = Path(settings.scratch or staging)
        with io.ScratchStack.create(scratch, len(stack), stack.shape, stack.dtype) as frames:
            alignment = make_ready(stack, frames, settings, stages)
            names = _file_names(stack)
            with stages.stage("write", len(stack)) as done:
                for k, name in enumerate(names):
                    io.write_image(staging / name, frames.read_frame(k), stack.metadata, quality=settings.jpeg_quality)
                    done(k + 1)
        io.write_alignment(alignment, staging / "alignment.json", names=names)
    return alignment


def _file_names(stack: FocalStack) -> list[str]:
    suffix = io.picture_suffix(stack.suffix, stack.dtype)
    return [f"{_stem(name)}{suffix}" for name in stack.names]


def _stem(name: str) -> str:
    """Name of a frame without its ending; that of a page, "stack.tif[3]", becomes "stack_0003"."""
    file, _, page = name.partition("[")
    return Path(file).stem + (f"_{int(page.rstrip(']')):04}" if page else "")
