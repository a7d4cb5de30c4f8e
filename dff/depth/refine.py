"""Sub-frame peaks: a parabola through the energies around each label, by weighted least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BROAD, _NARROW = (1.5, 0.25), (4.0, 0.35)
"""Power of the energies as weights, and bend q, of broad and narrow focus curves."""
FLATTEST = 1e-6
"""Curvature of the parabola below which there is no peak."""


@dataclass(frozen=True)
class Refined:
    """What a fit around a label found at each pixel."""

    index: Tensor
    """(H, W) sub-frame index; NaN where there is no peak inside the sweep."""
    sigma: Tensor
    """(H, W) standard deviation of the index in frames; NaN where the index is."""
    confidence: Tensor
    """(H, W) probability that the index is right to one frame; 0 where unknown."""
    label: Tensor
    """(H, W) int64 the label the fit started from: an answer everywhere, known or not."""


@dataclass(frozen=True)
class PeakFit:
    """The parabola at each pixel."""

    maps: Tensor
    """(5, H, W) the following ones."""
    start: Tensor
    """(H, W) int64 frame that was fitted around."""

    @classmethod
    def empty(cls, start: Tensor) -> PeakFit:
        """Parabolas to be filled around frames (H, W)."""
        from dff.depth.peak_loops import FITTED

        return cls(torch.empty(FITTED, *start.shape), start)

    @property
    def index(self) -> Tensor:
        """(H, W) its vertex in frames."""
        return self.maps[0]

    @property
    def curvature(self) -> Tensor:
        """(H, W) drop of the logit one frame from the vertex; positive for a peak."""
        return self.maps[1]

    @property
    def height(self) -> Tensor:
        """(H, W) largest logit in the window."""
        return self.maps[2]

    @property
    def residual(self) -> Tensor:
        """(H, W) weighted rms of the logits about the parabola."""
        return self.maps[3]

    @property
    def sigma(self) -> Tensor:
        """(H, W) standard deviation of the vertex from the noise of the logits alone, frames."""
        return self.maps[4]


def fit_peak(
    volume: Tensor,
    label: Tensor,
    *,
    radius: int = 3,
    search: int = 0,
    position: NDArray[np.floating] | None = None,
    noise_logit: float = -math.inf,
    samples: float = 50.0,
    narrow: bool = False,
) -> PeakFit:
    """Vertex of the weighted least-squares parabola through the energies within `radius` frames of the label.

    Not the logarithm l of the energy is taken for a parabola but (1 - exp(-q l)) / q: the energy of a texture falls
    off with defocus as a power of a parabola, and the logarithm leaves a bias that is periodic in the fraction of the
    frame. Weights are a power of the energies relative to the largest, so that the fit narrows by itself where the
    peak is narrow. A logit's variance is that of the logarithm of a mean of n squared samples of signal and noise,
    v = (2 / n) (2 r - 1) / r², r the energy over that of the noise; the normal matrix carries it to the vertex.

    Args:
        volume: (N, H, W) logits.
        label: (H, W) frame to search around.
        radius: Frames on either side.
        search: Frames on either side of the label within which the highest is fitted around instead.
        position: (N,) frame index each plane of the volume stands for; evenly spaced by default.
        noise_logit: Logit of a place without texture.
        samples: Number n of independent samples in a window of the measure.
        narrow: Whether the energy falls off within a frame or two.
    """
    from dff.depth.peak_loops import fits

    times = _times(len(volume), position)
    fit = PeakFit.empty(torch.empty(label.shape, dtype=torch.int64))
    shape = np.array([*(_NARROW if narrow else _BROAD), noise_logit, samples], np.float32)
    planes, near = volume.contiguous().numpy(), label.to(torch.int64).contiguous().numpy()
    fits(planes, near, times, radius, search, *shape, fit.start.numpy(), fit.maps.numpy())
    return fit


def _times(count: int, position: NDArray[np.floating] | None) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.arange(count) if position is None else position, np.float32)


def in_frames(fit: PeakFit, position: NDArray[np.floating]) -> PeakFit:
    """The fit with its index, changed in place, in frames at some positions; beyond them the last step goes on.

    Args:
        fit: With an index in units of the positions.
        position: (N,) of the frames, increasing.
    """
    from dff.depth.peak_loops import frames_at

    frames_at(_times(len(position), position), fit.start.numpy(), fit.index.numpy())
    return fit
