"""A result seen from the side without its mesh: the frames are moved sideways by their heights and fused again.

A hair before a far ground, or glass, has no surface that a mesh could show; frames that are moved each by its own
height and fused as before show it all the same. Photographers know it as stereo by shearing the stack.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import io, pipeline
from dff.align.warp import TAPS
from dff.stack import Alignment, FloatArray, FocalStack, Progress, Reconstruction, silent
from dff.surface.back_projection import plane_maps
from dff.surface.cloud import colours_8bit

Picture = NDArray[np.uint8]

_STAGES = ("read frames", "warp", "measure focus", "refine depth", "fuse")
_STEPS = 20


@dataclass(frozen=True)
class Sheared:
    """Small frames of a result that can be fused as seen from the left or right."""

    stack: FocalStack
    result: Reconstruction
    """Its alignment and geometry are those of the small frames."""
    relief: float
    """Factor on the heights."""
    folder: Path
    """For scratch files."""
    drawn: dict[float, Picture] = field(default_factory=dict)
    """Pictures that are made, by angle."""

    def shifts_px(self, angle_deg: float) -> FloatArray:
        """(N,) how far each frame is moved to the right; what lies at the middle of the surface stays."""
        geometry, alignment = self.result.geometry, self.result.alignment
        z = np.asarray(geometry.z, float)
        pixel = plane_maps(geometry, alignment)[:, 0, 0]
        return self.relief * (z - z[self.middle]) * np.tan(np.deg2rad(angle_deg)) / pixel

    @property
    def middle(self) -> int:
        """The frame in whose plane of focus half of the surface lies behind."""
        known = self.result.depth.index[self.result.depth.known]
        return round(float(np.median(known))) if known.size else self.result.alignment.reference

    def views(self, angles_deg: list[float], *, on_progress: Progress = silent, stage: str = "views") -> list[Picture]:
        """What is seen from some angles, positive from the left, cropped to what all of them show.

        Args:
            angles_deg: From the optical axis.
            on_progress: Called as (stage, done, total).
            stage: What to call this.
        """
        missing = [angle for angle in dict.fromkeys(angles_deg) if angle not in self.drawn]
        total = len(missing) * len(_STAGES) * _STEPS
        on_progress(stage, 0, max(total, 1))
        for step, angle in enumerate(missing):
            self.drawn[angle] = self._fused(angle, _part(on_progress, stage, step, len(missing)))
        on_progress(stage, max(total, 1), max(total, 1))
        edge = max(self._reach_px(angle) for angle in angles_deg)
        width = self.stack.shape[1]
        return [self.drawn[angle][:, edge : width - edge] for angle in angles_deg]

    def _reach_px(self, angle_deg: float) -> int:
        """How wide a border misses some frame of the surface; at most a quarter of the width."""
        known = self.result.depth.index[self.result.depth.known]
        low, high = np.percentile(known, (0.5, 99.5)) if known.size else (0, 0)
        shifts = self.shifts_px(angle_deg)[int(low) : int(np.ceil(high)) + 1]
        return min(int(np.ceil(np.abs(shifts).max())) + TAPS, self.stack.shape[1] // 4)

    def _fused(self, angle_deg: float, on_progress: Progress) -> Picture:
        """One view by the same stages as the result's own picture."""
        alignment = self.result.alignment
        shear = np.tile(np.eye(3), (len(alignment), 1, 1))
        shear[:, 0, 2] = self.shifts_px(angle_deg)
        path = self.folder / "sheared.json"
        moved = replace(alignment, transforms=shear @ alignment.transforms, reference=self.middle)
        io.write_alignment(moved, path, names=self.stack.names)
        settings = self.result.settings.but(alignment=str(path), order="name", z_file=None)
        with warnings.catch_warnings():
            # Whatever there is to say was said when the result was made.
            warnings.simplefilter("ignore", UserWarning)
            fused = pipeline.reconstruct(self.stack, settings, scratch=self.folder, on_progress=on_progress)
        return colours_8bit(fused.all_in_focus)


def _part(on_progress: Progress, stage: str, step: int, count: int) -> Progress:
    """Progress of one view as a part of that of all."""

    def inner(name: str, done: int, total: int) -> None:
        if name in _STAGES:
            share = _STAGES.index(name) + done / max(total, 1)
            on_progress(stage, round((step * len(_STAGES) + share) * _STEPS), count * len(_STAGES) * _STEPS)

    return inner


@contextmanager
def sheared_frames(
    result: Reconstruction,
    *,
    size_px: tuple[int, int],
    relief: float,
    moved_to: str | Path | None = None,
    on_progress: Progress = silent,
) -> Iterator[Sheared]:
    """The frames of a result, ready to be seen from the side.

    Args:
        result: What `read_reconstruction` gave.
        size_px: (H, W) that the pictures stay within.
        relief: Factor on the heights.
        moved_to: Folder, or file, where the frames are now; None looks where they were.
        on_progress: Called as ("read frames", done, total).

    Raises:
        OSError: the frames are not there.
        ValueError: the result does not tell where its frames are.
    """
    count, picture = len(result.names), result.all_in_focus
    source = pipeline.source_frames(result, range(count), moved_to=moved_to)
    small = _small_size(result.alignment.size_px, size_px)
    shape = (*small, picture.shape[2])
    with (
        tempfile.TemporaryDirectory(dir=result.settings.scratch) as folder,
        io.ScratchStack.create(folder, count, shape, picture.dtype) as frames,
    ):
        for k in range(count):
            on_progress("read frames", k, count)
            shrunk = cv2.resize(source[k], small[::-1], interpolation=cv2.INTER_AREA)
            frames.write_frame(k, shrunk.reshape(shape))
        on_progress("read frames", count, count)
        scaled = scaled_result(result, small)
        stack = FocalStack(frames, result.names, shape, picture.dtype, geometry=scaled.geometry)
        yield Sheared(stack, scaled, relief, Path(folder))


def _small_size(size_px: tuple[int, ...], limit_px: tuple[int, int]) -> tuple[int, int]:
    share = min(1.0, limit_px[0] / size_px[0], limit_px[1] / size_px[1])
    return max(1, round(size_px[0] * share)), max(1, round(size_px[1] * share))


def scaled_result(result: Reconstruction, size_px: tuple[int, int]) -> Reconstruction:
    """A result whose geometry and alignment are those of its frames resized to (H, W); maps and picture stay."""
    alignment, geometry = result.alignment, result.geometry
    sy, sx = (new / old for new, old in zip(size_px, alignment.size_px))
    resize = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    moved: Alignment = replace(
        alignment,
        transforms=resize @ alignment.transforms @ np.linalg.inv(resize),
        residual_px=alignment.residual_px * sx,
        size_px=size_px,
    )
    centre_px = np.asarray(geometry.centre_px) * (sx, sy) + resize[:2, 2]
    return replace(
        result, alignment=moved, geometry=replace(geometry, pixel=np.asarray(geometry.pixel) / sx, centre_px=centre_px)
    )
