"""The scenes: closed-form shapes for metrology, and macro subjects with real occlusion."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from dff.simulate.rays import Surface
from dff.simulate.stage import Stage
from dff.simulate.textures import BRONZE, CERAMIC, CHITIN, GLASS, MOSS, SAND, STONE, Palette, fractal_noise
from dff.stack import FloatArray

Surfaces = tuple[Surface, ...]


def _plain(stage: Stage, height: FloatArray, palette: Palette = STONE) -> Surfaces:
    return (stage.relief(height, stage.albedo(palette)),)


def plane(stage: Stage) -> Surfaces:
    """A plane tilted mostly along x: heights 0.1 to 0.9 of the sweep from left to right."""
    return _plain(stage, 0.5 + 0.36 * stage.u + 0.04 * stage.v)


def staircase(stage: Stage) -> Surfaces:
    """Six level steps rising from left to right."""
    step = np.clip(np.floor((stage.u + 1) * 3), 0, 5)
    return _plain(stage, np.broadcast_to(0.1 + 0.16 * step, stage.shape))


def cone(stage: Stage) -> Surfaces:
    """A cone, its tip toward the camera, on level ground."""
    return _plain(stage, np.maximum(0.9 - 0.85 * np.hypot(stage.u, stage.v), 0.1), SAND)


def hemisphere(stage: Stage) -> Surfaces:
    """Half an ellipsoid on level ground, its top at 0.9 of the sweep."""
    inside = 1 - (stage.u**2 + stage.v**2) / 0.8**2
    return _plain(stage, 0.1 + 0.8 * np.sqrt(np.maximum(inside, 0)), CERAMIC)


def rock(stage: Stage) -> Surfaces:
    """A broken rock: tilted facets with ledges and clefts between them, and rough on all scales."""
    random = stage.random
    size = min(stage.size_px)
    warp = [0.05 * fractal_noise(stage.shape, random, exponent=2.2, coarsest_px=0.4 * size, finest_px=8) for _ in "uv"]
    u, v = stage.u + warp[0], stage.v + warp[1]
    cells = random.uniform(-1.3, 1.3, (26, 2))
    distance = np.stack([np.hypot(u - x, v - y) for x, y in cells])
    order = np.sort(distance, axis=0)
    nearest = distance.argmin(0)
    level = 0.78 - 0.42 * np.hypot(*cells.T) ** 1.5 / 1.3 + random.normal(0, 0.13, len(cells))
    tilt = random.normal(0, 0.30, (2, len(cells)))
    facets = level[nearest] + tilt[0][nearest] * (u - cells[nearest, 0]) + tilt[1][nearest] * (v - cells[nearest, 1])
    cleft = 0.10 * np.exp(-(((order[1] - order[0]) / 0.035) ** 2))
    rough = fractal_noise(stage.shape, random, exponent=2.0, coarsest_px=0.25 * size, finest_px=4)
    height = cv2.GaussianBlur((facets - cleft).astype(np.float32), (0, 0), 0.8) + 0.02 * rough
    return _plain(stage, _within(height, 0.06, 0.94), STONE)


def _within(height: FloatArray, low: float, high: float) -> FloatArray:
    """Heights scaled so that all lie between two shares of the sweep."""
    least, most = float(height.min()), float(height.max())
    return low + (height - least) * ((high - low) / (most - least))


def _rough_ground(stage: Stage, level: float, swing: float) -> FloatArray:
    size = min(stage.size_px)
    bumps = fractal_noise(stage.shape, stage.random, exponent=1.8, coarsest_px=0.5 * size, finest_px=5)
    return level + swing * np.clip(bumps, -2, 2) / 2


def spheres(stage: Stage) -> Surfaces:
    """Glazed beads that overlap one another at all heights over far ground."""
    random, count = stage.random, 11
    ground = _rough_ground(stage, 0.10, 0.04)
    radius = random.uniform(0.14, 0.34, count)
    place = _spread(random, count, 0.95)
    in_sweep = radius * stage.half_mm / stage.sweep_mm
    top = np.sort(random.uniform(0.30, 0.93, count))
    centre = np.column_stack([place, np.maximum(top, 0.1 + 1.2 * in_sweep).clip(max=0.95) - in_sweep])
    tint = np.array([(1, 0.45, 0.35), (0.5, 0.75, 1), (1, 0.85, 0.4), (0.6, 0.95, 0.6), (0.95, 0.95, 0.95)])
    beads = stage.rods(centre, centre, radius, tint[random.integers(0, 5, count)], GLASS, scale=0.8)
    return (stage.relief(ground, stage.albedo(SAND)), beads)


def _spread(random: np.random.Generator, count: int, reach: float) -> FloatArray:
    """(count, 2) places no two of which are close: the best of many candidates each (Mitchell 1991)."""
    places = random.uniform(-reach, reach, (1, 2))
    while len(places) < count:
        candidates = random.uniform(-reach, reach, (30, 2))
        distance = np.linalg.norm(candidates[:, None] - places[None], axis=2).min(1)
        places = np.vstack([places, candidates[distance.argmax()]])
    return places


def bristles(stage: Stage) -> Surfaces:
    """Curved tapering bristles that rise from far, mossy ground toward the camera."""
    random, count, pieces = stage.random, 15, 9
    ground = _rough_ground(stage, 0.14, 0.08)
    root = np.column_stack([_spread(random, count, 1.0), np.full(count, 0.12)])
    lean = random.uniform(0, 2 * np.pi, count)
    reach = random.uniform(0.35, 0.95, count)
    tip = root + np.column_stack([np.cos(lean) * reach, np.sin(lean) * reach, random.uniform(0.3, 0.8, count)])
    bow = np.column_stack([random.normal(0, 0.22, (count, 2)), random.uniform(0.05, 0.25, count)])
    share = np.linspace(0, 1, pieces + 1)[:, None, None]
    curve = root + (tip - root) * share + bow * (4 * share * (1 - share))
    curve[..., 2] = np.minimum(curve[..., 2], 0.95)
    radius = random.uniform(0.022, 0.05, count) * (1 - 0.75 * share[:-1, :, 0])
    tint = np.tile(random.uniform(0.75, 1.35, (1, count, 1)), (pieces, 1, 3))
    hairs = stage.rods(
        curve[:-1].reshape(-1, 3), curve[1:].reshape(-1, 3), radius.reshape(-1), tint.reshape(-1, 3), CHITIN, scale=0.5
    )
    return (stage.relief(ground, stage.albedo(MOSS)), hairs)


LEGEND = "DEPTH FROM FOCUS * MMXXVI * "


def coin_relief(size: int, legend: str) -> FloatArray:
    """(size, size) struck relief of a coin, 0 field to 1 highest; -1 outside the rim."""
    picture = np.zeros((size, size), np.float32)
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * 2 / size
    radius = np.hypot(axis[None], axis[:, None])
    angle = np.arctan2(axis[:, None], axis[None])
    picture[(radius > 0.92) & (radius <= 1)] = 0.85
    beads = (np.abs(np.remainder(angle * 36 / np.pi, 2) - 1) < 0.6) & (np.abs(radius - 0.875) < 0.018)
    picture[beads] = 0.6
    for number, letter in enumerate(legend):
        _stamp(picture, letter, 360 * number / len(legend) - 90)
    soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), size / 400))
    return np.where(radius <= 1, np.maximum(soft, _head(axis)), -1).astype(np.float32)


def _stamp(picture: FloatArray, letter: str, at_deg: float) -> None:
    """Raise one letter at an angle on the legend's circle, its foot toward the centre."""
    size = len(picture)
    box = np.zeros((size // 6, size // 6), np.uint8)
    scale, thick = size / 330, max(1, size // 150)
    (width, height), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
    origin = ((box.shape[1] - width) // 2, (box.shape[0] + height) // 2)
    cv2.putText(box, letter, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)
    middle = (box.shape[0] - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), -(at_deg + 90), 1.0)
    angle = np.radians(at_deg)
    turn[0, 2] += (size - 1) / 2 + 0.3675 * size * np.cos(angle) - middle
    turn[1, 2] += (size - 1) / 2 + 0.3675 * size * np.sin(angle) - middle
    raised = cv2.warpAffine(box, turn, (size, size), flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    np.maximum(picture, 0.55 * raised, out=picture)


def _head(axis: FloatArray) -> FloatArray:
    """A profile facing left, as overlapping smooth swellings: (x, y, half width, half height, turn in degrees)."""
    parts = (
        (0.04, -0.12, 0.27, 0.31, 0), (-0.10, 0.03, 0.20, 0.24, 15), (-0.27, -0.02, 0.07, 0.05, 40),
        (-0.19, 0.19, 0.11, 0.07, 10), (0.06, 0.28, 0.14, 0.22, -12), (0.10, 0.48, 0.30, 0.12, 5),
        (0.20, -0.10, 0.18, 0.25, 20), (0.06, -0.30, 0.24, 0.12, 8), (0.08, 0.0, 0.045, 0.08, 10),
    )  # fmt: skip
    relief = np.zeros((len(axis), len(axis)), np.float32)
    for x, y, wide, high, turn in parts:
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        across, down = axis[None] - x, axis[:, None] - y
        inside = 1 - ((across * c + down * s) / wide) ** 2 - ((down * c - across * s) / high) ** 2
        relief = np.hypot(relief, 0.62 * np.sqrt(np.maximum(inside, 0)) * min(1, 3 * wide))
    hair = 0.06 * np.sin(38 * np.hypot(axis[None] + 0.1, axis[:, None] - 0.25))
    return np.where(relief > 0, np.clip(relief + hair * (axis[None] > 0.02), 0, 1), 0)


def coin(stage: Stage) -> Surfaces:
    """A tilted coin with legend, rim and profile, its edge standing over rough ground."""
    across, down = np.meshgrid((stage.u[0] / 0.9 + 1) * 511.5, (stage.v[:, 0] / 0.9 + 1) * 511.5)
    struck = np.asarray(cv2.remap(coin_relief(1024, LEGEND), across, down, cv2.INTER_LINEAR, borderValue=-1))
    on_coin = struck > -0.5
    face = 0.52 + 0.30 * stage.u - 0.16 * stage.v
    ground = _rough_ground(stage, 0.12, 0.05)
    dents = fractal_noise(stage.shape, stage.random, exponent=1.2, coarsest_px=30, finest_px=4)
    height = np.where(on_coin, np.maximum(face + 0.12 * np.maximum(struck, 0) + 0.004 * dents, ground), ground)
    metal = stage.albedo(BRONZE, scale=0.7)
    worn = np.asarray(cv2.GaussianBlur(np.where(on_coin, struck, 0), (0, 0), 1.0), np.float32)
    metal = metal * (0.75 + 0.55 * np.clip(stage.fine(worn), 0, 1))[..., None]
    mask = np.clip(stage.fine(on_coin.astype(np.float32)), 0, 1)[..., None]
    return (stage.relief(height.astype(np.float32), metal * mask + stage.albedo(STONE) * (1 - mask)),)


def weak_texture(stage: Stage) -> Surfaces:
    """Smooth porcelain with overlapping plates; its texture fades from strong at the left to almost none."""
    random = stage.random
    size = min(stage.size_px)
    height = 0.45 + 0.12 * fractal_noise(
        stage.shape, random, exponent=2.5, coarsest_px=1.2 * size, finest_px=0.25 * size
    )
    for x, y, wide, high in ((-0.45, -0.35, 0.5, 0.35), (0.4, 0.3, 0.45, 0.4), (0.5, -0.55, 0.3, 0.28)):
        inside = ((stage.u - x) / wide) ** 2 + ((stage.v - y) / high) ** 2 < 1
        height = height + inside * random.uniform(0.16, 0.28)
    ramp = stage.fine(np.broadcast_to(10 ** (-0.1 - 0.55 * (stage.u + 1)), stage.shape))
    return (stage.relief(_within(height, 0.08, 0.92), stage.fade(stage.albedo(CERAMIC), np.clip(ramp, 0.02, 1))),)


SCENES: dict[str, Callable[[Stage], Surfaces]] = {
    "plane": plane,
    "staircase": staircase,
    "cone": cone,
    "hemisphere": hemisphere,
    "rock": rock,
    "spheres": spheres,
    "bristles": bristles,
    "coin": coin,
    "weak-texture": weak_texture,
}
