"""One call from the name of a scene to a focal stack with its truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from dff import optics
from dff.filters import LUMINANCE
from dff.simulate.aperture import Aperture
from dff.simulate.camera import Lens, Sweep, sweep
from dff.simulate.light_field import Rendering, render
from dff.simulate.scenes import SCENES
from dff.simulate.sensor import Sensor
from dff.simulate.stage import Stage
from dff.simulate.texture_energy import texture_energy
from dff.stack import FloatArray, FocalStack, ImageMetadata, Scene

BOUND_WINDOW_SIGMA_PX = 3.0


def render_scene(
    name: str,
    *,
    size_px: int | tuple[int, int] = 256,
    frames: int = 36,
    blur_growth_px: float = 0.35,
    step_mm: float | None = None,
    snr: float | None = 150,
    capture: str = "telecentric",
    seed: int = 0,
    first: str = "near",
    pixel_size_mm: float = 0.02,
    magnification: float = 0.5,
    f_number: float = 2.0,
    focal_length_mm: float = 60.0,
    bits: int | None = 16,
    contrast: float = 1.0,
    kernel_sigma_px: float = 0.75,
    sampling_px: float = 2.0,
    device: str = "cpu",
) -> Scene:
    """A focal stack of a scene, with exact truth.

    Args:
        name: One of SCENES.
        size_px: Side of a square picture, or (H, W).
        frames: Number of frames.
        blur_growth_px: Growth of the blur's standard deviation, px a frame; sets the step.
        step_mm: Distance between planes of focus, instead of blur_growth_px.
        snr: Signal-to-noise ratio at white; None for no noise.
        capture: How the focus is moved: "telecentric", "rail" or "ring".
        seed: Of shapes, textures, jitter and noise: equal seeds give equal stacks.
        first: Whether frame 0 is focused "near" to or "far" from the camera.
        pixel_size_mm: Size of a pixel on the subject.
        magnification: Image size over subject size.
        f_number: Marked f-number of the lens.
        focal_length_mm: Focal length.
        bits: 8 or 16 bits a channel, None for float32; values are linear in light.
        contrast: Factor on the contrast of textures.
        kernel_sigma_px: Standard deviation of the blur in focus.
        sampling_px: Distance between neighbouring rays in the largest blur, px.
        device: Where tensors are computed.

    Returns:
        The stack with its true geometry. Truth lives in the pixels of the middle frame: what its chief rays meet.

    Raises:
        ValueError: an unknown scene or a value outside its range.
    """
    if name not in SCENES:
        raise ValueError(f"scene: must be one of {', '.join(SCENES)}; got {name!r}; choose one of them")
    settings = {key: value for key, value in locals().items() if key != "device"}
    size = (size_px, size_px) if isinstance(size_px, int) else (int(size_px[0]), int(size_px[1]))
    lens = Lens(pixel_size_mm, magnification, f_number, focal_length_mm)
    step = lens.step_mm(blur_growth_px) if step_mm is None else step_mm
    random = np.random.default_rng([seed, 1])
    capture_sweep = sweep(lens, frames=frames, step_mm=step, size_px=size, capture=capture, first=first, random=random)
    aperture = Aperture()
    stage = _stage(capture_sweep, contrast, np.random.default_rng([seed, 0]), torch.device(device))
    rendering = render(
        SCENES[name](stage),
        capture_sweep,
        aperture,
        kernel_sigma_px=kernel_sigma_px,
        sampling_px=sampling_px,
        device=device,
    )
    sensor = Sensor.of_snr(snr, bits=bits)
    settings |= {"step_mm": step, "blur_growth_px": lens.blur_growth_px(step)}
    return _scene(name, rendering, capture_sweep, sensor, lens, settings, seed)


def _stage(capture: Sweep, contrast: float, random: np.random.Generator, device: torch.device) -> Stage:
    pixel = float(capture.pixel_mm[capture.reference])
    field = np.array(capture.size_px) / 2 * float(capture.pixel_mm.max())
    lean = float(capture.aperture_slope.max() + (field.max() / capture.pupil_mm).max())
    depth = float(np.ptp(capture.plane_mm))
    spare = lean * depth + float(np.abs(capture.drift_mm).max()) + field.max() * float(np.ptp(capture.pixel_mm)) / pixel
    return Stage(capture.size_px, pixel, depth, math.ceil(spare / pixel) + 12, random, contrast, device)


def _scene(
    name: str, rendering: Rendering, capture: Sweep, sensor: Sensor, lens: Lens, settings: dict[str, Any], seed: int
) -> Scene:
    frames = [sensor.expose(light, np.random.default_rng([seed, 2, k])) for k, light in enumerate(rendering.frames)]
    geometry = capture.geometry
    stack = FocalStack(
        frames=frames,
        names=tuple(f"{name}-{k:03d}" for k in range(len(frames))),
        shape=frames[0].shape,
        dtype=frames[0].dtype,
        metadata=ImageMetadata(
            focal_length_mm=lens.focal_length_mm, f_number=lens.f_number, pixel_pitch_mm=lens.pixel_pitch_mm
        ),
        geometry=geometry,
    )
    noise = np.sqrt((sensor.noise(rendering.sharp) ** 2) @ (np.array(LUMINANCE) ** 2))
    energy, frequency = texture_energy(rendering.sharp, BOUND_WINDOW_SIGMA_PX)
    bound = optics.focus_limit(
        noise,
        texture_variance=energy,
        texture_frequency=frequency,
        blur_growth_px=settings["blur_growth_px"],
        window_sigma_px=BOUND_WINDOW_SIGMA_PX,
    )
    return Scene(
        name=name,
        stack=stack,
        index=true_index(rendering.z, capture.plane_mm),
        z=rendering.z - np.float32(capture.plane_mm.min()),
        sharp=rendering.sharp,
        visible=rendering.visible,
        bound=bound.astype(np.float32),
        settings=settings,
    )


def true_index(z: FloatArray, plane_mm: FloatArray) -> FloatArray:
    """Sub-frame indices at which heights are in focus; NaN outside the sweep."""
    order = np.argsort(plane_mm)
    index = np.interp(z, plane_mm[order], order.astype(float), left=np.nan, right=np.nan)
    return index.astype(np.float32)
