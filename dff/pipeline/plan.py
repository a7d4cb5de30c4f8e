"""What a reconstruction takes: memory, scratch disk and the height of the strips."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dff.depth import LATTICE
from dff.focus import RowMeasure
from dff.pipeline.tiling import LANES, Tiling, rounded_up, spans
from dff.settings import Settings
from dff.stack import FocalStack

_GB = 1e9
_BASE_GB = 0.46
"""Interpreter, libraries and their buffers."""
_OUTPUT_BYTES = 17
"""Bytes a pixel of the index, its standard deviation, its confidence and the index of the picture."""
_SURFACE_BYTES = 35
"""Bytes a pixel while cloud and mesh, or previews, are made,"""
_SHOWN_PX, _SHOWN_BYTES = 2_000_000, 125
"""and bytes for each of so many pixels, which meshes and stills do not exceed by much."""
_VOLUME_BYTES = 5
"""Bytes a pixel and frame of a tile's logits, and of what frames do not cover;"""
_MEASURE_BYTES, _REFINE_BYTES = 150, 600
"""and bytes a pixel whatever the number of frames, while images are there too, and afterwards."""
_LATTICE_BYTES = 2
"""Bytes a lattice site and frame."""
_PATH_BYTES = 20
"""Bytes a lattice site and frame more while labels are regularised, over the square root of the lattice's height."""
_FUSION_BYTES = 190
"""Bytes a pixel while a tile is blended, and one more for every frame."""
_VEIL_BYTES = 170
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
_ROW_BYTES = 24
"""and bytes a pixel and frame of them, while the next ones are read."""
_LEAST_CONTEXTS = 6
"""Widths of its context that a part takes in at least, where the limit allows it: a third of that is context."""
_LARGEST_PX = 900_000
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

    Raises:
        ValueError: the memory does not suffice for the smallest tile.
    """
    height, width, depth = stack.shape
    count, limit = len(stack), settings.max_memory_gb * _GB
    halo = rounded_up(halo_px, LATTICE)
    cells = count * -(-height // LATTICE) * -(-width // LATTICE)
    outputs = height * width * (_OUTPUT_BYTES + depth * stack.dtype.itemsize)
    fixed, lattice = _BASE_GB * _GB + outputs, cells * _LATTICE_BYTES
    pixel = count * (_VOLUME_BYTES + 4 * channels + measure_bytes) + _MEASURE_BYTES
    pixel = max(pixel, count * _VOLUME_BYTES + _REFINE_BYTES)
    labelling = lattice + cells * _PATH_BYTES / math.sqrt(-(-height // LATTICE))
    surface = height * width * _SURFACE_BYTES + min(height * width, _SHOWN_PX) * _SHOWN_BYTES
    others = fixed + max(labelling, surface)
    least: float = pixel * (2 * halo + LATTICE) * min(width, 4 * LANES)
    seen, seen_halo = pixel + count * network_bytes, rounded_up(network_halo_px, LATTICE)
    column = 0.0 if rows is None else count * (rows.column_bytes + _ROWS * _ROW_BYTES)
    if rows is not None:
        least = max(least, column * min(width, LANES + 2 * rows.context_px))
    elif network_bytes:
        least = max(least, seen * Tiling((height, width), LATTICE, LANES, seen_halo, 1).area_px)
    smallest = max(others, fixed + lattice + least)
    if smallest > limit:
        raise ValueError(
            f"--max-memory: {count} frames of {width} x {height} px need at least {smallest / _GB:.1f} GB; got "
            f"{settings.max_memory_gb:g} GB; raise it to {smallest / _GB + 0.1:.1f} or use --every 2"
        )
    threads = 1 if measure_bytes else threads
    # What a network looks at is labelled, and its lattice gone, before depth is found.
    held = lattice if rows is None and not network_bytes else 0

    def share(held: float) -> float:
        share = max(_SHARE * limit - held, _LEAST_SHARE * limit, others - fixed - held)
        return min(share, limit - fixed - held)

    tiling_px = min(int(share(held) // pixel), threads * _LARGEST_PX)
    tiling = Tiling.soonest((height, width), tiling_px, halo, threads)
    # A lattice takes less context than depth does.
    sites_tile = tiling.rows, tiling.columns, min(seen_halo or halo, halo)
    looking = 0.0
    if rows is not None:
        wanted = max(share(lattice), column * _LEAST_CONTEXTS * rows.context_px)
        columns = _columns(width, int(min(wanted, limit - fixed - lattice) // column), rows.context_px)
        sites_tile = _ROWS, columns, rows.context_px
        looking = column * min(width, columns + 2 * rows.context_px)
    elif network_bytes:
        low, high = _NETWORK_TILE_GB
        allowed = min(max(_NETWORK_GB * _GB - fixed - lattice, low * _GB), high * _GB, limit - fixed - lattice)
        seeing = Tiling.soonest((height, width), min(int(allowed // seen), _LARGEST_PX), seen_halo)
        sites_tile = seeing.rows, seeing.columns, seen_halo
        looking = seen * seeing.area_px
    blended = _FUSION_BYTES + count * (1 + fusion_bytes)
    veiled = blended + (_VEIL_BYTES if settings.fusion == "unveiled" else 0)
    fusion_px = int(min(max(_FUSION_SHARE * limit / blended, (others - fixed) / veiled), (limit - fixed) / veiled))
    fusion = Tiling.soonest((height, width), fusion_px, fusion_halo_px, threads, fusion_multiple)
    refining = pixel * tiling.workers * tiling.area_px
    measuring = fixed + max(held + refining, lattice + looking)
    fusing = fixed + veiled * fusion.workers * fusion.area_px
    beside = threads > 1 and fixed + 2 * surface <= limit
    return Plan(
        strip_rows=tiling.rows,
        tile_columns=tiling.columns,
        halo_px=halo,
        sites=sites_tile,
        fusion=(fusion.rows + 2 * fusion_halo_px, fusion.columns + 2 * rounded_up(fusion_halo_px, LANES)),
        workers=(tiling.workers, fusion.workers),
        beside=beside,
        memory_gb=max(measuring, others, fusing, fixed + (1 + beside) * surface) / _GB,
        scratch_gb=scratch_bytes(stack) / _GB,
    )


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
    height, width, depth = stack.shape
    return len(stack) * height * width * depth * stack.dtype.itemsize


def _columns(width: int, most: int, context_px: int) -> int:
    """Columns of as few even parts, each with its context, as are at most so wide."""
    if width <= most:
        return width
    return rounded_up(-(-width // max(1, -(-width // max(LANES, most - 2 * context_px)))), LANES)
