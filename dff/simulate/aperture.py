"""The shape of the pupil, which is the shape of every blur spot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SHAPES = ("disc", "polygon", "ring")


@dataclass(frozen=True)
class Aperture:
    """A pupil of radius 1.

    Raises:
        ValueError: an unknown shape, fewer than 3 blades, or a ring without width.
    """

    shape: str = "disc"
    blades: int = 6
    rotation_deg: float = 10.0
    inner: float = 0.5
    """Radius of a ring's central obstruction."""

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"aperture: must be {', '.join(SHAPES)}; got {self.shape!r}; choose one of them")
        if self.blades < 3:
            raise ValueError(f"blades: must be at least 3; got {self.blades}; give more blades")
        if not 0 < self.inner < 1:
            raise ValueError(f"inner: must be between 0 and 1; got {self.inner}; give a share of the radius")

    def transmission(self, pupil: Tensor, softness: float = 0.0) -> Tensor:
        """Share of light let through at points of the pupil.

        Args:
            pupil: (..., 2) points; the pupil's rim is at radius 1.
            softness: Width over which the rim fades.
        """
        radius = torch.linalg.vector_norm(pupil, dim=-1)
        inside = 1 - radius
        if self.shape == "ring":
            inside = torch.minimum(inside, radius - self.inner)
        elif self.shape == "polygon":
            inside = torch.minimum(inside, self._inside_blades(pupil))
        if softness <= 0:
            return (inside >= 0).to(pupil.dtype)
        return (inside / softness + 0.5).clamp(0, 1)

    def _inside_blades(self, pupil: Tensor) -> Tensor:
        half = math.pi / self.blades
        angle = torch.atan2(pupil[..., 1], pupil[..., 0]) - math.radians(self.rotation_deg)
        from_blade = torch.remainder(angle, 2 * half) - half
        return math.cos(half) - torch.linalg.vector_norm(pupil, dim=-1) * torch.cos(from_blade)

    @property
    def spread(self) -> float:
        """Standard deviation of the pupil along one axis; 1/2 for the disc."""
        if self.shape == "ring":
            return math.sqrt(1 + self.inner**2) / 2
        if self.shape == "polygon":
            return math.sqrt((2 + math.cos(2 * math.pi / self.blades)) / 12)
        return 0.5
