"""A network that looks at frames of half size: a quarter of the work, for frames that are soft at the size of a pixel.

Means of 2 x 2 pixels have half the noise, and what is blurred over some pixels becomes as sharp as what networks have
learned from; but thin hairs then lie in one cell with what is behind them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from dff.focus.measure import CELL, FocusMeasure, RowMeasure, RowsOfCells


def at_half_size(measure: FocusMeasure) -> FocusMeasure:
    """The measure with its cells decided on frames of half size; logits of pixels stay as they are.

    Raises:
        ValueError: the measure does not look at rows.
    """
    rows, cells = measure.rows, measure.cells
    if rows is None or cells is None:
        raise ValueError(
            "--network-scale: 2 needs sesf-stack on the processor, in float32; "
            f"got another --measure, --device or --precision ({measure.name}); use --network-scale 1"
        )

    def half_cells(images: Tensor) -> Tensor:
        height, width = (-(-side // CELL) for side in images.shape[2:])
        return _spread(cells(halved(images)), height, width)

    return replace(
        measure,
        halo_px=2 * measure.halo_px,
        near_px=2 * measure.border_px,
        cells=half_cells,
        rows=RowMeasure(
            partial(_HalfRows, rows), 2 * rows.edge_px, 2 * rows.context_px, 2 * rows.columns, rows.column_bytes / 2
        ),
    )


def halved(planes: Tensor) -> Tensor:
    """(..., H, W) → (..., ceil(H / 2), ceil(W / 2)) means of 2 x 2 pixels; at odd ends the last pixel counts twice."""
    height, width = planes.shape[-2:]
    flat = planes.reshape(-1, 1, height, width)
    if height % 2 or width % 2:
        flat = F.pad(flat, (0, width % 2, 0, height % 2), mode="replicate")
    means = F.avg_pool2d(flat, 2)
    return means.view(*planes.shape[:-2], *means.shape[-2:])


def _spread(cells: Tensor, height: int, width: int) -> Tensor:
    """(N, h, w) → (N, height, width) every cell of half size in the four that it covers."""
    return cells.repeat_interleave(2, 1)[:, :height].repeat_interleave(2, 2)[..., :width]


class _HalfRows:
    """A picture's rows on their way through a network that looks at them at half size."""

    def __init__(self, rows: RowMeasure, count: int, size_px: tuple[int, int]):
        self.rows: RowsOfCells = rows.open(count, (-(-size_px[0] // 2), -(-size_px[1] // 2)))
        self.left, self.width = (-(-side // CELL) for side in size_px)
        """Rows of cells that are still to be given, and columns."""

    def push(self, planes: Tensor, above_px: int = 0, below_px: int = 0) -> Tensor:
        """Take in the next rows, a multiple of 2 CELL but for the last ones; see `RowsOfCells`."""
        found = self.rows.push(halved(planes), above_px // 2, -(-below_px // 2))
        cells = _spread(found, min(self.left, 2 * found.shape[1]), self.width)
        self.left -= cells.shape[1]
        return cells
