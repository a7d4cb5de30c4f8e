"""The ground a scene is built on: its size, and turning arrays into surfaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dff.simulate.mesh import Body
from dff.simulate.rays import AMBIENT, LIGHT, Chart, Gloss
from dff.simulate.surfaces import Relief, Rods
from dff.simulate.textures import Palette, gradient, mottled, photographed, shading
from dff.stack import FloatArray


@dataclass(frozen=True)
class Stage:
    """Where a scene is built. Lateral units are the short side's half, heights are shares of the sweep."""

    size_px: tuple[int, int]
    pixel_mm: float
    sweep_mm: float
    """Height of the nearest plane of focus over the farthest."""
    pad_px: int
    """Ground beyond the picture that slanted rays still see."""
    random: np.random.Generator
    contrast: float = 1.0
    """Factor on the contrast of all textures."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    photographs: tuple[Path, ...] = ()
    """Pictures that textures are taken from instead of procedural ones."""
    gloss: float = 0.0
    """Factor on the highlights of all surfaces."""

    @property
    def half_mm(self) -> float:
        """Half the picture's shorter side."""
        return 0.5 * min(self.size_px) * self.pixel_mm

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the ground, padding included."""
        return self.size_px[0] + 2 * self.pad_px, self.size_px[1] + 2 * self.pad_px

    @property
    def fine_shape(self) -> tuple[int, int]:
        """(H, W) of textures: two texels a pixel."""
        return 2 * self.shape[0] - 1, 2 * self.shape[1] - 1

    @cached_property
    def u(self) -> FloatArray:
        """(1, W) x in short half sides."""
        return (np.arange(self.shape[1], dtype=np.float32)[None] - (self.shape[1] - 1) / 2) * 2 / min(self.size_px)

    @cached_property
    def v(self) -> FloatArray:
        """(H, 1) y, downward, in short half sides."""
        return (np.arange(self.shape[0], dtype=np.float32)[:, None] - (self.shape[0] - 1) / 2) * 2 / min(self.size_px)

    def fine(self, picture: FloatArray) -> FloatArray:
        """A picture on the ground's lattice, resampled to the textures' lattice."""
        tensor = torch.from_numpy(np.array(picture, np.float32))[None, None]
        return F.interpolate(tensor, self.fine_shape, mode="bicubic", align_corners=True)[0, 0].numpy()

    def chart(self, picture: FloatArray, corner_px: tuple[float, float] | None = None, *, fine: bool) -> Chart:
        """An (H, W[, C]) picture laid over the ground, or with its first pixel at (x, y) from the middle."""
        layered = picture[..., None] if picture.ndim == 2 else picture
        image = torch.from_numpy(np.array(layered.transpose(2, 0, 1), np.float32, order="C")).to(self.device)
        left, top = corner_px or (-(self.shape[1] - 1) / 2, -(self.shape[0] - 1) / 2)
        return Chart(image, left * self.pixel_mm, top * self.pixel_mm, self.pixel_mm / 2 if fine else self.pixel_mm)

    def albedo(self, palette: Palette, *, scale: float = 1.0) -> FloatArray:
        """(H, W, 3) colours on the textures' lattice: mineral-like, or a photograph, with the stage's contrast."""
        if self.photographs:
            chosen = self.photographs[int(self.random.integers(len(self.photographs)))]
            picture = photographed(self.fine_shape, self.random, chosen)
        else:
            picture = mottled(self.fine_shape, self.random, palette, scale=scale)
        return self.fade(picture, self.contrast)

    def shine(self, strength: float, exponent: float) -> Gloss:
        """A highlight, as strong as the stage allows."""
        return Gloss(strength * self.gloss, exponent)

    def fade(self, picture: FloatArray, contrast: float | FloatArray) -> FloatArray:
        """A texture with its contrast about its mean colour changed."""
        mean = picture.mean((0, 1), keepdims=True)
        factor = np.asarray(contrast, np.float32)
        return np.clip(mean + (picture - mean) * (factor[..., None] if factor.ndim else factor), 0.02, 1)

    def relief(
        self,
        height: FloatArray,
        albedo: FloatArray,
        *,
        gloss: Gloss | None = None,
        within: NDArray[np.bool_] | None = None,
    ) -> Relief:
        """A shaded height field.

        Args:
            height: (H, W) in shares of the sweep.
            albedo: (H', W', 3) linear colours on the textures' lattice.
            gloss: Highlight.
            within: (H, W) the part that can be seen, where the rest lies under another relief.
        """
        heights_mm = np.broadcast_to(np.asarray(height, np.float32) * self.sweep_mm, self.shape)
        slopes = gradient(self.fine(heights_mm), self.pixel_mm / 2)
        light = albedo * shading(self.fine(heights_mm), slopes, self.pixel_mm / 2, LIGHT, AMBIENT)[..., None]
        shiny = gloss is not None and gloss.strength > 0
        picture = np.dstack([light, *slopes]) if shiny else light
        seen = _around(within) if within is not None else (slice(0, self.shape[0]), slice(0, self.shape[1]))
        kept = [slice(max(0, s.start - self.pad_px), min(n, s.stop + self.pad_px)) for s, n in zip(seen, self.shape)]
        fine = tuple(slice(2 * part.start, 2 * part.stop - 1) for part in kept)
        corner = kept[1].start - (self.shape[1] - 1) / 2, kept[0].start - (self.shape[0] - 1) / 2
        inner = [slice(s.start - part.start, s.stop - part.start) for s, part in zip(seen, kept)]
        return Relief.of(
            self.chart(heights_mm[kept[0], kept[1]], corner, fine=False),
            self.chart(picture[fine], corner, fine=True),
            gloss or Gloss(),
            (inner[0], inner[1]),
        )

    def rods(
        self,
        start: FloatArray,
        end: FloatArray,
        radius: FloatArray,
        tint: FloatArray,
        palette: Palette,
        *,
        scale: float = 1.0,
        gloss: Gloss | None = None,
    ) -> Rods:
        """Beads or bristles.

        Args:
            start: (M, 3) x and y in short half sides, height in shares of the sweep.
            end: (M, 3) likewise.
            radius: (M,) in short half sides.
            tint: (M, 3) factors on the colours.
            palette: Colours of the texture.
            scale: Size of the texture's grain.
            gloss: Highlight.
        """
        units = np.array([self.half_mm, self.half_mm, self.sweep_mm])
        mm = [
            torch.as_tensor(np.asarray(part, float) * units, dtype=torch.float32, device=self.device)
            for part in (start, end)
        ]
        radius_mm = torch.as_tensor(np.asarray(radius) * self.half_mm, dtype=torch.float32, device=self.device)
        tints = torch.as_tensor(np.asarray(tint), dtype=torch.float32, device=self.device)
        texture = self.chart(self.albedo(palette, scale=scale), fine=True)
        return Rods(mm[0], mm[1], radius_mm, tints, texture, gloss or Gloss())

    def body(
        self,
        vertices: FloatArray,
        triangles: NDArray[np.int32],
        palette: Palette,
        *,
        scale: float = 1.0,
        gloss: Gloss | None = None,
    ) -> Body:
        """A mesh.

        Args:
            vertices: (V, 3) x and y in short half sides, y downward, height in shares of the sweep.
            triangles: (T, 3) vertex numbers.
            palette: Colours of the texture.
            scale: Size of the texture's grain.
            gloss: Highlight.
        """
        mm = vertices * np.array([self.half_mm, self.half_mm, self.sweep_mm])
        texture = self.chart(self.albedo(palette, scale=scale), fine=True)
        return Body.of(mm, triangles, texture, gloss or Gloss())


def _around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of a mask, and two more on either side."""
    parts = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    rows, columns = (
        slice(max(0, int(part[0]) - 2), min(length, int(part[-1]) + 3)) for part, length in zip(parts, mask.shape)
    )
    return rows, columns
