"""The lattice: what every cell of LATTICE x LATTICE pixels says of the frames, put together tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dff.depth.claims import CLAIMS, claims_of

_CLEAR = 1.5
_LEAST_LOGIT = -30.0
"""Of frames that cover a site: one step of a 16-bit image is far above."""
_QUIET_SHARE = 0.02


@dataclass(frozen=True)
class Sites:
    """What a lattice, or a part of it, says."""

    lattice: Tensor
    """(N, h, w) float16 evidence for every frame, up to a constant at each site."""
    quietest: Tensor
    """(h, w) least logit of the energies."""
    peak: Tensor
    """(h, w) largest logit of the energies inside the sweep; -inf where an end of the sweep has a larger one, and where
    a frame beside it does not cover the site."""
    drop: Tensor
    """(h, w) how much a logit drops one frame from that peak."""
    claims: Tensor | None = None
    """(CLAIMS, h, w) the frames that a network claims, and how sure it is of each; None without a network."""

    @classmethod
    def empty(cls, count: int, size: tuple[int, int], *, claimed: bool) -> Sites:
        """A lattice to be filled by `put`.

        Args:
            count: Number of frames.
            size: (h, w) of the lattice.
            claimed: Whether a network claims frames.
        """
        quietest, peak, drop = torch.empty((3, *size))
        claims = torch.empty((CLAIMS, *size)) if claimed else None
        return cls(torch.empty((count, *size), dtype=torch.float16), quietest, peak, drop, claims)

    @classmethod
    def of(cls, energies: Tensor, shares: Tensor | None = None) -> Sites:
        """The lattice of a part of the picture that starts at a multiple of LATTICE.

        Args:
            energies: (N, h, w) logarithm of the mean energy of every site.
            shares: (N, h, w) logarithm of each frame's probability, as networks give; the energies add to it.
        """
        maps = _quietest(energies), *_peak(energies)
        if shares is None:
            return cls(energies.to(torch.float16), *maps)
        return cls((shares + energies.log_softmax(0)).to(torch.float16), *maps, claims_of(shares))

    def maps(self) -> Iterator[tuple[str, Tensor]]:
        """Name and (..., h, w) values of everything that is known of sites."""
        for name in ("lattice", "quietest", "peak", "drop", "claims"):
            if (values := getattr(self, name)) is not None:
                yield name, values

    def put(self, place: tuple[slice, slice], part: Sites, inside: tuple[slice, slice]) -> None:
        """Copy what lies `inside` of a part to its place."""
        for (_, whole), (_, values) in zip(self.maps(), part.maps()):
            whole[..., place[0], place[1]] = values[..., inside[0], inside[1]]

    def noise_logit(self) -> float:
        """Logit of a place without texture: the quietest sites in their quietest frames."""
        quietest = self.quietest.flatten()
        return float(quietest.kthvalue(max(1, round(_QUIET_SHARE * len(quietest)))).values)

    def typical_drop(self, noise_logit: float) -> float:
        """The median drop of the sites that stand out of the noise; 0 where none does."""
        clear = self.peak > noise_logit + _CLEAR
        return float(self.drop[clear].median()) if clear.any() else 0.0


def _quietest(lattice: Tensor) -> Tensor:
    """(h, w) least logit of the frames that cover a site; of all where none does."""
    covered = torch.where(lattice > _LEAST_LOGIT, lattice, torch.inf).amin(0)
    return torch.where(covered.isfinite(), covered, lattice.amin(0))


def _peak(lattice: Tensor) -> tuple[Tensor, Tensor]:
    """(h, w) largest logit that is not of an end of the sweep, and how much it drops within a frame."""
    if len(lattice) < 3:
        return torch.full_like(lattice[0], -torch.inf), torch.zeros_like(lattice[0])
    place = lattice[1:-1].argmax(0) + 1
    below, here, above = (lattice.gather(0, (place + step)[None])[0] for step in (-1, 0, 1))
    inside = (here >= lattice[0]) & (here >= lattice[-1]) & (torch.minimum(below, above) > _LEAST_LOGIT)
    return torch.where(inside, here, -torch.inf), here - 0.5 * (below + above)
