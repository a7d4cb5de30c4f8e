"""Scenes for training that show what macro stacks ask of a network: print on blank ground, thin things far in front.

Where print lies beside nothing, the rim of its blur is the only thing to be seen there, in the wrong frames. Where a
claw or a rim stands far in front of a bright texture, that texture shines through its blur.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.simulate.scenes import Surfaces
from dff.simulate.stage import Stage
from dff.simulate.surfaces import Rods
from dff.simulate.textures import fractal_noise, mottled, photographed
from dff.stack import FloatArray
from dff.training.collage import PALETTES, placed

LETTERS = "ABCDEFGHKLMNPRSTUVXYZ0123456789-+"
PRINTED_SHARE = 0.85
"""Of the surfaces; on the others there is nothing to see."""
DARK_SHARE = 0.4
"""Of the grounds behind claws."""
MOST_PARTS = 6
MOST_CLAWS = 5
JOINTS = 7
"""Rods of one claw."""


@dataclass(frozen=True)
class Printed:
    """A board of one colour with parts on it, both printed upon; called with the stage it is built on."""

    def __call__(self, stage: Stage) -> Surfaces:
        """One relief: board, boxes, buttons, rims."""
        random = stage.random
        tilt = random.normal(0, 0.08, 2)
        height = np.broadcast_to(random.uniform(0.08, 0.5) + tilt[0] * stage.u + tilt[1] * stage.v, stage.shape)
        albedo = printed(stage)
        for _ in range(random.integers(0, MOST_PARTS + 1)):
            inside, top = _part(stage)
            above = inside & (top > height)
            height = np.where(above, top, height)
            mask = np.clip(stage.fine(above.astype(np.float32)), 0, 1)[..., None]
            albedo = albedo * (1 - mask) + printed(stage) * mask
        gloss = stage.shine(random.uniform(0.2, 1) * (random.random() < 0.33), 10 ** random.uniform(0.8, 1.8))
        return (stage.relief(np.clip(height, 0.02, 0.98).astype(np.float32), albedo.astype(np.float32), gloss=gloss),)


@dataclass(frozen=True)
class Claws:
    """Smooth bent claws and thin rims, near, over a far ground of strong texture."""

    photographs: tuple[Path, ...] = field(default=(), repr=False)

    def __call__(self, stage: Stage) -> Surfaces:
        """Far ground, with its texture or dark with nothing to see, and what stands before it."""
        random = stage.random
        slope = random.normal(0, 0.06, 2)
        rough = 10 ** random.uniform(-2.5, -1.2) * fractal_noise(stage.shape, random, exponent=1.8, finest_px=4)
        height, texture = random.uniform(0.03, 0.3) + slope[0] * stage.u + slope[1] * stage.v, self._texture(stage)
        if random.random() < DARK_SHARE:
            rough, texture = np.zeros_like(rough), np.full_like(texture, random.uniform(0.02, 0.06))
        ground = stage.relief(np.clip(height + rough, 0.02, 0.6).astype(np.float32), texture)
        return (ground, *(_claws(stage) for _ in range(random.integers(1, 3))))

    def _texture(self, stage: Stage) -> FloatArray:
        random = stage.random
        if self.photographs and random.random() < 0.6:
            path = self.photographs[random.integers(len(self.photographs))]
            return stage.fade(photographed(stage.fine_shape, random, path), 1.0)
        palette = PALETTES[random.integers(len(PALETTES))]
        return stage.fade(mottled(stage.fine_shape, random, palette, scale=random.uniform(0.3, 1.5)), 1.0)


def printed(stage: Stage) -> FloatArray:
    """(H, W, 3) colours on the textures' lattice: letters, pads and lines on ground with nothing, or nearly, to see."""
    random, shape = stage.random, stage.fine_shape
    ground = random.uniform(0.05, 0.3, 3) if random.random() < 0.75 else random.uniform(0.4, 0.8, 3)
    ink = random.uniform(0.6, 1, 3) if ground.mean() < 0.35 else random.uniform(0.03, 0.2, 3)
    mask = np.zeros(shape, np.uint8)
    count = random.integers(1, 4) if random.random() < PRINTED_SHARE else 0
    for kind in random.choice(3, count, replace=False):
        (_letters, _pads, _lines)[kind](mask, random)
    grain = 10 ** random.uniform(-3.5, -1.5) * fractal_noise(shape, random, exponent=random.uniform(0.2, 1.5))
    blotch = 10 ** random.uniform(-3, -1.5) * fractal_noise(shape, random, exponent=2, finest_px=20, coarsest_px=200)
    share = cv2.GaussianBlur(mask / np.float32(255), (0, 0), random.uniform(0.5, 1.2))[..., None]
    colours = ground * (1 - share) + ink * share
    return np.clip(colours * (1 + grain + blotch)[..., None], 0.02, 1).astype(np.float32)


def _letters(mask: NDArray[np.uint8], random: np.random.Generator) -> None:
    """A few words of one size; small ones are a few pixels high."""
    scale = 10 ** random.uniform(-0.5, 0.5)
    thickness = max(1, round(scale * random.uniform(1, 2.5)))
    for _ in range(random.integers(3, 20)):
        word = "".join(random.choice(list(LETTERS), random.integers(1, 7)))
        place = [int(random.integers(-20, side)) for side in mask.shape[::-1]]
        cv2.putText(mask, word, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)


def _pads(mask: NDArray[np.uint8], random: np.random.Generator) -> None:
    """Rows of small rectangles or discs."""
    for _ in range(random.integers(3, 14)):
        size, pitch = random.uniform(3, 24, 2), random.uniform(1.3, 3)
        start, across = random.uniform(0, 1, 2) * mask.shape[::-1], bool(random.integers(2))
        for number in range(random.integers(1, 10)):
            middle = start + number * pitch * (size * (1, 0) if across else size * (0, 1))
            if size[0] < size[1]:
                cv2.circle(mask, _whole(middle), round(size[0] / 2) + 1, 255, -1, cv2.LINE_AA)
            else:
                cv2.rectangle(mask, _whole(middle - size / 2), _whole(middle + size / 2), 255, -1)


def _lines(mask: NDArray[np.uint8], random: np.random.Generator) -> None:
    """Tracks, straight and bent, and outlines."""
    for _ in range(random.integers(1, 8)):
        points = random.uniform(0, 1, (random.integers(2, 5), 2)) * mask.shape[::-1]
        closed, thickness = bool(random.random() < 0.3), int(random.integers(1, 9))
        cv2.polylines(mask, [points.round().astype(np.int32)], closed, 255, thickness, cv2.LINE_AA)


def _whole(point: FloatArray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _part(stage: Stage) -> tuple[NDArray[np.bool_], FloatArray]:
    """Where a part is, and its heights: a box, a button or a rim; level, tilted or a dome."""
    random, (across, down, kind) = stage.random, placed(stage, 3)
    size = random.uniform(0.08, 0.5, 2)
    away = np.hypot(across, down) / size[0]
    if kind == 0:
        inside = (np.abs(across) < size[0]) & (np.abs(down) < size[1])
    elif kind == 1:
        inside = away < 1
    else:
        inside = (away < 1) & (away > 1 - random.uniform(0.06, 0.3))
    tilt, dome = random.normal(0, 0.2) * random.integers(2), random.uniform(0, 0.3) * random.integers(2)
    return inside, random.uniform(0.2, 0.95) + tilt * across - dome * away**2


def _claws(stage: Stage) -> Rods:
    """Bent rods that taper, with little to see on them, or closed rings of the same."""
    random = stage.random
    bones = [_bent(random) for _ in range(random.integers(1, MOST_CLAWS + 1))]
    start, end, radius = (np.concatenate(parts) for parts in zip(*bones))
    reach = np.minimum((radius * stage.half_mm / stage.sweep_mm)[:, None], 0.4)
    for point in (start, end):
        point[:, 2:] = np.clip(point[:, 2:], 0.05, 0.97 - reach)
    tint = np.tile(random.uniform(0.5, 1.6, 3), (len(radius), 1))
    smooth = replace(stage, contrast=stage.contrast * 10 ** random.uniform(-1.3, 0))
    gloss = stage.shine(random.uniform(0.2, 1), 10 ** random.uniform(0.8, 1.8))
    palette = PALETTES[random.integers(len(PALETTES))]
    return smooth.rods(start, end, radius, tint, palette, scale=random.uniform(0.4, 2), gloss=gloss)


def _bent(random: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Starts, ends and radii of JOINTS rods along an arc or a whole circle."""
    whole = random.random() < 0.3
    turn = np.linspace(0, 2 * np.pi if whole else random.uniform(0.3, 2.5), JOINTS + 1) + random.uniform(0, 2 * np.pi)
    bend, middle = random.uniform(0.2, 0.6) if whole else random.uniform(0.3, 1.5), random.uniform(-0.8, 0.8, 2)
    arc = bend * np.column_stack([np.cos(turn), np.sin(turn)])
    arc += middle - (0 if whole else arc.mean(0))
    slant = np.cos(turn) if whole else np.linspace(-1, 1, len(turn))
    high = random.uniform(0.45, 0.95) + random.normal(0, 0.12) * slant
    points = np.column_stack([arc, high])
    thick = 10 ** random.uniform(-2, -0.7)
    radius = np.full(JOINTS, thick) if whole else thick * np.linspace(1, random.uniform(0.15, 1), JOINTS)
    return points[:-1], points[1:], radius
