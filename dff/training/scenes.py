"""Training data: scenes rendered once into a folder, then cropped, resampled, shaken and made noisy anew each time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.focus import stack_filter
from dff.metrics.depth import occlusion_edges
from dff.simulate import SCENES, render_scene
from dff.stack import LUMINANCE, FloatArray, Scene
from dff.training.close_ups import Claws, Printed
from dff.training.collage import Collage
from dff.training.losses import Target

FIRST_SEED = 1000
"""The benchmark's scenes have smaller seeds."""
KINDS = ("collage",) * 6 + ("staircase", "cone", "sinusoid", "plane")
"""Kinds of scenes trained on, the more often named the more of them.

No kind of the suites clean, noisy and held-back is among them; closed-form shapes of the suite metrology are.
"""
FIRST_CLOSE_UP = 3000
"""Seeds from here on are those of close-ups."""
CLOSE_UPS = ("printed",) * 3 + ("claws",) * 2
RENDER_SIZE_PX = 160
MOST_VIEWS = 220
CROPS_PX = (64, 96, 96, 128, 128)


@dataclass(frozen=True)
class TrainingScene:
    """A noise-free stack with its truth."""

    frames: NDArray[np.uint16]
    """(N, H, W) luminance in linear light, 65535 is white."""
    index: FloatArray
    """(H, W) true sub-frame index; NaN outside the sweep."""
    visible: FloatArray
    """(H, W) share of the aperture that sees the point."""
    sharp: FloatArray
    """(H, W) all-in-focus luminance."""
    blur_growth_px: float


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    pixel_frames: int = 12 * 128 * 128
    """Largest number of pixels times frames."""
    largest_blur_growth_px: float = 1.5
    """Between frames that are taken."""
    eight_bit_share: float = 0.5
    jpeg_share: float = 0.5
    """Of those in 8 bits."""


CLOSE_UP_SAMPLING = Sampling(largest_blur_growth_px=3.0, eight_bit_share=0.7, jpeg_share=0.7)
"""As of macro stacks: coarse steps, mostly JPEG files."""


@dataclass(frozen=True)
class Sample:
    """What one training step sees."""

    images: Tensor
    """(N, 1, H, W) luminance 0..1 with noise."""
    target: Target


def fill_cache(
    folder: str | Path, count: int, *, photographs: str | Path | None = None, close_ups: int = 0
) -> Iterator[Path]:
    """Render scenes until the folder holds as many as are asked for, giving the path of each new one.

    Args:
        folder: Where they are kept, one .npz a scene.
        count: Number of scenes; scene number n has seed FIRST_SEED + n.
        photographs: Folder of pictures to take textures from.
        close_ups: Number of close-ups beside them, from seed FIRST_CLOSE_UP on.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    pictures = tuple(sorted(Path(photographs).rglob("*.jpg"))) if photographs else ()
    SCENES.update(collage=Collage(pictures), printed=Printed(), claws=Claws(pictures))
    for seed in (*range(FIRST_SEED, FIRST_SEED + count), *range(FIRST_CLOSE_UP, FIRST_CLOSE_UP + close_ups)):
        path = Path(folder) / f"{seed}.npz"
        if not path.exists():
            scene = render_training_scene(seed)
            unfinished = path.with_suffix(".part.npz")
            np.savez(unfinished, **vars(from_scene(scene)))
            unfinished.rename(path)
            yield path


def kind_of(seed: int) -> str:
    """The kind of scene that a seed stands for."""
    kinds = CLOSE_UPS if seed >= FIRST_CLOSE_UP else KINDS
    return kinds[seed % len(kinds)]


def render_training_scene(seed: int) -> Scene:
    """A noise-free scene whose kind, step, sweep and contrast are drawn by its seed."""
    random = np.random.default_rng([seed, 7])
    growth = math.exp(random.uniform(math.log(0.1), math.log(0.8)))
    frames = int(np.clip(random.uniform(10, 26) / growth, 24, 48))
    largest_px = 2 * growth * frames
    return render_scene(
        kind_of(seed),
        size_px=RENDER_SIZE_PX,
        frames=frames,
        blur_growth_px=growth,
        snr=None,
        seed=seed,
        first="near" if random.random() < 0.5 else "far",
        bits=None,
        contrast=10 ** random.uniform(-1.3, -0.7) if random.random() < 0.15 else random.uniform(0.5, 1),
        kernel_sigma_px=random.uniform(0.6, 0.95),
        gloss=1.0 if random.random() < 0.5 else 0.0,
        sampling_px=max(2.5, largest_px * math.sqrt(math.pi / MOST_VIEWS)),
    )


def from_scene(scene: Scene) -> TrainingScene:
    """The luminance and truth of a rendered scene."""
    frames = np.stack([_luminance(scene.stack.frames[k]) for k in range(len(scene.stack))])
    white = scene.stack.white
    return TrainingScene(
        frames=(np.clip(frames / white, 0, 1) * 65535 + 0.5).astype(np.uint16),
        index=scene.index,
        visible=scene.visible,
        sharp=_luminance(scene.sharp),
        blur_growth_px=float(scene.settings["blur_growth_px"]),
    )


def _luminance(picture: FloatArray) -> FloatArray:
    return (picture @ np.array(LUMINANCE, np.float32)).astype(np.float32)


def read_cache(folder: str | Path) -> list[TrainingScene]:
    """Every scene in a folder, in the order of their seeds.

    Raises:
        ValueError: the folder holds no scenes.
    """
    paths = sorted(path for path in Path(folder).glob("*.npz") if not path.name.endswith(".part.npz"))
    if not paths:
        raise ValueError(f"{folder}: must hold rendered scenes; got none; render some with --render")
    return [_read_scene(path) for path in paths]


def _read_scene(path: Path) -> TrainingScene:
    with np.load(path) as kept:
        return TrainingScene(**{key: kept[key] if kept[key].ndim else kept[key].item() for key in kept.files})


def draw_sample(scenes: Sequence[TrainingScene], random: np.random.Generator, sampling: Sampling) -> Sample:
    """A piece of a scene as a camera might have taken it.

    Args:
        scenes: What to draw from.
        random: Decides everything.
        sampling: From what distribution.
    """
    scene = scenes[int(random.integers(len(scenes)))]
    rows, columns = _crop(scene, random)
    most = max(2, sampling.pixel_frames // scene.index[rows, columns].size)
    longest = min(sampling.largest_blur_growth_px / scene.blur_growth_px, len(scene.frames) / 6)
    numbers = draw_frames(scene.index[rows, columns], len(scene.frames), longest, most, random)
    light = scene.frames[numbers, rows, columns].astype(np.float32) / 65535
    index = index_among(scene.index[rows, columns], numbers)
    gain = math.exp(random.uniform(math.log(0.3), 0)) / max(0.5, float(np.percentile(light, 99.5)))
    images, sharp = photograph(light * gain, scene.sharp[rows, columns] * gain, random, sampling)
    turn = int(random.integers(8))
    parts = images, index, scene.visible[rows, columns], sharp
    images, index, visible, sharp = (_turned(part, turn) for part in parts)
    target = Target(*(torch.from_numpy(part) for part in (index, visible, occlusion_edges(index), sharp)))
    return Sample(torch.from_numpy(images)[:, None], target)


def _crop(scene: TrainingScene, random: np.random.Generator) -> tuple[slice, slice]:
    size = min(int(random.choice(CROPS_PX)), *scene.index.shape)
    top, left = (int(random.integers(length - size + 1)) for length in scene.index.shape)
    return slice(top, top + size), slice(left, left + size)


def draw_frames(
    index: FloatArray, count: int, longest: float, most: int, random: np.random.Generator
) -> NDArray[np.intp]:
    """Which frames are taken, in either direction: half the time the whole sweep, else a part of it.

    Parts have a random step, start and number, around some of the truth. Whole sweeps show what a part does not: the
    far ground in focus behind something near and thoroughly blurred.

    Args:
        index: (H, W) true index.
        count: Frames there are.
        longest: Largest step.
        most: Largest number of frames.
        random: Decides.
    """
    steps = [step for step in (1, 1, 1, 2, 2, 3, 4) if step <= longest]
    whole = random.random() < 0.5 and -(-count // most) <= max(longest, 1)
    step = -(-count // most) if whole else int(random.choice(steps or [1]))
    numbers = np.arange(int(random.integers(step)), count, step)
    wanted = count if whole else round(math.exp(random.uniform(math.log(5), math.log(40))))
    wanted = int(np.clip(wanted, 2, min(most, len(numbers))))
    known = index[np.isfinite(index)]
    middle = known[random.integers(known.size)] / step if known.size else len(numbers) / 2
    start = int(np.clip(round(middle - random.uniform(0.1, 0.9) * wanted), 0, len(numbers) - wanted))
    chosen = numbers[start : start + wanted]
    return chosen[::-1] if random.random() < 0.5 else chosen


def index_among(index: FloatArray, numbers: NDArray[np.intp]) -> FloatArray:
    """True index counted in the frames that were taken; NaN outside them."""
    step = numbers[1] - numbers[0]
    among = (index - numbers[0]) / step
    inside = (among >= -0.5) & (among <= len(numbers) - 0.5)
    return np.where(inside, among, np.nan).astype(np.float32)


def photograph(
    light: FloatArray, sharp: FloatArray, random: np.random.Generator, sampling: Sampling
) -> tuple[FloatArray, FloatArray]:
    """What a camera makes of noise-free light and alignment of its frames, and the sharp picture in the same tones.

    Highlights clipped at white, flicker, shot and read noise, noise correlated by demosaicing, gamma, 8 bits, JPEG,
    interpolation and misregistration: each sometimes.
    The filter along the stack comes last, where the misregistration would not forbid it.
    """
    count = len(light)
    if random.random() < 0.15:
        over = random.uniform(1, 2.5)
        light, sharp = np.asarray(light * np.float32(over)), sharp * np.float32(over)
    if random.random() < 0.3:
        light = light * (1 + random.uniform(0, 0.03) * random.standard_normal((count, 1, 1))).astype(np.float32)
    residual_px = random.uniform(0, 0.5) if random.random() < 0.4 else 0.0
    moves = np.zeros((count, 2))
    if random.random() < 0.4:
        moves = random.uniform(-0.5, 0.5, (count, 2))
        light = moved(light, moves)
    gamma = 1.0 if random.random() < 0.6 else random.uniform(1.8, 2.4)
    images: NDArray[Any] = np.clip(light + noise(light, random), 0, 1) ** np.float32(1 / gamma)
    sharp = np.clip(sharp, 0, 1) ** np.float32(1 / gamma)
    if random.random() < sampling.eight_bit_share:
        quality = int(random.integers(75, 98)) if random.random() < sampling.jpeg_share else None
        images = np.stack([in_eight_bits(image, quality) for image in images])
    images = moved(images, random.normal(0, residual_px / math.sqrt(2), (count, 2)) - moves)
    if count > 2 and random.random() < (0.85 if residual_px <= 0.3 else 0.3):
        filtered = stack_filter(np.arange(float(count)), 1.0)(torch.from_numpy(images.astype(np.float32)))
        images = filtered.numpy()
    return images.astype(np.float32), sharp.astype(np.float32)


def moved(planes: FloatArray, moves: FloatArray) -> FloatArray:
    """(N, H, W) planes, each moved by its own fraction of a pixel, (N, 2) as (x, y)."""
    if not moves.any():
        return planes
    return np.stack([shifted(plane, move) for plane, move in zip(planes, moves)])


def noise(light: FloatArray, random: np.random.Generator) -> FloatArray:
    """Shot and read noise of a signal-to-noise ratio at white between 20 and 300."""
    snr = math.exp(random.uniform(math.log(20), math.log(300)))
    sigma = np.sqrt(np.maximum(light, 0) + random.uniform(0.0, 0.02)) / np.float32(snr)
    grain = random.standard_normal(light.shape, dtype=np.float32)
    if random.random() < 0.3:
        blur = random.uniform(0.3, 0.7)
        grain = np.stack([cv2.GaussianBlur(plane, (0, 0), blur) for plane in grain])
        grain /= grain.std()
    return (sigma * grain).astype(np.float32)


def in_eight_bits(plane: FloatArray, jpeg_quality: int | None) -> FloatArray:
    """A plane in 8 bits, and through a JPEG file if a quality is given."""
    grey = np.round(plane * 255).astype(np.uint8)
    if jpeg_quality is not None:
        _, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
        grey = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    return grey.astype(np.float32) / np.float32(255)


def shifted(plane: FloatArray, shift_px: FloatArray) -> FloatArray:
    """A plane moved by a fraction of a pixel (x, y)."""
    move = np.array([[1, 0, shift_px[0]], [0, 1, shift_px[1]]])
    size = plane.shape[1], plane.shape[0]
    return np.asarray(cv2.warpAffine(plane, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))


def _turned(picture: FloatArray, turn: int) -> FloatArray:
    """One of the eight ways to lay a square down, along the last two axes."""
    turned = np.rot90(picture, turn % 4, (-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if turn >= 4 else turned)


def describe_cache(folder: str | Path) -> dict[str, object]:
    """What a folder of scenes holds, for a run card."""
    seeds = sorted(int(path.stem) for path in Path(folder).glob("*.npz") if path.stem.isdigit())
    kinds = [kind_of(seed) for seed in seeds]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    unseen = sorted(set(SCENES) - set(KINDS) - set(CLOSE_UPS))
    ordinary = [seed for seed in seeds if seed < FIRST_CLOSE_UP]
    return {
        "scenes": len(ordinary),
        "close_ups": len(seeds) - len(ordinary),
        "seeds": [seeds[0], seeds[-1]],
        "kinds": counts,
        "kinds_never_seen": unseen,
    }
