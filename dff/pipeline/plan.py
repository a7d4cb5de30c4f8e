"""What a reconstruction takes: memory, scratch disk and the height of the strips."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from dff import io
from dff.pipeline.tiling import BAND_PIXELS, LANES, LEAST_BAND_ROWS, Tiling, rounded_up, spans
from dff.settings import Settings
from dff.stack import LATTICE, FocalStack

if TYPE_CHECKING:
    from dff.focus import RowMeasure

_GB = 1e9
_BASE_GB = 0.46
"""Interpreter, libraries and their buffers."""
_OUTPUT_BYTES = 17
"""Bytes a pixel of the index, its standard deviation, its confidence and the index of the picture."""
_SURFACE_BYTES = 35
"""Bytes a pixel while cloud and mesh, or previews, are made,"""
_SHOWN_PX, _SHOWN_BYTES = 2_000_000, 45
"""and bytes for each of so many pixels, which meshes and stills do not exceed by much."""
_VOLUME_BYTES = 5
"""Bytes a pixel and frame of the logits of a whole tile;"""
_MEASURE_BYTES, _REFINE_BYTES = 150, 340
"""and bytes a pixel whatever the number of frames, while images are there too, and afterwards."""
_CELL_BYTES = 1
"""Bytes a pixel and frame of the lattice of a tile."""
_BAND_BYTES = 20
"""Bytes a pixel and frame of the images and logits of a few rows."""
_LATTICE_BYTES = 2
"""Bytes a lattice site and frame."""
_PATH_BYTES = 20
"""Bytes a lattice site and frame more while labels are regularised, over the square root of the lattice's height."""
_FUSION_BYTES = 105
"""Bytes a pixel while a tile is blended, and one more for every frame whose valid pixels are held."""
_VEIL_BYTES = 85
"""Bytes a pixel more while veils are taken off it."""
_MAP_BYTES = 16
"""Bytes a pixel of the four maps,"""
_INDEX_BYTES = 8
"""and a lattice site of the labels, on the disk."""
_SHARE, _LEAST_SHARE = 0.225, 0.1
"""Share of the memory for lattice and tile together, at least for the tile; or what later stages take anyway."""
_FUSION_SHARE = 0.16
"""The same for blending, which is no faster on larger tiles."""
_NETWORK_GB = 2.4
"""What a run with a network may take before the network's tiles get smaller, which depth depends on by a little,"""
_NETWORK_TILE_GB = (0.25, 1.0)
"""and what such a tile takes at least and at most."""
_ROWS = 64
"""Rows that a network which looks at rows is shown at a time,"""
_ROW_BYTES = 8
"""and bytes a pixel and frame of them, while the next ones are read."""
_LEAST_CONTEXTS = 7
"""Widths of its context that a part takes in at least, where the limit allows it: two sevenths of that are context."""
_WAITING_FRAMES = 2
"""Decoded frames beside those that are being decoded."""
_LARGEST_PX = 2_000_000
"""Pixels of a tile beyond which the halo no longer counts."""


@dataclass(frozen=True)
class Plan:
    """How a stack is cut into strips, the strips into tiles, and what that takes."""

    strip_rows: int
    """Rows of a strip, without its halo."""
    tile_columns: int
    """Columns of a tile, without its halo."""
    halo_px: int
    sites: tuple[int, int, int]
    """Rows and columns of a tile without its halo, and the halo, while the lattice is measured."""
    fusion: tuple[int, int]
    """Rows and columns of a tile while the picture is blended, halo included."""
    workers: tuple[int, int]
    """Tiles that are worked on at the same time while depth is found, and while the picture is blended."""
    beside: bool
    """Whether surfaces and previews are made at the same time."""
    memory_gb: float
    """Predicted peak memory of the process."""
    scratch_gb: float
    """Disk space for the aligned frames."""

    def strips(self, height: int) -> list[tuple[int, int]]:
        """First row and row after the last of every strip."""
        return spans(height, self.strip_rows)

    def parts(self, width: int) -> list[tuple[int, int]]:
        """First column and column after the last of every tile of a strip."""
        return spans(width, self.tile_columns)

    def with_halo(self, span: tuple[int, int], size: int, multiple: int = 1) -> tuple[int, int]:
        """The rows or columns that a strip or tile reads, of so many, with a halo of a multiple of some pixels."""
        halo = rounded_up(self.halo_px, multiple)
        return max(0, span[0] - halo), min(size, span[1] + halo)

    def for_sites(self) -> Plan:
        """The tiles for measuring the lattice."""
        rows, columns, halo_px = self.sites
        return replace(self, strip_rows=rows, tile_columns=columns, halo_px=halo_px)

    def for_fusion(self, halo_px: int, multiple: int) -> Plan:
        """The tiles for blending: with another halo, cut at multiples of some pixels."""
        halo = rounded_up(halo_px, multiple)
        rows = max(multiple, (self.fusion[0] - 2 * halo) // multiple * multiple)
        columns = max(LANES, (self.fusion[1] - 2 * rounded_up(halo, LANES)) // LANES * LANES)
        return replace(self, strip_rows=rows, tile_columns=columns, halo_px=halo)


def make_plan(
    stack: FocalStack,
    settings: Settings,
    *,
    halo_px: int,
    channels: int,
    fusion_halo_px: int,
    fusion_multiple: int = LATTICE,
    threads: int = 1,
    measure_bytes: float = 0,
    network_bytes: float = 0,
    network_halo_px: int = 0,
    rows: RowMeasure | None = None,
    fusion_bytes: float = 0,
    by_bands: bool = False,
) -> Plan:
    """Choose tiles that the memory allows.

    A network that looks at tiles has its context cut: they are chosen by the size of the stack alone, so that results
    do not depend on the limit, unless that is so low that they must be smaller. One that looks at rows sees all that
    it can see; its parts are columns of the picture, as wide as the memory that later stages take anyway allows.

    Args:
        stack: The stack, of which only the shape is used.
        settings: max_memory_gb is the limit.
        halo_px: Pixels of context that measuring by operators, and refining, need.
        channels: Channels of the images that the focus measure takes.
        fusion_halo_px: Pixels of context that blending needs.
        fusion_multiple: Rows that tiles to blend, halo included, begin at multiples of.
        threads: Tiles that may be worked on at the same time; those of networks never are.
        measure_bytes: Bytes a pixel and frame that the measure itself takes; 0 for an operator.
        network_bytes: Bytes a pixel and frame that a network takes; 0 where none measures the lattice.
        network_halo_px: Pixels of context of the network.
        rows: How the network looks at rows; None where it looks at tiles.
        fusion_bytes: Bytes a pixel and frame that blending holds, beside what it always does.
        by_bands: Whether tiles are refined without their logits being there at the same time, see `Strips.peaks`, and
            blended without a map of what each frame covers.

    Raises:
        ValueError: the memory does not suffice for the smallest tile.
    """
    size, count, halo = stack.shape[:2], len(stack), rounded_up(halo_px, LATTICE)
    memory = _Memory.of(stack, settings, threads)
    seen = count * ((_CELL_BYTES if by_bands else _VOLUME_BYTES) + 4 * channels + measure_bytes) + _MEASURE_BYTES
    pixel = float(_REFINE_BYTES) if by_bands else max(seen, count * _VOLUME_BYTES + _REFINE_BYTES)
    workers = 1 if measure_bytes else threads
    look: _Look | None = None
    if rows is not None:
        look = _Look(count * (rows.column_bytes + _ROWS * _ROW_BYTES), rows.context_px, rows.columns)
    elif network_bytes:
        look = _Look(pixel + count * network_bytes, rounded_up(network_halo_px, LATTICE))
    least = max(pixel, seen) * (2 * halo + LATTICE) * min(size[1], 4 * LANES)
    memory.check(stack, max(least, look.least_bytes(size) if look else 0))
    # What a network looks at is labelled, and its lattice gone, before depth is found.
    held = 0 if look else memory.lattice
    room = memory.share(held)
    fitting = partial(_beside_band, count, pixel) if by_bands else None
    tiling = Tiling.soonest(size, _most_px(room, pixel, workers), halo, workers, fitting=fitting)
    band = by_bands * min(_BAND_BYTES * count * tiling.area_px, _band_bytes(count, tiling.seen_columns))
    refining = (pixel * tiling.area_px + band) * tiling.workers
    if look:
        sites, looking = look.tile(size, memory)
    else:
        # A lattice takes less context than depth does.
        near = min(halo, rounded_up(network_halo_px, LATTICE) or halo)
        lattice = Tiling.soonest(size, _most_px(room, seen, workers), near, workers)
        sites, looking = (lattice.rows, lattice.columns, near), seen * lattice.workers * lattice.area_px
    blended = _FUSION_BYTES + count * (fusion_bytes + (not by_bands))
    veiled = blended + (_VEIL_BYTES if settings.fusion == "unveiled" else 0)
    fusion_px = min(max(_FUSION_SHARE * memory.limit / blended, memory.later / veiled), memory.free / veiled)
    fusion = Tiling.soonest(size, int(fusion_px), fusion_halo_px, workers, fusion_multiple)
    fusing = veiled * fusion.workers * fusion.area_px
    return Plan(
        strip_rows=tiling.rows,
        tile_columns=tiling.columns,
        halo_px=halo,
        sites=sites,
        fusion=(fusion.rows + 2 * fusion_halo_px, fusion.columns + 2 * rounded_up(fusion_halo_px, LANES)),
        workers=(tiling.workers, fusion.workers),
        beside=memory.beside,
        memory_gb=(memory.fixed + max(memory.later, held + refining, memory.lattice + looking, fusing)) / _GB,
        scratch_gb=scratch_bytes(stack) / _GB,
    )


@dataclass(frozen=True)
class _Memory:
    """What a run may take, and what it takes whatever its tiles, in bytes."""

    limit: float
    fixed: float
    """Libraries, maps and picture, which are there always."""
    lattice: float
    labelling: float
    """The lattice and the paths through it."""
    surface: float
    """Clouds and meshes, or previews,"""
    beside: bool
    """which there is room for at the same time."""

    @classmethod
    def of(cls, stack: FocalStack, settings: Settings, threads: int) -> _Memory:
        height, width, depth = stack.shape
        pixels, limit = height * width, settings.max_memory_gb * _GB
        fixed = _BASE_GB * _GB + pixels * (_OUTPUT_BYTES + depth * stack.dtype.itemsize)
        rows, columns = -(-height // LATTICE), -(-width // LATTICE)
        lattice, paths = (
            len(stack) * rows * columns * part for part in (_LATTICE_BYTES, _PATH_BYTES / math.sqrt(rows))
        )
        surface = pixels * _SURFACE_BYTES + min(pixels, _SHOWN_PX) * _SHOWN_BYTES
        return cls(limit, fixed, lattice, lattice + paths, surface, threads > 1 and fixed + 2 * surface <= limit)

    @property
    def free(self) -> float:
        """What tiles may take at most."""
        return self.limit - self.fixed

    @property
    def later(self) -> float:
        """What stages that have no tiles take anyway."""
        return max(self.labelling, (1 + self.beside) * self.surface)

    def share(self, held: float) -> float:
        """What tiles take, beside what is held meanwhile."""
        share = max(_SHARE * self.limit - held, _LEAST_SHARE * self.limit, self.later - held)
        return min(share, self.free - held)

    def check(self, stack: FocalStack, least: float) -> None:
        smallest = self.fixed + max(self.labelling, self.surface, self.lattice + least)
        if smallest > self.limit:
            height, width = stack.shape[:2]
            raise ValueError(
                f"--max-memory: {len(stack)} frames of {width} x {height} px need at least {smallest / _GB:.1f} GB; "
                f"got {self.limit / _GB:g} GB; raise it to {smallest / _GB + 0.1:.1f} or use --every 2"
            )


@dataclass(frozen=True)
class _Look:
    """How a network looks at the frames."""

    each_bytes: float
    """Bytes that it takes a pixel of a tile, or a column of rows."""
    context_px: int
    columns: int = 0
    """Columns that are worked on together where it looks at rows; 0 where it looks at tiles."""

    def least_bytes(self, size: tuple[int, int]) -> float:
        if self.columns:
            return self.each_bytes * min(size[1], LANES + 2 * self.context_px)
        return self.each_bytes * Tiling(size, LATTICE, LANES, self.context_px, 1).area_px

    def tile(self, size: tuple[int, int], memory: _Memory) -> tuple[tuple[int, int, int], float]:
        """Rows, columns and context of what it is shown at a time, and bytes that it takes then."""
        free = memory.free - memory.lattice
        if self.columns:
            wanted = max(memory.share(memory.lattice), self.each_bytes * _LEAST_CONTEXTS * self.context_px)
            columns = _columns(size[1], int(min(wanted, free) // self.each_bytes), self.context_px, self.columns)
            taken = self.each_bytes * min(size[1], columns + 2 * self.context_px)
            return (_ROWS, columns, self.context_px), taken
        low, high = (limit * _GB for limit in _NETWORK_TILE_GB)
        allowed = min(max(_NETWORK_GB * _GB - memory.fixed - memory.lattice, low), high, free)
        tiling = Tiling.soonest(size, min(int(allowed // self.each_bytes), _LARGEST_PX), self.context_px)
        return (tiling.rows, tiling.columns, self.context_px), self.each_bytes * tiling.area_px


def frames_at_once(stack: FocalStack, settings: Settings, threads: int) -> int:
    """How many frames are decoded at the same time: as many as fit where later stages put their maps and surfaces.

    Args:
        stack: The frames; those that come from no files, and those of a video, are decoded one after the other.
        settings: max_memory_gb is the limit.
        threads: How many may be at most.
    """
    pixels, memory = stack.shape[0] * stack.shape[1], _Memory.of(stack, settings, threads)
    room = memory.fixed - _BASE_GB * _GB + memory.later - _WAITING_FRAMES * stack.frame_bytes
    each = stack.frame_bytes + pixels * io.decoding_bytes(stack.suffix)
    return max(1, min(threads, int(room // each))) if stack.files else 1


def kept_gb(stack: FocalStack, settings: Settings) -> float:
    """Disk space for what a run keeps of its finished stages until its end, beside the aligned frames."""
    height, width, channels = stack.shape
    slabs = 0
    if settings.slab_frames is not None:
        size, overlap = settings.slab_frames
        slabs = 1 + max(0, -(-(len(stack) - size) // (size - overlap)))
    lattice = (_LATTICE_BYTES * len(stack) + _INDEX_BYTES) / LATTICE**2
    picture = channels * stack.dtype.itemsize * (1 + slabs)
    return height * width * (_MAP_BYTES + lattice + picture) / _GB


def scratch_bytes(stack: FocalStack) -> int:
    """Disk space for the aligned frames."""
    return len(stack) * stack.frame_bytes


def _band_bytes(count: int, columns: int) -> float:
    """What the images and logits of a band take: the wider tiles are, the more is there of them."""
    return _BAND_BYTES * max(BAND_PIXELS, LEAST_BAND_ROWS * count * columns)


def _beside_band(count: int, pixel: float, budget_px: int, columns: int) -> int:
    """Pixels of a tile that fit into a budget beside a band, which is no larger than the tile.

    Args:
        count: Number of frames.
        pixel: Bytes that a pixel takes.
        budget_px: Memory, as pixels.
        columns: Of the tile with its halo.
    """
    budget = budget_px * pixel
    return int(max((budget - _band_bytes(count, columns)) / pixel, budget / (pixel + _BAND_BYTES * count)))


def _most_px(room: float, pixel: float, workers: int) -> int:
    """Pixels of all tiles in work that there is room for, at so many bytes each."""
    return max(1, min(int(room // pixel), workers * _LARGEST_PX))


def _columns(width: int, most: int, context_px: int, together: int) -> int:
    """Columns of as few even parts, each with its context, as are at most so wide."""
    if width <= most:
        return width
    room = most - 2 * context_px
    step = together if room >= together else LANES
    widest = max(step, room // step * step)
    return rounded_up(-(-width // -(-width // widest)), step)
