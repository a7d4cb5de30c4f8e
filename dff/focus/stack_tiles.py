"""Tiles with context in which the stack network looks at large pictures, where it runs in tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dff.focus.measure import CELL

HALO_PX = 60
"""Context of a tile. What lies farther off, up to 100 px, moves depth by less than 0.02 frame."""
TILE_BYTES = 1e9
BYTES_A_PIXEL = 21
"""Memory of a pixel of a frame in a tile."""
_CARD_SHARE = 0.5
"""Of the memory that a graphics card has free, for a tile."""


def tile_side_px(count: int, device: torch.device) -> int:
    """Side of a tile without its halo, for so many frames: as large as a graphics card has room for."""
    room = TILE_BYTES
    if device.type == "cuda":
        room = max(room, _CARD_SHARE * torch.cuda.mem_get_info(device)[0])
    side = math.sqrt(room / (count * BYTES_A_PIXEL)) - 2 * HALO_PX
    return max(64, int(side) // CELL * CELL)


def even_tile_px(side_px: int, largest_px: int) -> int:
    """The least side, a multiple of CELL, of as few tiles as cover a picture's side."""
    return -(-side_px // (-(-side_px // largest_px) * CELL)) * CELL


@dataclass(frozen=True)
class Tile:
    """A part of a picture with its context, and which sites of the lattice it decides."""

    planes: Tensor
    """(N, H, W) luminance."""
    place: tuple[slice, slice]
    """Its sites in the picture's lattice,"""
    inside: tuple[slice, slice]
    """and in its own."""


def tiles(images: Tensor, tile_px: int | None) -> Iterator[Tile]:
    """Tiles that cover (N, 1, H, W) images, which are extended to whole cells.

    Args:
        images: The picture.
        tile_px: Side of a tile without its halo, a multiple of CELL; by default what there is room for.
    """
    height, width = images.shape[2:]
    whole_cells = height % CELL == 0 and width % CELL == 0
    padded = images if whole_cells else F.pad(images, (0, -width % CELL, 0, -height % CELL), mode="replicate")
    planes = padded[:, 0]
    rows, columns = (
        even_tile_px(side, tile_px or tile_side_px(len(images), images.device)) for side in (height, width)
    )
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            above, before = min(top, HALO_PX), min(left, HALO_PX)
            tile = planes[:, top - above : top + rows + HALO_PX, left - before : left + columns + HALO_PX]
            whole = planes[:, top : top + rows, left : left + columns].shape[1:]
            starts = (top, left), (above, before)
            place, inside = ((_sites(y, whole[0]), _sites(x, whole[1])) for y, x in starts)
            yield Tile(tile, place, inside)


def _sites(start_px: int, side_px: int) -> slice:
    return slice(start_px // CELL, (start_px + side_px) // CELL)
