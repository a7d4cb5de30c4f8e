"""Strokes of a brush on a result: depth, confidence and picture changed by hand, and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dff import fuse, io, surface
from dff.edits import Edits, Stroke, Window, stroke_distance, stroke_weight, stroke_window
from dff.pipeline.competing import FocusWindow
from dff.pipeline.prepare import coherence
from dff.pipeline.run import make_estimator
from dff.pipeline.sources import AlignedFrames
from dff.stack import DepthMap, FloatArray, Frames, Progress, Reconstruction, silent

HAND_CONFIDENCE = 0.5
"""Confidence of painted depth, or that of --min-confidence where it is more: shown, as the least certain of all."""
HAND_SIGMA_FRAMES = 0.5
"""Standard deviation of a frame chosen by eye: it is a whole one, and its neighbours look alike."""

_RIM_PX = 4
"""A filled area is held by what is known this close to it."""
_SEAM_PX = 1.5
"""Where only a part of a stroke has another depth, its picture fades into the rest over about this much."""


def needed_frames(result: Reconstruction, edits: Edits) -> list[int]:
    """Frames that applying some edits reads.

    Raises:
        ValueError: edits of another picture, or a frame that there is not.
    """
    check_edits(result, edits)
    if any(stroke.kind in ("nearer", "farther") for stroke in edits):
        return list(range(len(result.geometry)))
    return list(edits.frames)


def retouch(
    result: Reconstruction, edits: Edits, frames: Frames | None = None, *, on_progress: Progress = silent
) -> Reconstruction:
    """A result with strokes applied in their order; the result itself stays as it is.

    - "frame": the pixels of that frame and its number as index, where it covers the picture.
    - "fill": a membrane between what is known around the stroke; the picture stays.
    - "unknown": no depth; the picture stays.
    - "nearer", "farther": the peak of the focus curve that competes with the present index, and the pixels there;
      what has no such peak stays.

    Depth changes where the brush covers at least half of a pixel; the picture fades with the brush.

    Args:
        result: What `reconstruct` or `read_reconstruction` gave.
        edits: Strokes in pixels of the result.
        frames: The frames it was made from, not aligned; needed for those that `needed_frames` names.
        on_progress: Called as (stage, done, total).

    Raises:
        ValueError: edits of another picture, or a frame that there is not.
        OSError: a frame cannot be read.
    """
    check_edits(result, edits)
    canvas = _Canvas.of(result)
    if frames is None:
        _paint(canvas, edits, None, None, on_progress)
    else:
        picture = result.all_in_focus
        white = float(np.iinfo(picture.dtype).max) if np.issubdtype(picture.dtype, np.integer) else 1.0
        aligned = AlignedFrames(frames, result.alignment, white)
        sided = [stroke for stroke in edits if stroke.kind in ("nearer", "farther")]
        if sided:
            with _focus_window(result, aligned, sided, on_progress) as window:
                _paint(canvas, edits, aligned, window, on_progress)
        else:
            _paint(canvas, edits, aligned, None, on_progress)
    depth = DepthMap(canvas.index, canvas.confidence, canvas.sigma)
    return replace(result, depth=depth, all_in_focus=canvas.picture, edits=edits.counts)


def check_edits(result: Reconstruction, edits: Edits) -> None:
    """Refuse strokes that were painted on another result.

    Raises:
        ValueError: another size, or a frame that there is not.
    """
    if not len(edits):
        return
    size, count = result.depth.index.shape, len(result.geometry)
    if tuple(edits.size_px) != size:
        got = f"{edits.size_px[1]} x {edits.size_px[0]} px for {size[1]} x {size[0]} px"
        raise ValueError(f"edits: must be painted on this result; got strokes on {got}; name the other result")
    beyond = [k for k in edits.frames if k >= count]
    if beyond:
        raise ValueError(f"edits: frames must be from 0 to {count - 1}; got {beyond[0]}; name the other result")


@dataclass(frozen=True)
class _Canvas:
    """What strokes change, in place."""

    index: NDArray[np.float32]
    confidence: NDArray[np.float32]
    sigma: NDArray[np.float32]
    picture: NDArray[np.generic]
    least_confidence: np.float32
    """What is less confident is not exported, and holds no fill where anything else does."""
    nearer: int
    """1 where higher frame numbers are nearer to the camera, else -1."""

    @staticmethod
    def of(result: Reconstruction) -> _Canvas:
        depth, z = result.depth, result.geometry.z
        index, confidence, sigma = (
            np.array(plane, np.float32) for plane in (depth.index, depth.confidence, depth.sigma)
        )
        nearer = 1 if z[-1] > z[0] else -1
        return _Canvas(
            index, confidence, sigma, result.all_in_focus.copy(), np.float32(result.settings.min_confidence), nearer
        )

    def lay(
        self, window: Window, area: NDArray[np.bool_], index: FloatArray | float, sigma: FloatArray | float
    ) -> None:
        """Painted depth in an area of a window."""
        self.index[window][area] = index
        self.sigma[window][area] = sigma
        self.confidence[window][area] = max(HAND_CONFIDENCE, float(self.least_confidence))

    def blend(self, window: Window, weight: FloatArray, light: FloatArray) -> None:
        """Let (h, w, C) pixels, white at one, cover the picture by (h, w) weights."""
        picture = self.picture[window]
        touched = weight > 0
        share = weight[touched][:, None]
        old = fuse.frame_tensor(picture).numpy().transpose(1, 2, 0)[touched]
        mixed = np.where(share < 1, old * (1 - share) + light[touched] * share, light[touched])
        planes = np.ascontiguousarray(mixed.T, dtype=np.float32)[:, None]
        picture[touched] = fuse.to_dtype(torch.from_numpy(planes), picture.dtype)[0]


def _focus_window(
    result: Reconstruction, frames: AlignedFrames, strokes: Sequence[Stroke], on_progress: Progress
) -> FocusWindow:
    """The frames around all strokes that ask for another depth."""
    estimator = make_estimator(result.settings, result.geometry).of_energies()
    estimator = replace(estimator, z_sigma_frames=coherence(result.settings, result.alignment))
    size = result.alignment.size_px
    margin = 2 * estimator.halo_px
    windows = [stroke_window(stroke, size, margin) for stroke in strokes]
    rows, columns = (
        slice(min(w[axis].start for w in windows), max(w[axis].stop for w in windows)) for axis in range(2)
    )
    folder = Path(result.settings.scratch or io.temporary_folder())
    return FocusWindow(frames, (rows, columns), estimator, folder, on_progress)


def _paint(
    canvas: _Canvas, edits: Edits, frames: AlignedFrames | None, focus: FocusWindow | None, on_progress: Progress
) -> None:
    reader = _Reader(frames)
    for step, stroke in enumerate(edits):
        window = stroke_window(stroke, edits.size_px)
        if window[0].start < window[0].stop and window[1].start < window[1].stop:
            distance = stroke_distance(stroke, window)
            weight, area = stroke_weight(stroke, distance), distance <= stroke.reach_px
            if stroke.kind == "unknown":
                _forget(canvas, window, area)
            elif stroke.kind == "fill":
                _fill(canvas, stroke, edits.size_px)
            elif stroke.kind == "frame":
                _take_frame(canvas, stroke, window, weight, area, reader)
            elif focus is not None:
                _take_side(canvas, stroke, window, weight, area, focus)
        on_progress("apply edits", step + 1, len(edits))


@dataclass
class _Reader:
    """Frames for strokes, the last one kept: strokes of one frame follow each other."""

    frames: AlignedFrames | None
    last: int = -1
    pixels: NDArray[np.float32] | None = None
    covered: NDArray[np.bool_] | None = None

    def read(self, k: int, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(h, w, C) pixels of frame k, white at one, and (h, w) where it covers them."""
        if self.frames is None:
            raise ValueError(f"frames: must be given for strokes that take frame {k}; got none; give the source frames")
        if k != self.last or self.pixels is None or self.covered is None:
            self.pixels = self.frames.light(k, self.frames.warped(k))
            self.covered, self.last = self.frames.covered(k), k
        return self.pixels[window], self.covered[window]


def _forget(canvas: _Canvas, window: Window, area: NDArray[np.bool_]) -> None:
    canvas.index[window][area] = np.nan
    canvas.sigma[window][area] = np.nan
    canvas.confidence[window][area] = 0


def _fill(canvas: _Canvas, stroke: Stroke, size_px: tuple[int, int]) -> None:
    wide = stroke_window(stroke, size_px, _RIM_PX)
    area = stroke_distance(stroke, wide) <= stroke.reach_px
    sure = np.where(canvas.confidence[wide] >= canvas.least_confidence, canvas.index[wide], np.float32(np.nan))
    rim = sure if np.isfinite(sure[~area]).any() else canvas.index[wide]
    index, sigma = surface.fill_smoothly(rim, canvas.sigma[wide], area)
    held = np.isfinite(index)
    if (area & ~held).any():
        warnings.warn(
            "edits: a fill must touch known depth; got a stroke in unknown ground, which stays unknown", stacklevel=2
        )
    canvas.lay(wide, held, index[held], sigma[held])


def _take_frame(
    canvas: _Canvas, stroke: Stroke, window: Window, weight: FloatArray, area: NDArray[np.bool_], reader: _Reader
) -> None:
    k = int(stroke.frame or 0)
    light, covered = reader.read(k, window)
    canvas.blend(window, np.where(covered, weight, np.float32(0)), light)
    canvas.lay(window, area & covered, k, HAND_SIGMA_FRAMES)


def _take_side(
    canvas: _Canvas, stroke: Stroke, window: Window, weight: FloatArray, area: NDArray[np.bool_], focus: FocusWindow
) -> None:
    side = canvas.nearer if stroke.kind == "nearer" else -canvas.nearer
    before = canvas.index.copy()
    for tile, depth, light in focus.competing(window, before, side):
        inside = tuple(slice(t.start - w.start, t.stop - w.start) for t, w in zip(tile, window))
        found = depth.known
        seam = cv2.GaussianBlur(found.astype(np.float32), (0, 0), _SEAM_PX) * found
        canvas.blend(tile, weight[inside] * seam, light)
        taken = found & area[inside]
        for plane, values in (
            (canvas.index, depth.index),
            (canvas.sigma, depth.sigma),
            (canvas.confidence, depth.confidence),
        ):
            plane[tile][taken] = values[taken]
