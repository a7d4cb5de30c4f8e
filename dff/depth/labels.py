"""What the whole lattice says: smoothed labels, the noise, and how fast focus curves drop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

NARROW_RADIUS = 1
"""Frames on either side of the peak that are of use where curves are narrow: those farther off fit no parabola."""
_NARROW_DROP = 0.35
"""Focus curves that drop more than this within a frame are narrow: the blur grows by 0.6 px a frame or more."""


@dataclass(frozen=True)
class Labels:
    """What the whole lattice says."""

    label: Tensor | None
    """(h, w) int64 smoothed labels; None where the method takes each pixel's own."""
    noise_logit: float
    """Logit of a place without texture."""
    drop: float = 0.0
    """How much a logit drops one frame from its peak."""
    claims: Tensor | None = None
    """(CLAIMS, h, w) what a network claims of the sites; None without a network."""

    @property
    def narrow(self) -> bool:
        """Whether the energy falls off within a frame or two."""
        return self.drop > _NARROW_DROP


def forget_uncovered(
    index: NDArray[np.float32], label: NDArray[np.float32], first: NDArray[np.int32], stop: NDArray[np.int32]
) -> None:
    """Make indices unknown, in place, where the label's frame or one beside it does not cover the pixel.

    Args:
        index: (H, W).
        label: (H, W).
        first: (N, H) first column that each frame covers in each row.
        stop: (N, H) column after the last, likewise.
    """
    from dff.depth.curve_loops import forget

    forget(index, label, first, stop, np.float32(NARROW_RADIUS))
