"""Alignment: estimate, bound, gate and undo the motion and the brightness between frames; find their order."""

from dff.align.chain import estimate_alignment
from dff.align.motion import MODELS
from dff.align.order import estimate_order
from dff.align.warp import covered, covered_columns, partly_covered, valid_area, valid_frames, warp_frame

__all__ = [
    "MODELS",
    "covered",
    "covered_columns",
    "estimate_alignment",
    "estimate_order",
    "partly_covered",
    "valid_area",
    "valid_frames",
    "warp_frame",
]
