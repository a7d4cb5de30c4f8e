"""Scenes for training only: plates, beads and bristles at random heights, under random textures.

No benchmark scene is like them. Textures are photographs from a folder, where one is given, procedural ones, and
nothing at all: blank things teach a network not to promise depth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dff.simulate.rays import Gloss
from dff.simulate.scenes import Surfaces
from dff.simulate.stage import Stage
from dff.simulate.surfaces import Rods
from dff.simulate.textures import BRONZE, CERAMIC, CHITIN, GLASS, MOSS, SAND, STONE, Palette, fractal_noise, mottled
from dff.stack import FloatArray

PALETTES = (BRONZE, CERAMIC, CHITIN, GLASS, MOSS, SAND, STONE)
MOST_PLATES = 7
MOST_RODS = 24
MOST_HAIRS = 60
BLANK = 0.08
"""Share of the textures with no contrast."""


@dataclass(frozen=True)
class Collage:
    """A scene of random things, called with the stage it is built on."""

    photographs: tuple[Path, ...] = field(default=(), repr=False)

    def __call__(self, stage: Stage) -> Surfaces:
        """Ground with plates on it, and rods above."""
        random = stage.random
        height, albedo = self._ground(stage)
        for _ in range(random.integers(1, MOST_PLATES + 1)):
            inside, plate = _plate(stage)
            above = inside & (plate > height)
            height = np.where(above, plate, height)
            mask = np.clip(stage.fine(above.astype(np.float32)), 0, 1)[..., None]
            albedo = albedo * (1 - mask) + self._texture(stage) * mask
        ground = stage.relief(np.clip(height, 0.02, 0.98).astype(np.float32), albedo, gloss=_gloss(stage))
        if random.random() < 0.4:
            return (ground,)
        return (ground, self._rods(stage))

    def _ground(self, stage: Stage) -> tuple[FloatArray, FloatArray]:
        random = stage.random
        tilt = random.normal(0, 0.12, 2)
        rough = 10 ** random.uniform(-2.5, -0.7) * _noise(stage)
        return random.uniform(0.05, 0.4) + tilt[0] * stage.u + tilt[1] * stage.v + rough, self._texture(stage)

    def _texture(self, stage: Stage) -> FloatArray:
        """(H, W, 3) linear colours: a photograph, minerals, or noise of one colour; sometimes nearly nothing."""
        random = stage.random
        kind = random.random()
        if kind < 0.5 and self.photographs:
            picture = _photograph(self.photographs[random.integers(len(self.photographs))], stage)
        elif kind < 0.8:
            picture = mottled(stage.fine_shape, random, _palette(stage), scale=random.uniform(0.4, 2))
        else:
            exponent, finest_px = random.uniform(0.2, 2), random.uniform(2, 6)
            noise = fractal_noise(stage.fine_shape, random, exponent=exponent, finest_px=finest_px)
            picture = np.repeat(np.clip(0.4 + random.uniform(0.03, 0.2) * noise, 0, 1)[..., None], 3, 2)
        faded = 10 ** random.uniform(-1.6, -0.7) if random.random() < 0.2 else random.uniform(0.4, 1)
        return stage.fade(picture.astype(np.float32), 0.0 if random.random() < BLANK else faded * stage.contrast)

    def _rods(self, stage: Stage) -> Rods:
        random = stage.random
        hairs = random.random() < 0.25
        count = int(random.integers(1, (MOST_HAIRS if hairs else MOST_RODS) + 1))
        radius = 10 ** random.uniform(-2.0, -1.5 if hairs else -0.6, count) * (0.5 if count > 12 else 1.0)
        start = np.column_stack([random.uniform(-1, 1, (count, 2)), random.uniform(0.1, 0.95, count)])
        end = start + random.normal(0, 0.4, (count, 3)) * (random.random((count, 1)) < 0.7)
        reach = (radius * stage.half_mm / stage.sweep_mm)[:, None]
        for point in (start, end):
            point[:, 2:] = np.clip(point[:, 2:], 0.05, 0.97 - np.minimum(reach, 0.5))
        tint = random.uniform(0.6, 1.3, (count, 3))
        return stage.rods(
            start, end, radius, tint, _palette(stage), scale=random.uniform(0.4, 1.5), gloss=_gloss(stage)
        )


def _gloss(stage: Stage) -> Gloss:
    """A highlight, on a third of the things of a glossy stage."""
    strength = stage.random.uniform(0.2, 1) if stage.random.random() < 0.33 else 0.0
    return stage.shine(strength, 10 ** stage.random.uniform(0.8, 1.8))


def _palette(stage: Stage) -> Palette:
    return PALETTES[stage.random.integers(len(PALETTES))]


def _noise(stage: Stage) -> FloatArray:
    size = min(stage.size_px)
    return fractal_noise(
        stage.shape, stage.random, exponent=stage.random.uniform(1.4, 2.2), coarsest_px=0.5 * size, finest_px=4
    )


def placed(stage: Stage, kinds: int) -> tuple[FloatArray, FloatArray, int]:
    """Coordinates along and across a thing that lies anywhere on the stage at any angle, and which of so many kinds."""
    x, y = stage.random.uniform(-0.9, 0.9, 2)
    angle, kind = stage.random.uniform(0, np.pi), int(stage.random.integers(kinds))
    along = (stage.u - x) * np.cos(angle) + (stage.v - y) * np.sin(angle)
    return along, (stage.v - y) * np.cos(angle) - (stage.u - x) * np.sin(angle), kind


def _plate(stage: Stage) -> tuple[NDArray[np.bool_], FloatArray]:
    """Where a plate is, and its heights: an ellipse, a half plane or a blot; level, tilted or rough."""
    random, (across, down, kind) = stage.random, placed(stage, 3)
    if kind == 0:
        inside = np.hypot(across / random.uniform(0.1, 0.7), down / random.uniform(0.1, 0.7)) < 1
    elif kind == 1:
        inside = (np.abs(across) < random.uniform(0.05, 0.6)) & (np.abs(down) < random.uniform(0.05, 1.5))
    else:
        inside = _noise(stage) - 2 * np.hypot(across, down) > random.uniform(-2, 0)
    tilt = random.normal(0, 0.25) * random.integers(2)
    height = random.uniform(0.15, 0.95) + tilt * across + 10 ** random.uniform(-3, -1.3) * _noise(stage)
    return inside, height


def _photograph(path: Path, stage: Stage) -> FloatArray:
    """A photograph in linear light, mirrored until it covers the ground."""
    from dff import io

    picture = io.read_image(path).astype(np.float32)[..., :3] / 255
    if picture.shape[2] == 1:
        picture = np.repeat(picture, 3, 2)
    if stage.random.random() < 0.5:
        picture = picture[:, ::-1]
    rows, columns = (_mirrored(stage, count, length) for count, length in zip(stage.fine_shape, picture.shape))
    return (picture[rows][:, columns] ** 2.2).astype(np.float32)


def _mirrored(stage: Stage, count: int, length: int) -> NDArray[np.intp]:
    """`count` neighbouring numbers below `length`, from a random one on, mirrored at the ends."""
    number = (np.arange(count) + stage.random.integers(length)) % (2 * length)
    return np.where(number < length, number, 2 * length - 1 - number)
