"""One call from the name of a scene to a focal stack with its truth."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dff import optics
from dff.simulate.camera import Sweep, sweep
from dff.simulate.camera_effects import dust, flicker_gains, vignetting
from dff.simulate.light_field import Rendering, render, single_threaded
from dff.simulate.rays import Surfaces
from dff.simulate.recipe import Recipe
from dff.simulate.scenes import SCENES
from dff.simulate.shadows import with_shadows
from dff.simulate.stage import Stage
from dff.simulate.subjects import mesh_subject
from dff.simulate.texture_energy import texture_energy
from dff.simulate.textures import list_pictures
from dff.simulate.wave import WaveOptics
from dff.stack import LUMINANCE, FloatArray, FocalStack, ImageMetadata, Scene

PAD_STEP_PX = 64
"""Ground beyond the picture comes in such steps, so that most captures of one seed show one and the same subject."""
BOUND_WINDOW_SIGMA_PX = 3.0
"""Window of the precision bound that a scene carries."""


def render_scene(name: str, recipe: Recipe | None = None, **changes: Any) -> Scene:
    """A focal stack of a scene, with exact truth.

    Truth lives in the pixels of the reference frame (`settings["reference"]`, the middle one unless chosen): what the
    chief ray through each pixel's centre meets first. Rail, ring and drifting captures show other views in other
    frames; aligned to the reference frame (`Scene.alignment` holds the true transforms) they match the truth.

    Args:
        name: One of SCENES, or the path of a Wavefront OBJ mesh.
        recipe: How it is built, photographed and stored.
        **changes: Fields of Recipe, instead of or on top of a recipe.

    Raises:
        ValueError: an unknown scene or a value outside its range.
    """
    chosen = Recipe(**changes) if recipe is None else replace(recipe, **changes)
    if name not in SCENES and not name.lower().endswith(".obj"):
        raise ValueError(f"scene: must be one of {', '.join(SCENES)} or an OBJ file; got {name!r}; choose one of them")
    capture = sweep(chosen.lens, chosen.motion, chosen.shape, np.random.default_rng([chosen.seed, 1]))
    with single_threaded() as threads:
        rendering = render(
            build(name, chosen, capture),
            capture,
            chosen.pupil,
            kernel_sigma_px=chosen.kernel_sigma_px,
            sampling_px=chosen.sampling_px,
            device=chosen.device,
            workers=threads if chosen.device == "cpu" else 1,
        )
    if chosen.wave:
        lens = WaveOptics(
            chosen.lens.aperture_slope,
            chosen.pixel_size_mm,
            spherical_waves=chosen.spherical_waves,
            axial_colour_mm=chosen.axial_colour_mm,
        )
        lens.refine(rendering.frames, rendering.sharp, rendering.z, capture.plane_mm)
    return _scene(name, rendering, capture, chosen)


def build(name: str, recipe: Recipe, capture: Sweep) -> Surfaces:
    """The surfaces of a scene, shadows cast."""
    pixel = float(capture.pixel_mm[capture.reference])
    field = np.array(capture.size_px) / 2 * float(capture.pixel_mm.max())
    lean = float(capture.aperture_slope.max() + (field.max() / capture.pupil_mm).max())
    depth = float(np.ptp(capture.plane_mm))
    beyond = float(np.abs(capture.drift_mm).max()) + field.max() * float(np.ptp(capture.pixel_mm)) / pixel
    stage = Stage(
        size_px=capture.size_px,
        pixel_mm=pixel,
        sweep_mm=depth,
        pad_px=PAD_STEP_PX * math.ceil(((lean * depth + beyond) / pixel + 12) / PAD_STEP_PX),
        random=np.random.default_rng([recipe.seed, 0]),
        contrast=recipe.contrast,
        device=torch.device(recipe.device),
        photographs=() if recipe.textures is None else list_pictures(recipe.textures),
        gloss=recipe.gloss,
    )
    surfaces = SCENES[name](stage) if name in SCENES else mesh_subject(stage, name, recipe.turn_deg)
    return with_shadows(surfaces)


def _scene(name: str, rendering: Rendering, capture: Sweep, recipe: Recipe) -> Scene:
    gains = flicker_gains(recipe.frames, recipe.flicker, np.random.default_rng([recipe.seed, 3]))
    stack = _stack(name, _exposed(rendering.frames, gains, capture, recipe), capture, recipe)
    variance, frequency = texture_energy(rendering.sharp, BOUND_WINDOW_SIGMA_PX)
    bound = optics.focus_limit(
        np.maximum(np.sqrt(recipe.sensor.noise(rendering.sharp) ** 2 @ np.array(LUMINANCE) ** 2), 1e-9),
        texture_variance=variance,
        texture_frequency=frequency,
        blur_growth_px=recipe.growth_px,
        window_sigma_px=BOUND_WINDOW_SIGMA_PX,
    )
    lowest = 0.0 if recipe.geometry == "nominal" else float(capture.plane_mm.min())
    return Scene(
        name=name,
        stack=stack,
        index=true_index(rendering.z, capture.plane_mm),
        z=(rendering.z - lowest).astype(np.float32),
        sharp=rendering.sharp,
        visible=rendering.visible,
        bound=bound.astype(np.float32),
        texture=(variance * frequency).astype(np.float32),
        alignment=capture.alignment(gains),
        settings=recipe.as_dict() | {"reference": capture.reference, "plane_mm": capture.plane_mm.tolist()},
    )


def _exposed(frames: FloatArray, gains: FloatArray, capture: Sweep, recipe: Recipe) -> list[NDArray[Any]]:
    passed = vignetting(capture.size_px, recipe.vignetting)
    if recipe.dust:
        passed = passed * dust(capture.size_px, recipe.dust, np.random.default_rng([recipe.seed, 4]))
    sensor = recipe.sensor
    return [
        sensor.expose(light * passed * np.float32(gain), np.random.default_rng([recipe.seed, 2, k]))
        for k, (light, gain) in enumerate(zip(frames, gains))
    ]


def _stack(name: str, frames: list[NDArray[Any]], capture: Sweep, recipe: Recipe) -> FocalStack:
    lens = recipe.lens
    return FocalStack(
        frames=frames,
        names=tuple(f"{name.rsplit('/', 1)[-1]}-{k:03d}" for k in range(len(frames))),
        shape=frames[0].shape,
        dtype=frames[0].dtype,
        metadata=ImageMetadata(
            focal_length_mm=lens.focal_length_mm, f_number=lens.f_number, pixel_pitch_mm=lens.pixel_pitch_mm
        ),
        geometry=capture.geometry(recipe.geometry),
    )


def true_index(z: FloatArray, plane_mm: FloatArray) -> FloatArray:
    """Sub-frame indices at which heights are in focus; NaN outside the sweep."""
    order = np.argsort(plane_mm)
    index = np.interp(z, plane_mm[order], order.astype(float), left=np.nan, right=np.nan)
    return index.astype(np.float32)
