"""The scenes by name: closed-form shapes for metrology, and macro subjects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dff.simulate import subjects
from dff.simulate.rays import Surfaces
from dff.simulate.stage import Stage
from dff.simulate.textures import CERAMIC, SAND, STONE, Palette
from dff.stack import FloatArray

__all__ = ["SCENES", "Surfaces"]


def _plain(stage: Stage, height: FloatArray, palette: Palette = STONE) -> Surfaces:
    return (stage.relief(height, stage.albedo(palette)),)


def level(stage: Stage) -> Surfaces:
    """A level plane at half the sweep."""
    return _plain(stage, np.full(stage.shape, 0.5, np.float32))


def plane(stage: Stage) -> Surfaces:
    """A plane tilted mostly along x: it rises 0.36 of the sweep a half side to the right, and 0.04 downward."""
    return _plain(stage, 0.5 + 0.36 * stage.u + 0.04 * stage.v)


def textured_plane(stage: Stage) -> Surfaces:
    """A plane that rises 0.12 of the sweep from left to right: nearly level, yet every fraction of a frame occurs."""
    return _plain(stage, np.broadcast_to(0.5 + 0.06 * stage.u, stage.shape))


def staircase(stage: Stage) -> Surfaces:
    """Six level steps, each 0.16 of the sweep higher, rising from left to right."""
    step = np.clip(np.floor((stage.u + 1) * 3), 0, 5)
    return _plain(stage, np.broadcast_to(0.1 + 0.16 * step, stage.shape))


def cone(stage: Stage) -> Surfaces:
    """A cone, its tip toward the camera, on level ground."""
    return _plain(stage, np.maximum(0.9 - 0.85 * np.hypot(stage.u, stage.v), 0.1), SAND)


def hemisphere(stage: Stage) -> Surfaces:
    """Half an ellipsoid on level ground, its top at 0.9 of the sweep and its radius 0.8 of a half side."""
    inside = 1 - (stage.u**2 + stage.v**2) / 0.8**2
    return _plain(stage, 0.1 + 0.8 * np.sqrt(np.maximum(inside, 0)), CERAMIC)


def v_groove(stage: Stage) -> Surfaces:
    """A groove of flat sides along y, from 0.85 of the sweep down to 0.15 over 0.6 of a half side."""
    return _plain(stage, np.broadcast_to(0.15 + 0.7 * np.minimum(np.abs(stage.u) / 0.6, 1), stage.shape))


def sinusoid(stage: Stage) -> Surfaces:
    """Waves along x: four to the short side, 0.2 of the sweep high on either side of the middle."""
    return _plain(stage, np.broadcast_to(0.5 + 0.2 * np.sin(4 * np.pi * stage.u), stage.shape), CERAMIC)


SCENES: dict[str, Callable[[Stage], Surfaces]] = {
    "level": level,
    "plane": plane,
    "textured-plane": textured_plane,
    "staircase": staircase,
    "cone": cone,
    "hemisphere": hemisphere,
    "v-groove": v_groove,
    "sinusoid": sinusoid,
    "rock": subjects.rock,
    "fractal-rock": subjects.fractal_rock,
    "spheres": subjects.spheres,
    "bristles": subjects.bristles,
    "coin": subjects.coin,
    "weak-texture": subjects.weak_texture,
    "demo": subjects.still_life,
}
