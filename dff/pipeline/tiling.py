"""How a picture is cut into tiles that overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from dff.stack import LATTICE

LANES = 32
"""Tiles begin at multiples of so many columns: the vector units then take the same pixels together in every tile."""
BAND_PIXELS, LEAST_BAND_ROWS = 8_000_000, 48
"""Pixels of all frames whose curves are looked at together, and rows: fewer take longer to read, more take memory."""
_MOST_PARTS = 16
_FINER = 4
"""Strips more than memory asks for that are tried, a worker, so that all workers have work until the end."""
_BEGUN_PX = 10_000
"""Pixels that could be worked on while a tile is begun."""


@dataclass(frozen=True)
class Tiling:
    """Tiles of a picture, and how many are worked on at the same time."""

    size: tuple[int, int]
    """(H, W) of the picture."""
    rows: int
    """Of a tile without its halo."""
    columns: int
    halo_px: int
    workers: int

    @classmethod
    def soonest(
        cls,
        size: tuple[int, int],
        budget_px: int,
        halo_px: int,
        threads: int = 1,
        multiple: int = LATTICE,
        fitting: Callable[[int, int], int] | None = None,
    ) -> Tiling:
        """The tiles that are done soonest; as large as one tile may be where there is too little memory for any.

        Args:
            size: (H, W) of the picture.
            budget_px: Pixels of all tiles that are worked on at the same time, halos included.
            halo_px: Pixels of context on every side.
            threads: Tiles that may be worked on at the same time.
            multiple: Of the rows of a tile.
            fitting: (budget_px, columns) pixels of a tile with so many columns that fit into a worker's budget, where
                something else takes memory beside it; by default all of them.
        """
        fitting = fitting or (lambda budget_px, _: budget_px)
        choices = [
            tiling
            for workers in range(1, threads + 1)
            for tiling in cls._within(size, partial(fitting, budget_px // workers), halo_px, workers, multiple)
        ]
        return min(choices, key=lambda tiling: tiling.cost_px)

    @classmethod
    def _within(
        cls, size: tuple[int, int], fitting: Callable[[int], int], halo_px: int, workers: int, multiple: int
    ) -> Iterator[Tiling]:
        height, width = size
        for parts in range(1, _MOST_PARTS + 1):
            columns = rounded_up(-(-width // parts), LANES)
            side = _side(columns, width, rounded_up(halo_px, LANES))
            most = fitting(side) // side
            most = rounded_up(height, multiple) if most >= height else (most - 2 * halo_px) // multiple * multiple
            if most < multiple and workers > 1:
                continue
            fewest = -(-height // max(multiple, most))
            for strips in range(fewest, fewest + _FINER * workers):
                yield cls(size, rounded_up(-(-height // strips), multiple), columns, halo_px, workers)

    @property
    def area_px(self) -> int:
        """Pixels of a tile with its halo, at most."""
        return _side(self.rows, self.size[0], self.halo_px) * self.seen_columns

    @property
    def seen_columns(self) -> int:
        """Columns of a tile with its halo, at most."""
        return _side(self.columns, self.size[1], rounded_up(self.halo_px, LANES))

    @property
    def cost_px(self) -> float:
        """Pixels that one worker works on, one after the other."""
        strips, parts = (-(-side // step) for side, step in zip(self.size, (self.rows, self.columns)))
        # Each part reads the whole rows again.
        return -(-strips * parts // self.workers) * (self.area_px + _BEGUN_PX) * (1 + 0.02 * parts)


def spans(size: int, step: int) -> list[tuple[int, int]]:
    """First pixel and pixel after the last of steps along a side."""
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def band_spans(rows: tuple[int, int], row_pixels: int) -> list[tuple[int, int]]:
    """First row and row after the last of bands of a tile.

    Args:
        rows: Of the tile with its halo.
        row_pixels: Pixels of a row of all frames.
    """
    step = max(LEAST_BAND_ROWS, BAND_PIXELS // row_pixels // LATTICE * LATTICE)
    return [(start, min(start + step, rows[1])) for start in range(*rows, step)]


def rounded_up(value: int, multiple: int) -> int:
    """The least multiple that is not smaller."""
    return -(-value // multiple) * multiple


def _side(step: int, size: int, halo_px: int) -> int:
    """Pixels of a step with its halo, which ends with the picture."""
    neighbours = min(2, -(-size // step) - 1)
    return min(size, step + neighbours * halo_px)
