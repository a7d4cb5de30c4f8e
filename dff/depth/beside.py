"""Depth beside occlusion edges: what the vote settled, mixed with planes and the pixel's own focus curve.

The vote's plane is made of like-coloured neighbours, which is safe and coarse. Where the other estimates are close to
it they are often better: windows that lie on one surface, and pixels of strong texture. The shares are judged as those
of `dff.depth.windows` are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dff.depth import windows
from dff.depth.edges import Settled
from dff.depth.mixture import mixture_of
from dff.depth.windows import Windows

VALUES = ("settled", "single", *windows.VALUES)
"""What is mixed."""
_PLANES = (0, 1, 2, 4)
FEATURES = (
    "off_single",
    *(f"off_{windows.VALUES[k]}" for k in _PLANES),
    *("share", "log_sigma", "known", "noise_settled"),
    *windows.FEATURES,
)
"""What the shares are judged by: logarithms of distances from the settled depth, how unanimous the vote was, noise."""
_SINGLE_FRAMES, _PLANE_FRAMES = 1.5, 2.0
"""What is farther from the settled depth is cut: it is of the other surface."""
_LEAST_FRAMES, _MOST_FRAMES = 1e-2, 5.0
_SIGMA_FRAMES = (0.02, 3.0)
_WEIGHT = (0.1, 1e4)


@dataclass(frozen=True)
class Beside:
    """Estimates of depth at the pixels that a vote decided."""

    values: Tensor
    """(J, M) in the order of VALUES."""
    features: Tensor
    """(F, M) in the order of FEATURES."""

    @classmethod
    def of(cls, settled: Settled, single: Tensor, sigma: Tensor, found: Windows) -> Beside:
        """All estimates.

        Args:
            settled: What the vote decided.
            single: (H, W) index of each pixel by itself; NaN where it has none.
            sigma: (H, W) its standard deviation.
            found: Planes over windows of several sizes.
        """
        spots = settled.spots

        def there(values: Tensor) -> Tensor:
            return values.flatten(-2).index_select(-1, spots)

        label, index = there(settled.label).to(torch.float32), there(settled.index)
        centre = torch.where(index.isfinite(), index, label)
        own, planes = there(single), there(found.values)
        known = own.isfinite()
        off = torch.where(known, own, label) - centre
        away = planes - centre
        distances = torch.cat([off[None], away[list(_PLANES)]]).abs().clamp(_LEAST_FRAMES, _MOST_FRAMES).log()
        others = [
            there(settled.share),
            there(sigma).clamp(*_SIGMA_FRAMES).log(),
            known.to(torch.float32),
            -0.5 * there(settled.weight).clamp(*_WEIGHT).log(),
        ]
        values = [
            centre[None],
            (centre + off.clamp(-_SINGLE_FRAMES, _SINGLE_FRAMES))[None],
            centre + away.clamp(-_PLANE_FRAMES, _PLANE_FRAMES),
        ]
        features = torch.cat([distances, torch.stack(others), there(found.features)])
        return cls(torch.cat(values), features.nan_to_num(0.0, 3.0, -3.0))

    def mixed(self) -> Tensor:
        """(M,) the mixture of the estimates."""
        return mixture_of("edge").units.mixed(self.features, self.values)
