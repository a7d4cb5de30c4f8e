"""Macro subjects with real occlusion: rock, beads, bristles, coin, porcelain, meshes, and the demo's still life."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dff.simulate.coin import coin_relief
from dff.simulate.mesh import laid_flat, read_obj
from dff.simulate.rays import Surfaces
from dff.simulate.stage import Stage
from dff.simulate.surfaces import Rods
from dff.simulate.textures import BRONZE, CERAMIC, CHITIN, GLASS, MOSS, SAND, STONE, fractal_noise
from dff.stack import FloatArray

BEAD_TINTS = ((1, 0.45, 0.35), (0.5, 0.75, 1), (1, 0.85, 0.4), (0.6, 0.95, 0.6), (0.95, 0.95, 0.95))


def _within(stage: Stage, height: FloatArray, low: float, high: float) -> FloatArray:
    """Heights scaled so that the picture's lie between two shares of the sweep, and those beyond it nearly so."""
    pad = stage.pad_px
    shown = height[pad:-pad, pad:-pad]
    least, most = float(shown.min()), float(shown.max())
    return np.clip(low + (height - least) * ((high - low) / (most - least)), low - 0.04, high + 0.04)


def _rough_ground(stage: Stage, level: float, swing: float) -> FloatArray:
    size = min(stage.size_px)
    bumps = fractal_noise(stage.shape, stage.random, exponent=1.8, coarsest_px=0.5 * size, finest_px=5)
    return level + swing * np.clip(bumps, -2, 2) / 2


def _spread(random: np.random.Generator, count: int, reach: float, candidates: int = 30) -> FloatArray:
    """(count, 2) places far from one another: each the best of many candidates (Mitchell 1991)."""
    places = random.uniform(-reach, reach, (1, 2))
    while len(places) < count:
        offered = random.uniform(-reach, reach, (candidates, 2))
        distance = np.linalg.norm(offered[:, None] - places[None], axis=2).min(1)
        places = np.vstack([places, offered[distance.argmax()]])
    return places


def _broken(stage: Stage, roughness: float = 0.02) -> FloatArray:
    """Heights of tilted facets with ledges and clefts between them, rough on all scales."""
    random, size = stage.random, min(stage.size_px)
    warp = [
        0.05 * fractal_noise(stage.shape, random, exponent=2.2, coarsest_px=0.4 * size, finest_px=8) for _ in range(2)
    ]
    u, v = stage.u + warp[0], stage.v + warp[1]
    cells = random.uniform(-1.3, 1.3, (26, 2)) * (max(stage.size_px) / size if stage.size_px[0] != size else 1)
    distance = np.stack([np.hypot(u - x, v - y) for x, y in cells])
    order = np.sort(distance, axis=0)
    nearest = distance.argmin(0)
    level = 0.78 - 0.42 * np.hypot(*cells.T) ** 1.5 / 1.3 + random.normal(0, 0.13, len(cells))
    tilt = random.normal(0, 0.30, (2, len(cells)))
    facets = level[nearest] + tilt[0][nearest] * (u - cells[nearest, 0]) + tilt[1][nearest] * (v - cells[nearest, 1])
    cleft = 0.10 * np.exp(-(((order[1] - order[0]) / 0.035) ** 2))
    rough = fractal_noise(stage.shape, random, exponent=2.0, coarsest_px=0.25 * size, finest_px=4)
    return np.asarray(cv2.GaussianBlur((facets - cleft).astype(np.float32), (0, 0), 0.8)) + roughness * rough


def rock(stage: Stage) -> Surfaces:
    """A broken rock: tilted facets with ledges and clefts between them, and rough on all scales."""
    return (stage.relief(_within(stage, _broken(stage), 0.06, 0.94), stage.albedo(STONE)),)


def fractal_rock(stage: Stage) -> Surfaces:
    """Rough ground of one law on all scales: amplitude falls as frequency to the power 1.8."""
    size = min(stage.size_px)
    height = fractal_noise(stage.shape, stage.random, exponent=1.8, coarsest_px=2.0 * size, finest_px=3)
    return (stage.relief(_within(stage, height, 0.06, 0.94), stage.albedo(STONE)),)


def spheres(stage: Stage) -> Surfaces:
    """Glazed beads that overlap one another at all heights over far ground."""
    random, count = stage.random, 11
    ground = _rough_ground(stage, 0.13, 0.06)
    radius = random.uniform(0.14, 0.36, count)
    place = _spread(random, count, 0.95, candidates=5)
    in_sweep = radius * stage.half_mm / stage.sweep_mm
    top = random.permutation(0.30 + 0.63 * np.linspace(0, 1, count) ** 1.5)
    centre = np.column_stack([place, np.maximum(top, 0.1 + 1.2 * in_sweep).clip(max=0.95) - in_sweep])
    tint = np.array(BEAD_TINTS)[random.integers(0, 5, count)]
    beads = stage.rods(centre, centre, radius, tint, GLASS, scale=0.8, gloss=stage.shine(0.8, 120))
    return (stage.relief(ground, stage.albedo(SAND)), beads)


def _hairs(stage: Stage, root: FloatArray, tip: FloatArray, bow: FloatArray, radius: FloatArray) -> Rods:
    """Tapering bristles (M of them) along arcs from root to tip, (M, 3) each."""
    pieces = 9
    share = np.linspace(0, 1, pieces + 1)[:, None, None]
    curve = root + (tip - root) * share + bow * (4 * share * (1 - share))
    curve[..., 2] = np.minimum(curve[..., 2], 0.95)
    thick = (radius * (1 - 0.75 * share[:-1, :, 0])).reshape(-1)
    tint = np.tile(stage.random.uniform(0.9, 1.6, (1, len(root), 1)), (pieces, 1, 3)).reshape(-1, 3)
    ends = curve[:-1].reshape(-1, 3), curve[1:].reshape(-1, 3)
    return stage.rods(*ends, thick, tint, CHITIN, scale=0.5, gloss=stage.shine(0.5, 40))


def bristles(stage: Stage) -> Surfaces:
    """Curved tapering bristles that rise from far, mossy ground toward the camera."""
    random, count = stage.random, 15
    ground = _rough_ground(stage, 0.14, 0.08)
    root = np.column_stack([_spread(random, count, 1.0), np.full(count, 0.12)])
    lean, reach = random.uniform(0, 2 * np.pi, count), random.uniform(0.35, 0.95, count)
    tip = root + np.column_stack([np.cos(lean) * reach, np.sin(lean) * reach, random.uniform(0.3, 0.8, count)])
    bow = np.column_stack([random.normal(0, 0.22, (count, 2)), random.uniform(0.05, 0.25, count)])
    hairs = _hairs(stage, root, tip, bow, random.uniform(0.022, 0.05, count))
    return (stage.relief(ground, stage.albedo(MOSS)), hairs)


def _struck(stage: Stage, centre: tuple[float, float], radius: float) -> FloatArray:
    """A coin's relief where it lies; -1 beside it."""
    across, down = np.meshgrid(
        ((stage.u[0] - centre[0]) / radius + 1) * 511.5, ((stage.v[:, 0] - centre[1]) / radius + 1) * 511.5
    )
    return np.asarray(cv2.remap(coin_relief(1024), across, down, cv2.INTER_LINEAR, borderValue=-1), np.float32)


def _metal(stage: Stage, struck: FloatArray) -> FloatArray:
    """Bronze, bright on the raised parts and dark in the corners of the relief."""
    raised = np.where(struck > -0.5, struck, 0)
    worn = np.asarray(cv2.GaussianBlur(raised, (0, 0), 1.0), np.float32)
    corner = np.asarray(cv2.GaussianBlur(raised, (0, 0), 3.0), np.float32) - worn
    shade = 0.85 + 0.45 * np.clip(stage.fine(worn), 0, 1) - 1.2 * np.clip(stage.fine(corner), 0, 0.4)
    return stage.fade(stage.albedo(BRONZE, scale=0.6), 0.75) * shade[..., None]


def coin(stage: Stage) -> Surfaces:
    """A tilted coin with legend, rim and a shell, its edge standing over rough ground."""
    struck = _struck(stage, (0, 0), 0.9)
    on_coin = struck > -0.5
    ground = _rough_ground(stage, 0.20, 0.06) + 0.10 * stage.u - 0.05 * stage.v
    dents = fractal_noise(stage.shape, stage.random, exponent=1.2, coarsest_px=30, finest_px=4)
    face = 0.50 + 0.25 * stage.u - 0.13 * stage.v + 0.14 * np.maximum(struck, 0) + 0.004 * dents
    height = np.where(on_coin, np.maximum(face, ground), ground).astype(np.float32)
    mask = np.clip(stage.fine(on_coin.astype(np.float32)), 0, 1)[..., None]
    albedo = _metal(stage, struck) * mask + stage.albedo(STONE) * (1 - mask)
    return (stage.relief(height, albedo, gloss=stage.shine(0.35, 25)),)


def weak_texture(stage: Stage) -> Surfaces:
    """Smooth porcelain with overlapping plates; its texture fades from strong at the left to almost none."""
    random, size = stage.random, min(stage.size_px)
    height = 0.45 + 0.12 * fractal_noise(
        stage.shape, random, exponent=2.5, coarsest_px=1.2 * size, finest_px=0.25 * size
    )
    for x, y, wide, high in ((-0.45, -0.35, 0.5, 0.35), (0.4, 0.3, 0.45, 0.4), (0.5, -0.55, 0.3, 0.28)):
        inside = ((stage.u - x) / wide) ** 2 + ((stage.v - y) / high) ** 2 < 1
        height = height + inside * random.uniform(0.10, 0.20)
    ramp = stage.fine(np.broadcast_to(10 ** (-0.30 * (stage.u + 1)), stage.shape))
    albedo = stage.fade(stage.albedo(CERAMIC), np.clip(ramp, 0.02, 1))
    return (stage.relief(_within(stage, height, 0.08, 0.92), albedo, gloss=stage.shine(0.3, 80)),)


def mesh_subject(stage: Stage, path: str | Path, turn_deg: tuple[float, float, float]) -> Surfaces:
    """A mesh held over rough ground, as large as picture and sweep allow, its shortest side along the axis."""
    vertices, triangles = read_obj(path)
    box = laid_flat(vertices, turn_deg)
    height_mm = 0.86 * stage.sweep_mm / max(float(np.ptp(box[:, 2])), 1e-9)
    size_mm = min(height_mm, 1.75 * stage.half_mm / float(np.ptp(box[:, :2], axis=0).max()))
    placed = box * size_mm / np.array([stage.half_mm, -stage.half_mm, stage.sweep_mm])
    placed[:, 2] += 0.93 - placed[:, 2].max()
    lowest = float(placed[:, 2].min())
    ground = _rough_ground(stage, min(0.14, max(0.03, lowest)), 0.03)
    body = stage.body(placed, triangles[:, ::-1], CHITIN, scale=0.6, gloss=stage.shine(0.5, 40))
    return (stage.relief(ground, stage.albedo(SAND)), body)


def still_life(stage: Stage) -> Surfaces:
    """The demo: a struck coin leaning on a broken rock, with glazed beads and a tuft of bristles before it."""
    random = stage.random
    struck = _struck(stage, (-0.30, -0.02), 0.74)
    on_coin = struck > -0.5
    lie = 0.50 - 0.30 * (stage.u + 0.30) + 0.15 * stage.v
    ground = _within(stage, _broken(stage, roughness=0.03), 0.06, 0.46)
    under = np.asarray(cv2.GaussianBlur(on_coin.astype(np.float32), (0, 0), 2.0))
    ground = np.where(under > 0.02, np.minimum(ground, lie - 0.05), ground)
    dents = fractal_noise(stage.shape, random, exponent=1.2, coarsest_px=30, finest_px=4)
    face = np.where(on_coin, lie + 0.07 * np.maximum(struck, 0) + 0.0012 * dents, 0.01)
    metal = stage.relief(face, _metal(stage, struck), gloss=stage.shine(0.5, 30), within=on_coin)
    return (stage.relief(ground, stage.albedo(STONE)), metal, _beads(stage), _tuft(stage))


def _beads(stage: Stage) -> Rods:
    place = np.array(
        [(0.62, 0.50, 0.46), (0.92, 0.22, 0.40), (0.98, 0.66, 0.52), (0.55, -0.62, 0.44), (1.05, -0.40, 0.35)]
    )
    radius = np.array([0.19, 0.15, 0.13, 0.16, 0.22])
    tint = np.array([BEAD_TINTS[number] for number in (0, 1, 2, 3, 4)])
    return stage.rods(place, place, radius, tint, GLASS, scale=0.8, gloss=stage.shine(1.0, 140))


def _tuft(stage: Stage) -> Rods:
    random, count = stage.random, 9
    root = np.column_stack([random.uniform(0.05, 0.55, count), random.uniform(0.95, 1.15, count), np.full(count, 0.25)])
    fan = np.linspace(-0.75, 0.35, count) + random.normal(0, 0.05, count)
    tip = root + np.column_stack([fan, -random.uniform(0.75, 1.35, count), random.uniform(0.55, 0.72, count)])
    bow = np.column_stack([-0.3 * fan, random.normal(0, 0.06, count), random.uniform(0.02, 0.12, count)])
    return _hairs(stage, root, tip, bow, random.uniform(0.014, 0.026, count))
