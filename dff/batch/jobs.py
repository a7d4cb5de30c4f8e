"""One stack of a batch: what is to be done, and what came of it."""

from __future__ import annotations

import functools
import os
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dff import io, optics, pipeline, preview
from dff.settings import Settings
from dff.stack import FocalStack, Progress, Reconstruction

THUMBNAIL_PX = 240
_QUALITY = 85


@dataclass(frozen=True)
class Job:
    """A stack to reconstruct."""

    name: str
    source: str
    output: str
    thumbnail: str
    settings: Settings
    digest: str = ""
    """Of everything that the result depends on."""
    memory_gb: float = 0.0
    scratch_gb: float = 0.0
    force: bool = False


@dataclass(frozen=True)
class Row:
    """What came of a stack: a line of the table."""

    name: str
    state: str
    """done, kept (from an earlier batch) or failed."""
    error: str = ""
    digest: str = ""
    frames: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    known_percent: float | None = None
    median_confidence: float | None = None
    lowest: float | None = None
    highest: float | None = None
    z_unit: str = ""
    alignment_residual_px: float | None = None
    seconds: float | None = None
    peak_gb: float | None = None
    attempts: int = 1
    warnings: str = ""
    output: str = ""
    again: bool = False
    """Whether a failure may pass: the disk, the network or the memory, not the stack."""


def plan_job(name: str, source: Path, results: Path, thumbnail: Path, settings: Settings, *, force: bool) -> Job:
    """A job with what it takes, from the headers of the frames.

    Raises:
        ValueError, OSError: a stack that cannot be used.
    """
    settings = _of_stack(settings, source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack = pipeline.open_stack(source, settings)
        plan = pipeline.plan_for(stack, settings)
    return Job(
        name=name,
        source=os.path.abspath(source),
        output=os.path.abspath(results / name),
        thumbnail=os.path.abspath(thumbnail),
        settings=settings,
        digest=pipeline.fingerprint(stack, settings),
        memory_gb=plan.memory_gb,
        scratch_gb=plan.scratch_gb + pipeline.kept_gb(stack, settings),
        force=force,
    )


def _of_stack(settings: Settings, source: Path) -> Settings:
    """Settings with whole paths; a table is taken from the stack's own folder where there is one of its name."""
    paths = {name: getattr(settings, name) for name in ("z_file", "alignment", "weights", "scratch")}
    own = source if source.is_dir() else source.parent
    return settings.but(
        **{
            name: os.path.abspath(own / path if name != "scratch" and (own / path).is_file() else path)
            for name, path in paths.items()
            if path
        }
    )


def run_job(job: Job, on_progress: Progress) -> Row:
    """Reconstruct a stack into its folder; a failure is a row too.

    Interrupted or killed, it leaves what it has finished, and the next run of the same job goes on there.
    """
    started = time.perf_counter()
    pipeline.forget_peak()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = _reconstructed(job, pipeline.open_stack(job.source, job.settings), on_progress)
        write_thumbnail(job, result)
    except (OSError, MemoryError, RuntimeError) as error:
        return Row(job.name, "failed", _one_line(error), job.digest, again=True)
    except (ValueError, ImportError) as error:
        return Row(job.name, "failed", _one_line(error), job.digest)
    return row_of(job, result, time.perf_counter() - started)


def _reconstructed(job: Job, stack: FocalStack, on_progress: Progress) -> Reconstruction:
    reconstruct = functools.partial(
        pipeline.reconstruct_to_folder, stack, job.output, job.settings, force=job.force, on_progress=on_progress
    )
    try:
        return reconstruct(resume=True)
    except pipeline.ResumeError:
        return reconstruct(resume=False)


def row_of(job: Job, result: Reconstruction, seconds: float) -> Row:
    """The figures of a result."""
    depth, geometry = result.depth, result.geometry
    known = depth.known
    low, high = np.nanpercentile(depth.index[known], (0.1, 99.9)) if known.any() else (np.nan, np.nan)
    ends = optics.height_map(np.array([low, high], np.float32), geometry)
    residual_px = result.alignment.residual_rms_px
    return Row(
        name=job.name,
        state="done",
        digest=job.digest,
        frames=len(result.names),
        width_px=depth.index.shape[1],
        height_px=depth.index.shape[0],
        known_percent=round(100 * float(known.mean()), 2),
        median_confidence=_rounded(np.median(depth.confidence[known]) if known.any() else np.nan, 3),
        lowest=_rounded(np.min(ends), 5),
        highest=_rounded(np.max(ends), 5),
        z_unit=geometry.z_unit,
        alignment_residual_px=_rounded(residual_px, 3),
        seconds=round(seconds, 2),
        peak_gb=_rounded(pipeline.peak_memory_gb(), 2),
        warnings="; ".join(result.warnings),
        output=job.output,
    )


def _rounded(value: float | np.floating, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def write_thumbnail(job: Job, result: Reconstruction) -> None:
    """Write the sharp picture and the depth side by side, as the table of the batch shows them."""
    sharp = preview.thumbnail(result.all_in_focus, THUMBNAIL_PX)
    depth = io.read_image(io.result_paths(job.output).previews / "depth.png")
    scale = depth.shape[1] * sharp.shape[0] / depth.shape[0]
    pictures = [sharp, preview.thumbnail(depth, max(1, round(scale)))]
    high = min(picture.shape[0] for picture in pictures)
    io.write_image(job.thumbnail, np.concatenate([p[:high] for p in pictures], axis=1), quality=_QUALITY)


def failed(name: str, error: BaseException) -> Row:
    """The row of a stack that cannot be begun."""
    return Row(name, "failed", _one_line(error))


def with_attempts(row: Row, attempts: int) -> Row:
    """A row with the number of attempts it took."""
    return replace(row, attempts=attempts)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
