"""What the focus curves of single pixels say around their labels: after that no logit is looked at any more.

It is found band by band of rows, so that the logits of all frames need never lie in memory at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dff.depth.refine import PeakFit

SECOND_PEAK_FRAMES = 4
"""Another peak is one at least this far from the label."""
_CURVE_MAPS, _HALO_MAPS = 2, 4


@dataclass(frozen=True)
class Peaks:
    """The peaks of a part of the picture."""

    count: int
    """Number of frames."""
    label: Tensor
    """(H, W) int64."""
    fit: PeakFit
    around: Tensor
    """(2 or 4, H, W) largest logit away from the label, mean logit, and where halos matter the logit at the label and
    the mean of logits, those below that of noise counted as that."""

    @classmethod
    def empty(cls, count: int, size_px: tuple[int, int], *, halos: bool) -> Peaks:
        """Peaks to be filled by `put`.

        Args:
            count: Number of frames.
            size_px: (H, W).
            halos: Whether halos matter.
        """
        label, start = (torch.empty(size_px, dtype=torch.int64) for _ in range(2))
        return cls(count, label, PeakFit.empty(start), _no_maps(size_px, halos=halos))

    def put(self, top: int, band: Peaks) -> None:
        """Copy the peaks of some rows to their place."""
        rows = slice(top, top + len(band.label))
        self.label[rows], self.fit.start[rows] = band.label, band.fit.start
        self.fit.maps[:, rows], self.around[:, rows] = band.fit.maps, band.around


def logits_around(volume: Tensor, label: Tensor, noise_logit: float, *, halos: bool) -> Tensor:
    """(2 or 4, H, W) what the logits of all frames say, for `Peaks`.

    Args:
        volume: (N, H, W) logits.
        label: (H, W) int64.
        noise_logit: Logit of a place without texture.
        halos: Whether halos matter.
    """
    from dff.depth.peak_loops import around

    away = min(SECOND_PEAK_FRAMES, max(1, len(volume) // 5))
    found = _no_maps(label.shape, halos=halos)
    given = volume.contiguous().numpy(), label.contiguous().numpy(), away, np.float32(noise_logit)
    around(*given, found.numpy())
    return found


def _no_maps(size_px: Sequence[int], *, halos: bool) -> Tensor:
    return torch.empty(_HALO_MAPS if halos else _CURVE_MAPS, *size_px)
