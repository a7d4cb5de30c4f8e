"""How networks look at pictures of any size: mirrored borders, overlapping tiles, half precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dff.focus.measure import FocusMeasure

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
TILE_PX = 512
NETWORK_BYTES = 8
"""Memory a pixel and frame: networks look at one frame or pair at a time, in tiles, so that features hardly count."""
BLEND_PX = 8
"""Half the width of the band over which one tile passes into the next."""


def in_precision(measure: FocusMeasure, precision: str) -> FocusMeasure:
    """The measure with its convolutions in another precision; logits stay float32.

    Operators and compiled loops run in their own precision always.

    Raises:
        ValueError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"--precision: must be one of {', '.join(PRECISIONS)}; got {precision!r}; choose one of them")
    if precision == "float32":
        return measure

    def cast(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, PRECISIONS[precision]):
            return function(images).float()

    cells, picture = (
        None if function is None else partial(cast, function) for function in (measure.cells, measure.picture)
    )
    return replace(measure, logits=partial(cast, measure.logits), cells=cells, rows=None, picture=picture)


def on_device(measure: FocusMeasure, device: str) -> FocusMeasure:
    """The measure with its pictures taken to a device and its answers brought back.

    Raises:
        ValueError: a device that this machine does not have.
    """
    if device == "cpu":
        return measure
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise ValueError(f"--device: must be one of this machine's; got {device!r} ({reason}); use cpu") from error

    def there(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        return function(_sent(images, torch.device(device))).cpu()

    cells, picture = (
        None if function is None else partial(there, function) for function in (measure.cells, measure.picture)
    )
    return replace(measure, logits=partial(there, measure.logits), cells=cells, rows=None, picture=picture)


def _sent(images: Tensor, device: torch.device) -> Tensor:
    """The pictures on a device; a graphics card fetches them by itself from memory that stays in place."""
    if device.type == "cuda":
        images = images.pin_memory()
    return images.to(device, non_blocking=True)


@dataclass(frozen=True)
class Span:
    """Where one tile lies along an axis."""

    start: int
    stop: int
    length: int
    """Pixels of the whole axis."""

    def indices(self, halo_px: int, device: torch.device) -> Tensor:
        """Pixels the tile looks at: its own and `halo_px` on either side, mirrored beyond the ends."""
        return mirrored(self.start - halo_px, self.stop + halo_px, self.length, device)

    def blended(self, blend_px: int) -> tuple[int, int]:
        """First pixel the tile has a say in, and the one after the last."""
        return max(0, self.start - blend_px), min(self.length, self.stop + blend_px)

    def weight(self, blend_px: int, device: torch.device) -> Tensor:
        """Say of the tile in those pixels: ramps that sum to one with the neighbours', none at the picture's ends."""
        first, last = self.blended(blend_px)
        place = torch.arange(first, last, device=device) + 0.5
        weight = torch.ones_like(place)
        if blend_px and self.start > 0:
            weight *= ((place - self.start + blend_px) / (2 * blend_px)).clamp(0, 1)
        if blend_px and self.stop < self.length:
            weight *= ((self.stop + blend_px - place) / (2 * blend_px)).clamp(0, 1)
        return weight


def mirrored(start: int, stop: int, length: int, device: torch.device) -> Tensor:
    """Indices start ... stop - 1 folded back into 0 ... length - 1, as often as it takes; ends are not repeated."""
    period = max(1, 2 * (length - 1))
    place = torch.arange(start, stop, device=device).remainder(period)
    return torch.minimum(place, period - place)


def spans(length: int, tile_px: int, multiple: int) -> list[Span]:
    """Tiles along an axis, as even as multiples allow; the last may reach beyond the end."""
    count = -(-length // tile_px)
    side = -(-length // max(1, count * multiple)) * multiple
    return [Span(start, start + side, length) for start in range(0, length, max(1, side))]


def in_tiles(
    function: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    halo_px: int,
    multiple: int = 1,
    tile_px: int | None = None,
) -> Tensor:
    """A network's answer to pictures of any size, tile by tile, each with mirrored context around it.

    Where the context covers all that the network sees, tiles change nothing.

    Args:
        function: (N, C, h, w) → (M, h, w); h and w are multiples of `multiple`.
        images: (N, C, H, W).
        halo_px: Context of a tile on either side.
        multiple: Stride of the network's lattice: tiles start and end on it.
        tile_px: Side of a tile without its context; by default TILE_PX.

    Returns:
        (M, H, W) float32.
    """
    halo_px = -(-halo_px // multiple) * multiple
    height, width = images.shape[2:]
    down, across = (spans(length, tile_px or TILE_PX, multiple) for length in (height, width))
    blend_px = min(BLEND_PX, halo_px, *((tile.stop - tile.start) // 2 for tile in (*down, *across)))
    result: Tensor | None = None
    for rows in down:
        strip = images.index_select(2, rows.indices(halo_px, images.device))
        for columns in across:
            answer = function(strip.index_select(3, columns.indices(halo_px, images.device))).float()
            if result is None:
                result = answer.new_zeros(len(answer), height, width)
            _add(result, answer, rows, columns, halo_px, blend_px)
    if result is None:
        raise ValueError(f"images: must have pixels; got {tuple(images.shape)}; give larger pictures")
    return result


def _add(result: Tensor, answer: Tensor, rows: Span, columns: Span, halo_px: int, blend_px: int) -> None:
    """Add a tile's answer to the whole, weighted by its say."""
    (top, bottom), (left, right) = rows.blended(blend_px), columns.blended(blend_px)
    y, x = halo_px - rows.start, halo_px - columns.start
    weight = rows.weight(blend_px, answer.device)[:, None] * columns.weight(blend_px, answer.device)
    result[:, top:bottom, left:right] += answer[:, top + y : bottom + y, left + x : right + x] * weight
