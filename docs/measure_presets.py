"""What the presets landscape and portrait are worth, on rendered subjects of their kind.

Usage: python docs/measure_presets.py

A landscape is a rock in six frames far apart, each turned and tilted a little as without a tripod, in whose rougher
parts things move by a pixel or two from frame to frame. A portrait is a dome with the colour of skin and little
texture, in four frames. Printed are, for the defaults, for the preset, and for the preset without each of its options:
PSNR of `dff fuse`, dB, mean error of the depth, frames, and the share of the truth whose depth is known.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import pipeline
from dff.metrics.picture import psnr
from dff.settings import FUSION_MODEL, PRESETS, Settings
from dff.simulate import render_scene
from dff.stack import FloatArray, Scene

SIZE_PX = 224
SEEDS = (1, 2, 3)
BORDER_PX = 12
SKIN = np.array((0.80, 0.60, 0.50), np.float32)


def main() -> None:
    """Print both tables."""
    warnings.simplefilter("ignore")
    for name, case in (("landscape", landscape), ("portrait", portrait)):
        print(f"{name:34} {'dB':>6} {'frames':>7} {'known':>6}")
        scenes = [case(seed) for seed in SEEDS]
        preset = PRESETS[name]
        report("default", scenes, {}, FUSION_MODEL)
        report("preset", scenes, preset.values, preset.model)
        for option in preset.changes:
            kept = {key: value for key, value in preset.values.items() if key != option}
            report(f"preset without {option}", scenes, kept, preset.model)


def report(title: str, scenes: Sequence[Scene], options: dict[str, object], model: str) -> None:
    """One line: means over the scenes."""
    still = {"align": "none"} if scenes[0].settings["still"] else {}
    settings = Settings(**{"threads": 1, **still, **options})  # type: ignore[arg-type]
    rows = [figures(scene, settings, model) for scene in scenes]
    decibels, frames, known = np.nanmean(rows, axis=0)
    print(f"{title:34} {decibels:6.2f} {frames:7.3f} {known:6.2f}", flush=True)


def figures(scene: Scene, settings: Settings, model: str) -> tuple[float, float, float]:
    """PSNR of the fused picture, mean error of the depth, share of the truth that is known."""
    inner = (slice(BORDER_PX, -BORDER_PX),) * 2
    picture = pipeline.fuse_frames(scene.stack, settings.but(measure=model)) / np.float32(65535)
    depth = pipeline.reconstruct(scene.stack, settings).depth
    error = np.abs(depth.index - scene.index)[inner]
    share = np.isfinite(error).mean() / np.isfinite(scene.index[inner]).mean()
    return psnr(picture[inner], scene.sharp[inner]), float(np.nanmean(error)), float(share)


def landscape(seed: int) -> Scene:
    """A rock photographed by hand, in wind."""
    scene = render_scene("fractal-rock", size_px=SIZE_PX, frames=6, blur_growth_px=1.2, snr=None, seed=seed, bits=None)
    random = np.random.default_rng(seed + 5)
    loose = cv2.GaussianBlur((field(random, 12) > 0.3).astype(np.float32), (0, 0), 4)

    def shaken(k: int, frame: FloatArray) -> FloatArray:
        if k == scene.settings["reference"]:
            return frame
        wind = [1.5 * loose * field(random, 8) for _ in range(2)]
        return moved(frame, turn(random), wind)

    return photographed(scene, shaken, snr=70, still=False)


def portrait(seed: int) -> Scene:
    """A dome of skin."""
    scene = render_scene(
        "hemisphere", size_px=SIZE_PX, frames=4, blur_growth_px=1.5, snr=None, seed=seed, bits=None, contrast=0.2
    )
    tone = 0.85 * SKIN / scene.sharp.mean()

    def tinted(_: int, frame: FloatArray) -> FloatArray:
        return np.clip(frame.mean(-1, keepdims=True) * tone, 0, 1)

    return photographed(replace(scene, sharp=tinted(0, scene.sharp)), tinted, snr=60, still=True)


def photographed(scene: Scene, change: Callable[[int, FloatArray], FloatArray], *, snr: float, still: bool) -> Scene:
    """The scene with changed frames, with noise, in 16 bits."""
    random, frames = np.random.default_rng(scene.settings["seed"]), []
    for k in range(len(scene.stack)):
        light = change(k, np.asarray(scene.stack.frames[k], np.float32))
        noise = np.sqrt(np.maximum(light, 0) + 0.01) / snr * random.standard_normal(light.shape)
        frames.append((np.clip(light + noise, 0, 1) * 65535).astype(np.uint16))
    stack = replace(scene.stack, frames=frames, dtype=frames[0].dtype, shape=frames[0].shape, geometry=None)
    return replace(scene, stack=stack, settings={**scene.settings, "still": still})


def field(random: np.random.Generator, sigma_px: float) -> FloatArray:
    """(H, W) smooth random numbers of standard deviation one."""
    values = cv2.GaussianBlur(random.standard_normal((SIZE_PX, SIZE_PX)).astype(np.float32), (0, 0), sigma_px)
    return np.asarray(values / values.std(), np.float32)


def turn(random: np.random.Generator) -> NDArray[np.float64]:
    """(3, 3) a small turn of a camera held by hand, about the middle of the picture."""
    angle, middle = np.radians(random.normal(0, 0.3)), np.eye(3)
    middle[:2, 2] = -SIZE_PX / 2
    turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned[:2, 2], turned[2, :2] = random.normal(0, 2, 2), random.normal(0, 6e-5, 2)
    return np.linalg.inv(middle) @ turned @ middle


def moved(frame: FloatArray, transform: NDArray[np.float64], wind: Sequence[FloatArray]) -> FloatArray:
    """The frame after a motion of the whole and one of its parts, (H, W) px along x and y."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX].astype(np.float32)
    places = np.stack([x + wind[0], y + wind[1], np.ones_like(x)], -1) @ transform.T
    across, down = (np.float32(places[..., axis] / places[..., 2]) for axis in range(2))
    return np.asarray(cv2.remap(frame, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))


if __name__ == "__main__":
    main()
