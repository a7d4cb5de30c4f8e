"""Blending on the processor: only those blocks of a frame are looked at in which it has weight, with their context."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.ahead import ahead
from dff.filters import gaussian_kernel
from dff.fuse.bands import collapse
from dff.fuse.cells import largest_around
from dff.fuse.frames import FrameStack, Window
from dff.fuse.weights import PlaneOf, WindowWeights
from dff.stack import FloatArray

_BLOCK_PX = 16
_NOWHERE = np.empty((0, 0), bool)


@dataclass(frozen=True)
class Blocks:
    """The blocks of a picture, and those that count."""

    size: tuple[int, int]
    levels: int
    wanted: Window
    """Rows and columns of pixels, from a block's first to a block's last."""

    @classmethod
    def of(cls, size: tuple[int, int], levels: int, inside: Window) -> Blocks:
        """All blocks that a part of the picture depends on once their bands are there."""
        block = max(_BLOCK_PX, 2**levels)
        spans = [part.indices(side)[:2] for part, side in zip(inside, size)]
        rows, columns = (
            slice(max(0, start // block * block - block), min(side, -(-stop // block) * block + 2 * block))
            for (start, stop), side in zip(spans, size)
        )
        return cls(size, levels, (rows, columns))

    @property
    def side_px(self) -> int:
        return max(_BLOCK_PX, 2**self.levels)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of blocks."""
        return -(-self.size[0] // self.side_px), -(-self.size[1] // self.side_px)

    def halo_px(self, level: int, reach: int) -> int:
        """Pixels of a level around a block that its bands depend on, energies being smoothed over a reach."""
        steps = 2 ** (self.levels - level)
        return reach * steps + 2 * (steps - 1)

    def of_wanted(self, blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(b, c) those that count."""
        rows, columns = (slice(part.start // self.side_px, -(-part.stop // self.side_px)) for part in self.wanted)
        found = np.zeros_like(blocks)
        found[rows, columns] = blocks[rows, columns]
        return found

    def cut(self, blocks: NDArray[np.bool_], reach: int) -> tuple[Window, NDArray[np.bool_]]:
        """The window that holds some blocks and what they depend on, and the blocks in it."""
        margin = -(-self.halo_px(0, reach) // self.side_px)
        spans = []
        for axis, count in enumerate(self.shape):
            there = np.nonzero(blocks.any(1 - axis))[0]
            spans.append((max(0, int(there[0]) - margin), min(count, int(there[-1]) + 1 + margin)))
        (top, bottom), (left, right) = spans
        rows, columns = (
            slice(first * self.side_px, min(stop * self.side_px, side)) for (first, stop), side in zip(spans, self.size)
        )
        return (rows, columns), np.ascontiguousarray(blocks[top:bottom, left:right])


@dataclass(frozen=True)
class Share:
    """What a frame weighs in a window."""

    frame: int
    window: Window
    blocks: NDArray[np.bool_]
    """(b, c) of the window's blocks, those with weight."""
    weight: FloatArray
    """(h, w), in these blocks."""


@dataclass(frozen=True)
class Detail:
    """How detail decides."""

    gains: Sequence[float]
    """One over the energy of noise in each band."""
    clipped: FloatArray
    """(H, W) one where it does not, else zero."""
    sigma_px: float
    """Of the Gaussian that energy is smoothed by."""

    @functools.cached_property
    def taps(self) -> NDArray[np.float32]:
        return gaussian_kernel(self.sigma_px)

    @property
    def reach(self) -> int:
        return len(self.taps) // 2


def plane_shares(stack: FrameStack, weight: PlaneOf, blocks: Blocks, reach: int) -> Iterator[Share]:
    """Weights that are given plane by plane."""
    from dff.fuse.blend_loops import occupied

    for k in range(stack.count):
        plane = weight(k)
        plane = plane if stack.bare is None else torch.where(stack.bare, 1.0, plane)
        values, found = plane.contiguous().numpy(), np.zeros(blocks.shape, bool)
        occupied(values, blocks.side_px, found)
        found = blocks.of_wanted(found)
        if found.any():
            window, inner = blocks.cut(found, reach)
            yield Share(k, window, inner, np.ascontiguousarray(values[window]))


@dataclass(frozen=True)
class Near:
    """How far the weights of frames spread."""

    cell_px: int
    cells: int
    """Within so many cells of so many pixels"""
    share: float
    """they count by this share."""


def window_shares(
    stack: FrameStack, weight: WindowWeights, near: Near, clipped: FloatArray, blocks: Blocks, reach: int
) -> Iterator[Share]:
    """Window weights, and shares of what frames have near by."""
    from dff.fuse import blend_loops

    planes = tuple(plane.contiguous().numpy() for plane in (weight.index, weight.gap, weight.reach))
    size = [-(-side // near.cell_px) for side in blocks.size]
    low, high, largest = (np.empty(size, np.float32) for _ in range(3))
    blend_loops.frame_range(*planes, near.cell_px, low, high)
    bare = _NOWHERE if stack.bare is None else stack.bare.numpy()
    for k in range(stack.count):
        valid = stack.valid_in(k).contiguous().numpy()
        some = blend_loops.runs_of((low < k) & (k < high), 1, 0, *size)
        blend_loops.largest_in_cells(np.float32(k), some, *planes, valid, near.cell_px, largest)
        around = largest_around(largest, near.cells)
        found = np.zeros(blocks.shape, bool)
        blend_loops.occupied(around, blocks.side_px // near.cell_px, found)
        if len(bare):
            blend_loops.occupied(bare.view(np.uint8), blocks.side_px, found)
        found = blocks.of_wanted(found)
        if not found.any():
            continue
        window, inner = blocks.cut(found, reach)
        share = Share(k, window, inner, np.empty([part.stop - part.start for part in window], np.float32))
        given = np.float32(k), *planes, clipped, around, np.float32(near.share), valid, bare
        runs = blend_loops.runs_of(inner, blocks.side_px, 0, *share.weight.shape)
        blend_loops.weigh(*given, window[0].start, window[1].start, near.cell_px, runs, share.weight)
        yield share


def blend_blocks(stack: FrameStack, shares: Iterator[Share], blocks: Blocks, detail: Detail) -> Tensor:
    """(C, H, W) the blended picture in the blocks that count, zero elsewhere."""
    from dff.fuse.blend_loops import planes_of, runs_of

    sums: list[FloatArray] = []
    totals = [np.zeros(side, np.float32) for side in _sizes(blocks)]
    for share, (pixels, scale) in ahead(lambda share: (share, stack.pixels(share.frame, share.window)), shares):
        if not sums:
            sums = [np.zeros((pixels.shape[2], *total.shape), np.float32) for total in totals]
        planes = np.empty((pixels.shape[2], *share.weight.shape), np.float32)
        runs = runs_of(share.blocks, blocks.side_px, blocks.halo_px(0, detail.reach), *share.weight.shape)
        planes_of(pixels, np.float32(scale), runs, planes)
        _add(planes, share, blocks, detail, sums, totals)
    bands = [torch.from_numpy(band).div_(torch.from_numpy(total)) for band, total in zip(sums, totals)]
    picture = collapse(bands)
    if picture.shape[1:] == blocks.size:
        return picture
    whole = picture.new_zeros((len(picture), *blocks.size))
    whole[:, blocks.wanted[0], blocks.wanted[1]] = picture
    return whole


def _sizes(blocks: Blocks) -> list[tuple[int, ...]]:
    sides = [part.stop - part.start for part in blocks.wanted]
    return [tuple(-(-side >> level) for side in sides) for level in range(blocks.levels + 1)]


def _add(
    fine: FloatArray,
    share: Share,
    blocks: Blocks,
    detail: Detail,
    sums: Sequence[FloatArray],
    totals: Sequence[FloatArray],
) -> None:
    """Add a frame's bands times their weights."""
    from dff.fuse import blend_loops as loops

    corner = share.window[0].start, share.window[1].start
    offsets = [part.start - whole.start for part, whole in zip(share.window, blocks.wanted)]
    for level in range(blocks.levels):
        side, size = blocks.side_px >> level, fine.shape[1:]
        coarse = np.empty((len(fine), *(-(-side_px // 2) for side_px in size)), np.float32)
        halo_px = blocks.halo_px(level + 1, detail.reach)
        loops.halve(fine, loops.runs_of(share.blocks, side // 2, halo_px, *coarse.shape[1:]), coarse)
        runs = loops.runs_of(share.blocks, side, detail.reach, *size)
        band, energy = np.empty_like(fine), np.empty(size, np.float32)
        loops.band_of(fine, coarse, runs, band, energy)
        loops.smooth_rows(energy, detail.taps, runs)
        gain = np.float32(detail.gains[level] / len(fine))
        decided = band, energy, detail.taps, gain, detail.clipped, corner, share.weight, 1 << level
        place = (offset >> level for offset in offsets)
        loops.add_band(*decided, loops.runs_of(share.blocks, side, 0, *size), *place, sums[level], totals[level])
        fine = coarse
    last = blocks.levels
    runs = loops.runs_of(share.blocks, blocks.side_px >> last, 0, *fine.shape[1:])
    place = (offset >> last for offset in offsets)
    loops.add_rest(fine, share.weight, 1 << last, runs, *place, sums[last], totals[last])
