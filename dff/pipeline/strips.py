"""The aligned frames, read part by part as the tensors that the stages take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import align
from dff.ahead import ahead, at_once, divided_threads
from dff.covered import Covered
from dff.depth import DepthEstimator, Frames, Labels, Peaks, SeenRows, Sites
from dff.focus import luminance_of
from dff.pipeline.plan import Plan
from dff.pipeline.tiling import LANES, band_spans
from dff.stack import Alignment

Span = tuple[int, int]
WHOLE = (slice(None), slice(None))
_SEEN_SHARE = 4
"""A network takes some times as long as it takes to read what it looks at."""


@dataclass(frozen=True)
class Tile:
    """A part of the picture, and what is read for it."""

    rows: Span
    columns: Span
    read_rows: Span
    read_columns: Span

    @property
    def place(self) -> tuple[slice, slice]:
        """The part in the whole picture."""
        return slice(*self.rows), slice(*self.columns)

    @property
    def read(self) -> tuple[slice, slice]:
        """What is read, in the whole picture."""
        return slice(*self.read_rows), slice(*self.read_columns)

    @property
    def inside(self) -> tuple[slice, slice]:
        """The part in what is read."""
        top, left = self.read_rows[0], self.read_columns[0]
        return (
            slice(self.rows[0] - top, self.rows[1] - top),
            slice(self.columns[0] - left, self.columns[1] - left),
        )


def tiles(plan: Plan, strip: Span, size_px: tuple[int, int]) -> list[Tile]:
    """The tiles of a strip from left to right."""
    height, width = size_px
    read_rows = plan.with_halo(strip, height)
    return [Tile(strip, part, read_rows, plan.with_halo(part, width, LANES)) for part in plan.parts(width)]


def work_through(
    plan: Plan,
    size_px: tuple[int, int],
    work: Callable[[Tile], None],
    on_strip: Callable[[Span], None],
    *,
    finished: int = 0,
    workers: int = 1,
) -> None:
    """Work on every tile of a picture, several at the same time, and tell of every strip that is done, from the top.

    Args:
        plan: How the picture is cut.
        size_px: Height and width of the picture.
        work: Called with each tile, in other threads.
        on_strip: Called with the first row of a strip and the row after its last.
        finished: Rows of the strips to be left out.
        workers: How many tiles are worked on at the same time.
    """
    left = [strip for strip in plan.strips(size_px[0]) if strip[1] > finished]
    every = [tile for strip in left for tile in tiles(plan, strip, size_px)]
    with closing(at_once(work, every, workers)) as done:
        for tile, _ in zip(every, done):
            if tile.columns[1] >= size_px[1]:
                on_strip(tile.rows)


@dataclass(frozen=True)
class Strips:
    """The aligned frames and how depth is found in them."""

    frames: Any
    alignment: Alignment
    estimator: DepthEstimator
    plan: Plan
    white: float

    @property
    def size_px(self) -> tuple[int, int]:
        return self.alignment.size_px

    def frame_tiles(self, tile: Tile) -> TileFrames:
        """A tile of every frame with its halo."""
        return TileFrames(self, tile)

    def volume(self, tile: Tile) -> Tensor:
        """(N, H, W) logits of a tile with its halo, to refine with."""
        images = self.images(tile, self.estimator.energies.channels)
        return self.estimator.volume(images, self.covered(tile, self.estimator.energies.border_px))

    def peaks(self, tile: Tile, labels: Labels) -> Peaks:
        """What the focus curves of a tile with its halo say, found from a few rows at a time."""
        estimator, (top, bottom), left = self.estimator, tile.read_rows, tile.read_columns[0]
        halo_px, width = estimator.energies.halo_px, tile.read_columns[1] - left
        found = Peaks.empty(len(self.frames), (bottom - top, width), halos=estimator.has_halos(labels))
        for start, stop in band_spans((top, bottom), width * len(self.frames)):
            rows = max(top, start - halo_px), min(bottom, stop + halo_px)
            band = replace(tile, rows=(start, stop), read_rows=rows)
            images = self.images(band, estimator.energies.channels)
            covered = self.covered(band, estimator.energies.border_px)
            volume = estimator.volume(images, covered, slice(start - rows[0], stop - rows[0]))
            found.put(start - top, estimator.peaks(volume, labels, top=start, left=left))
        return found

    @property
    def site_steps(self) -> int:
        """Rows that are measured for the lattice, as often as they are."""
        parts = len(self.plan.for_sites().parts(self.size_px[1])) if self.estimator.by_rows else 1
        return self.size_px[0] * parts

    def whole_frames(self) -> Frames:
        """Gives a window of frame k, (C, h, w)."""
        rows, columns = ((0, side) for side in self.size_px)
        return self.frame_tiles(Tile(rows, columns, rows, columns)).part

    def site_parts(self, finished: int) -> Iterator[tuple[int, Tile, Sites]]:
        """The lattice part by part: steps that are done with it, the tile, and its sites with their halo.

        Args:
            finished: Steps that were done before.
        """
        plan, (height, width) = self.plan.for_sites(), self.size_px
        if not self.estimator.by_rows:
            left = [strip for strip in plan.strips(height) if strip[1] > finished]
            every = [tile for strip in left for tile in tiles(plan, strip, self.size_px)]
            workers = 1 if self.estimator.refit is not None or self.estimator.measure.network_bytes else plan.workers[0]
            with closing(at_once(self.sites, every, workers)) as found:
                for tile, sites in zip(every, found):
                    yield tile.rows[1] if tile.columns[1] >= width else tile.rows[0], tile, sites
            return
        for number, part in enumerate(plan.parts(width)):
            top = min(height, max(0, finished - number * height))
            for tile, sites in self._site_rows(plan, part, top) if top < height else ():
                yield number * height + tile.rows[1], tile, sites

    def _site_rows(self, plan: Plan, part: Span, top: int) -> Iterator[tuple[Tile, Sites]]:
        """The lattice of some columns, strip by strip, from the strip with row `top` on."""
        height = self.size_px[0]
        first = max(0, top - plan.halo_px)
        columns = plan.with_halo(part, self.size_px[1], LANES)
        lattice = self.estimator.site_rows(len(self.frames), (height - first, columns[1] - columns[0]))
        halo_px, waiting = self.estimator.row_halo_px, list[Tile]()

        def seen(rows: Span) -> SeenRows:
            read_rows = max(first, rows[0] - halo_px), min(height, rows[1] + halo_px)
            tile = Tile(rows, part, read_rows, columns)
            images = self.estimator.coherent(self.images(tile, self.estimator.channels))
            covered = self.covered(tile, self.estimator.border_px)
            return lattice.seen(images, covered, rows[0] - read_rows[0], read_rows[1] - rows[1])

        strips = [(start, min(height, start + plan.strip_rows)) for start in range(first, height, plan.strip_rows)]
        with closing(ahead(seen, strips)) as ready, divided_threads(_SEEN_SHARE):
            for rows, strip in zip(strips, ready):
                waiting.append(Tile(rows, part, rows, columns))
                for sites in lattice.push(strip):
                    decided = waiting.pop(0)
                    if decided.rows[1] > top:
                        yield decided, sites

    def sites(self, tile: Tile) -> Sites:
        """The lattice of a tile with its halo."""
        images = self.images(tile, self.estimator.channels)
        return self.estimator.sites(images, self.covered(tile, self.estimator.border_px))

    def images(self, tile: Tile, channels: int) -> Tensor:
        """(N, C, H, W) a tile of every frame with its halo."""
        sides = [stop - start for start, stop in (tile.read_rows, tile.read_columns)]
        images = torch.from_numpy(np.empty((len(self.frames), channels, *sides), np.float32))
        part = self.frame_tiles(tile)

        def read(k: int) -> None:
            if channels == 1:
                part.luminance(k, images[k, 0])
            else:
                images[k] = part(k)

        with ThreadPoolExecutor(torch.get_num_threads()) as workers:
            list(workers.map(read, range(len(self.frames))))
        return images

    def covered(self, tile: Tile, margin_px: int = 0) -> Covered:
        """What frames cover of a tile with its halo, with a margin."""
        return self._covered(tile.read_rows, tile.read_columns, margin_px)

    def valid(self, tile: Tile) -> Tensor | None:
        """(N, H, W) which frames cover each pixel of a tile with its halo; None where all do."""
        valid = align.valid_frames(self.alignment, tile.read_rows, tile.read_columns)
        return None if valid.all() else torch.from_numpy(valid)

    def covered_columns(self, tile: Tile, margin_px: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(N, H) first column that each frame covers in the rows of a tile, with a margin, and that after the last."""
        covered = self._covered(tile.rows, tile.columns, margin_px)
        return covered.first, covered.stop

    def _covered(self, rows: Span, columns: Span, margin_px: int) -> Covered:
        ends = [
            align.covered_columns(transform, self.size_px, rows, columns, margin_px=margin_px)
            for transform in self.alignment.transforms
        ]
        first, stop = (np.stack(side) for side in zip(*ends))
        return Covered(first, stop, columns[1] - columns[0])


@dataclass(frozen=True)
class TileFrames:
    """A function of k that gives a tile of frame k with its halo: (C, H, W) float32, as bright as the reference."""

    strips: Strips
    tile: Tile

    def __call__(self, k: int) -> Tensor:
        return self.part(k, WHOLE)

    def part(self, k: int, window: tuple[slice, slice]) -> Tensor:
        """A window of the tile, (C, h, w)."""
        pixels, scale = self.pixels(k, window)
        planes = np.empty((pixels.shape[2], *pixels.shape[:2]), np.float32)
        for plane, target in zip(cv2.split(pixels), planes):
            np.multiply(plane, np.float32(scale), out=target)
        return torch.from_numpy(planes)

    def luminance(self, k: int, out: Tensor) -> Tensor:
        """(H, W) weighted sum of the channels, written to `out`."""
        return luminance_of(*self.pixels(k, WHOLE), out)

    def reaches(self, k: int, value: float) -> NDArray[np.bool_]:
        """(H, W) where some channel of frame k has at least a value, white being one."""
        pixels, factor = self.pixels(k, WHOLE)
        scale = np.float32(factor)
        if not np.issubdtype(pixels.dtype, np.integer):
            return np.asarray((pixels.astype(np.float32) * scale >= value).any(-1))
        levels = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float32) * scale
        below = int(np.searchsorted(levels, np.float32(value))) - 1
        return np.asarray(cv2.inRange(pixels, (0.0,) * 4, (float(below),) * 4) == 0)

    def pixels(self, k: int, window: tuple[slice, slice]) -> tuple[NDArray[Any], float]:
        """A window of the tile as it is stored, (h, w, C), and what makes it as bright as the reference."""
        rows, columns = (
            slice(*(first + place for place in part.indices(last - first)[:2]))
            for part, (first, last) in zip(window, (self.tile.read_rows, self.tile.read_columns))
        )
        gain = float(self.strips.alignment.gains[k])
        return self.strips.frames.read_part(k, rows, columns), gain / self.strips.white
