"""The lattice: what every cell of LATTICE x LATTICE pixels says of the frames, put together tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dff.covered import Covered
from dff.depth.claims import CLAIMS, claims_of
from dff.depth.select import lattice_volume
from dff.focus import UNCOVERED_LOGIT
from dff.focus.measure import RowsOfCells

_CLEAR = 1.5
_LEAST_LOGIT = -30.0
"""Of frames that cover a site: one step of a 16-bit image is far above."""
_QUIET_SHARE = 0.02
INVALID_LOGIT = UNCOVERED_LOGIT
"""Of frames that do not cover a pixel."""


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


@dataclass(frozen=True)
class SeenRows:
    """Rows of the frames, and what their energies say."""

    planes: Tensor
    """(N, above + rows + below, W) luminance."""
    above_px: int
    below_px: int
    energies: Tensor
    """(N, h, w) logarithm of the energies of the sites."""
    bare: dict[int, Tensor]
    """(h, w) by frame: the logit of what it does not cover."""


@dataclass
class SiteRows:
    """The lattice of a picture whose rows come strip by strip, from top to bottom, to a network that looks at rows."""

    network: RowsOfCells
    energies: Callable[[Tensor, Covered | None, slice], Tensor]
    """(N, C, H, W) images, what frames cover, and the rows that are wanted → (N, h, w) logarithm of the energies of
    their sites."""
    edge_px: int
    """Rows above and below new ones that the network has to see."""
    _waiting: list[tuple[Tensor, dict[int, Tensor]]] = field(default_factory=list)
    """Strips that the network has not decided: energies, and by frame the logit of what it does not cover."""
    _shares: list[Tensor] = field(default_factory=list)

    def seen(self, images: Tensor, covered: Covered | None, above_px: int, below_px: int) -> SeenRows:
        """A strip as it is taken in, which another thread may make ready while those above are decided.

        Args:
            images: (N, C, above + rows + below, W) frames, filtered along the stack, from a multiple of LATTICE on.
            covered: What frames cover; None: all cover everything.
            above_px: Rows that belong to the strip before.
            below_px: Rows that belong to the next one.
        """
        inside = slice(above_px, images.shape[2] - below_px)
        bare = {} if covered is None else {k: site_logit(where[inside]) for k, where in covered.bare()}
        above, below = min(above_px, self.edge_px), min(below_px, self.edge_px)
        planes = images[:, 0, above_px - above : images.shape[2] - below_px + below]
        return SeenRows(planes, above, below, self.energies(images, covered, inside), bare)

    def push(self, strip: SeenRows) -> Iterator[Sites]:
        """Take in the next strip; gives the strips that are decided, each as it was taken in."""
        self._waiting.append((strip.energies, strip.bare))
        self._shares.append(self.network.push(strip.planes, strip.above_px, strip.below_px))
        yield from self._decided()

    def _decided(self) -> Iterator[Sites]:
        while self._waiting and self._waiting[0][0].shape[1] <= sum(part.shape[1] for part in self._shares):
            energies, bare = self._waiting.pop(0)
            shares = torch.cat(self._shares, 1)
            self._shares = [shares[:, energies.shape[1] :]]
            shares = shares[:, : energies.shape[1]].clone()
            for k, logit in bare.items():
                shares[k] += logit
            yield Sites.of(energies, shares)


def site_logit(bare: Tensor) -> Tensor:
    """(h, w) logit of the sites of which a frame does not cover all or some of the pixels.

    Args:
        bare: (H, W) bool: what it does not cover.
    """
    return lattice_volume(torch.where(bare, INVALID_LOGIT, 0.0)[None])[0]


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
