"""Depths that compete in a part of the picture, measured again from the frames: the nearer or the farther one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import fuse, io, surface
from dff.depth import LATTICE, DepthEstimator, Sites, lattice_volume
from dff.depth.sides import beyond_valley
from dff.edits import Window
from dff.pipeline.sources import AlignedFrames
from dff.stack import DepthMap, FloatArray, Progress

_TILE_PX = 384
_CONTEXT_PX = 8 * LATTICE
"""Labels are smoothed with this much around a tile, besides what the focus measure needs."""
_LEAST_CONFIDENCE = 0.5
"""A peak that is less probable than this does not compete."""
_PATCH_PX = 13
"""The other depth is taken where most of the pixels this far around have one: it is a surface, not a speckle."""


class FocusWindow:
    """The aligned frames of a window of the picture, kept on disk until it is closed."""

    def __init__(
        self, frames: AlignedFrames, window: Window, estimator: DepthEstimator, folder: Path, on_progress: Progress
    ) -> None:
        """Read all frames once, into a scratch file in a folder."""
        self.source, self.window, self.estimator = frames, window, estimator
        first = frames.warped(0)[window]
        self.kept = io.ScratchStack.create(folder, len(frames), first.shape, first.dtype)
        for k in range(len(frames)):
            self.kept.write_frame(k, first if k == 0 else frames.warped(k)[window])
            on_progress("read frames", k + 1, len(frames))

    def __enter__(self) -> FocusWindow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kept.close()

    def competing(self, part: Window, index: FloatArray, side: int) -> Iterator[tuple[Window, DepthMap, FloatArray]]:
        """The depth behind the next valley of the focus curve, tile by tile.

        Args:
            part: Window of the picture, inside this one.
            index: (H, W) index of the whole picture that the other depth competes with.
            side: 1 toward higher frame numbers, -1 toward lower ones.

        Yields:
            A tile of the part, its depth (unknown where nothing competes), and its (h, w, C) picture, white at one.
        """
        for tile in _tiles(part):
            around = self._widened(tile)
            images = self._images(around)
            depth = _coherent(self._depth(images, around, index[around], side))
            inside = tuple(slice(t.start - a.start, t.stop - a.start) for t, a in zip(tile, around))
            cut = DepthMap(*(plane[inside] for plane in (depth.index, depth.confidence, depth.sigma)))
            yield tile, cut, _picked(images[..., inside[0], inside[1]], cut.index)

    def _widened(self, tile: Window) -> Window:
        margin = self.estimator.halo_px + _CONTEXT_PX
        rows, columns = (
            slice(max(t.start - margin, w.start), min(t.stop + margin, w.stop)) for t, w in zip(tile, self.window)
        )
        return rows, columns

    def _images(self, around: Window) -> Tensor:
        """(N, C, h, w) at the reference's brightness; what a frame does not cover is its neighbour's."""
        rows, columns = around
        top, left = (part.start for part in self.window)
        reference = self.source.alignment.reference
        shape = (len(self.source), self.kept.shape[2], rows.stop - rows.start, columns.stop - columns.start)
        images = torch.empty(shape)
        for k in sorted(range(len(self.source)), key=lambda k: abs(k - reference)):
            pixels = self.kept.read_frame_rows(k, rows.start - top, rows.stop - top)
            planes = self.source.light(k, pixels[:, columns.start - left : columns.stop - left]).transpose(2, 0, 1)
            images[k] = torch.from_numpy(np.ascontiguousarray(planes))
            if k != reference:
                bare = torch.from_numpy(~self.source.covered(k)[around])
                images[k] = torch.where(bare, images[k - 1 if k > reference else k + 1], images[k])
        return images

    def _depth(self, images: Tensor, around: Window, index: FloatArray, side: int) -> DepthMap:
        estimator = self.estimator
        volume = estimator.volume(images)
        behind, found = beyond_valley(volume, torch.from_numpy(np.ascontiguousarray(index)), side)
        labels = estimator.regularise(Sites.of(lattice_volume(behind)))
        labels = replace(labels, noise_logit=Sites.of(lattice_volume(volume)).noise_logit())
        refined = estimator.refine(behind, labels)
        known = found.numpy() & np.isfinite(refined.index.numpy()) & ~self._beside_uncovered(refined.label, around)
        nothing = np.float32(np.nan)
        return DepthMap(
            np.where(known, refined.index.numpy(), nothing),
            np.where(known, refined.confidence.numpy(), np.float32(0)),
            np.where(known, refined.sigma.numpy(), nothing),
        )

    def _beside_uncovered(self, label: Tensor, around: Window) -> NDArray[np.bool_]:
        """Where a frame next to the label does not cover the pixel and the window of the focus measure."""
        beside = np.zeros(label.shape, bool)
        margin = 2 * self.estimator.border_px + 1
        square = np.ones((margin, margin), np.uint8)
        for k in range(len(self.source)):
            covered = self.source.covered(k)
            if not covered.all():
                inner = cv2.erode(covered.astype(np.uint8), square)[around] > 0
                beside |= ~inner & (np.abs(label.numpy() - k) <= 1)
        return beside


def _coherent(depth: DepthMap) -> DepthMap:
    """The depth where it is that of a surface, its gaps closed; unknown elsewhere."""
    sure = depth.known & (depth.confidence >= _LEAST_CONFIDENCE)
    taken = cv2.blur(sure.astype(np.float32), (_PATCH_PX, _PATCH_PX)) > 0.5
    nothing = np.float32(np.nan)
    index, sigma = (np.where(sure & taken, plane, nothing) for plane in (depth.index, depth.sigma))
    between, deviation = surface.fill_smoothly(index, sigma, taken & ~sure)
    index, sigma = np.where(sure, index, between), np.where(sure, sigma, deviation)
    confidence = np.where(sure, depth.confidence, np.float32(_LEAST_CONFIDENCE))
    return DepthMap(index, np.where(np.isfinite(index), confidence, np.float32(0)), sigma)


def _tiles(part: Window) -> Iterator[Window]:
    rows, columns = part
    for top in range(rows.start, rows.stop, _TILE_PX):
        for left in range(columns.start, columns.stop, _TILE_PX):
            yield slice(top, min(top + _TILE_PX, rows.stop)), slice(left, min(left + _TILE_PX, columns.stop))


def _picked(images: Tensor, index: FloatArray) -> FloatArray:
    """(h, w, C) the frames at the index; any frame where it is unknown."""
    if not np.isfinite(index).any():
        return np.zeros((*index.shape, images.shape[1]), np.float32)
    known = np.nan_to_num(index, nan=float(np.nanmin(index)))
    picture = fuse.all_in_focus(images, index=torch.from_numpy(known), method="pick")
    return np.asarray(picture.numpy().transpose(1, 2, 0))
