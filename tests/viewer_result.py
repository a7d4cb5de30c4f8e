"""A result with known depth for the tests of the viewers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import Alignment, DepthMap, Reconstruction

PATCH = np.s_[56:66, 40:52]
"""Rows and columns that are unknown."""


def staircase_result() -> Reconstruction:
    """The simulated staircase with its true index; frames breathe, shift and turn, and a patch is unknown."""
    scene = render_scene("staircase", size_px=96, frames=12)
    geometry = scene.stack.geometry
    if geometry is None:
        raise ValueError("staircase: must come with its geometry")
    count, size = len(geometry), scene.index.shape
    rows = np.linspace(0, 1, size[0], dtype=np.float32)[:, None]
    index = scene.index.astype(np.float32)
    index[PATCH] = np.nan
    confidence = np.where(np.isnan(index), 0, 0.6 + 0.3 * rows).astype(np.float32)
    sigma = np.where(np.isnan(index), np.nan, 0.02 + 0.1 * rows).astype(np.float32)
    return Reconstruction(
        all_in_focus=(np.clip(scene.sharp, 0, 1) ** 0.45 * 255).astype(np.uint8),
        depth=DepthMap(index, confidence, sigma),
        geometry=replace(geometry, pixel=geometry.pixel * np.linspace(0.98, 1.02, count)),
        alignment=_moving(count, size),
        settings=Settings(cut_frames=1.0),
        names=tuple(f"frame {k}" for k in range(count)),
    )


def _moving(count: int, size_px: tuple[int, ...]) -> Alignment:
    """Frames that are turned, scaled and shifted a little, the middle one not at all."""
    still = Alignment.identity(count, (size_px[0], size_px[1]))
    transforms = still.transforms.copy()
    for k in range(count):
        away = (k - still.reference) / count
        turn, scale = 0.01 * away, 1 + 0.03 * away
        transforms[k, :2, :2] = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        transforms[k, :2, 2] = 3 * away, -2 * away
    return replace(still, transforms=transforms)
