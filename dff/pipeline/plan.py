"""What a reconstruction takes: memory, scratch disk and the height of the strips."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dff.depth import LATTICE
from dff.settings import Settings
from dff.stack import FocalStack

_GB = 1e9
_BASE_GB = 0.5
"""Interpreter, libraries and their buffers."""
_OUTPUT_BYTES = 17
"""Bytes a pixel of the index, its standard deviation, its confidence and the index of the picture."""
_VOLUME_BYTES = 9
"""Bytes a pixel and frame while a strip is measured, without the images themselves."""
_KEPT_BYTES = 2
"""Bytes a pixel and frame of logits on the scratch disk."""
_LABEL_BYTES = 10
"""Bytes a lattice site and frame while labels are regularised."""
_FUSION_BYTES = 190
"""Bytes a pixel while a strip is blended, for any number of frames."""
_SHARE = 0.5
"""Strips are not made larger than this share of the memory: longer ones are no faster."""


@dataclass(frozen=True)
class Plan:
    """How a stack is cut into strips, and what that takes."""

    strip_rows: int
    """Rows of a strip, without its halo."""
    halo_rows: int
    fusion_rows: int
    """Rows that fit into memory while the picture is blended, halo included."""
    memory_gb: float
    """Predicted peak memory of the process."""
    scratch_gb: float
    """Disk space for the aligned frames, and for logits that are kept."""

    def strips(self, height: int) -> list[tuple[int, int]]:
        """First row and row after the last of every strip."""
        return [(top, min(top + self.strip_rows, height)) for top in range(0, height, self.strip_rows)]

    def with_halo(self, strip: tuple[int, int], height: int) -> tuple[int, int]:
        """The rows a strip needs to read."""
        return max(0, strip[0] - self.halo_rows), min(height, strip[1] + self.halo_rows)

    def for_fusion(self, halo_px: int, multiple: int) -> Plan:
        """The strips for blending: with another halo, cut at multiples of some rows."""
        halo = _rounded_up(halo_px, multiple)
        rows = max(multiple, (self.fusion_rows - 2 * halo) // multiple * multiple)
        return replace(self, strip_rows=rows, halo_rows=halo)


def make_plan(
    stack: FocalStack, settings: Settings, *, halo_px: int, channels: int, keeps_volume: bool = False
) -> Plan:
    """Choose strips that the memory allows.

    Args:
        stack: The stack, of which only the shape is used.
        settings: max_memory_gb is the limit.
        halo_px: Rows of context that measuring and refining need.
        channels: Channels of the images that the focus measure takes.
        keeps_volume: Whether the logits are kept on the scratch disk.

    Raises:
        ValueError: the memory does not suffice for the smallest strip.
    """
    height, width, depth = stack.shape
    count, limit = len(stack), settings.max_memory_gb * _GB
    halo = _rounded_up(halo_px, LATTICE)
    sites = count * -(-height // LATTICE) * -(-width // LATTICE)
    fixed = _BASE_GB * _GB + height * width * (_OUTPUT_BYTES + depth * stack.dtype.itemsize)
    row = count * width * (_VOLUME_BYTES + 4 * channels)
    labelling = fixed + sites * _LABEL_BYTES
    smallest = max(labelling, fixed + 2 * sites + row * (2 * halo + LATTICE))
    if smallest > limit:
        raise ValueError(
            f"--max-memory: {count} frames of {width} x {height} px need at least {smallest / _GB:.1f} GB; got "
            f"{settings.max_memory_gb:g} GB; raise it to {smallest / _GB + 0.1:.1f} or use --every 2"
        )
    budget = min(limit - fixed - 2 * sites, max(_SHARE * limit, row * (2 * halo + LATTICE)))
    rows = min(max(LATTICE, int(budget // row) - 2 * halo) // LATTICE * LATTICE, _rounded_up(height, LATTICE))
    fusion_rows = int(min(limit - fixed, _SHARE * limit) // (width * _FUSION_BYTES))
    measuring = fixed + 2 * sites + row * min(rows + 2 * halo, height)
    fusing = fixed + width * _FUSION_BYTES * min(fusion_rows, height)
    return Plan(
        strip_rows=rows,
        halo_rows=halo,
        fusion_rows=fusion_rows,
        memory_gb=max(measuring, labelling, fusing) / _GB,
        scratch_gb=count * height * width * (depth * stack.dtype.itemsize + _KEPT_BYTES * keeps_volume) / _GB,
    )


def _rounded_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
