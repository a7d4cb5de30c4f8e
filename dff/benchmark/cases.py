"""Scenes with truth: rendered ones, kept on disk between runs, and stored ones of another renderer."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dff import align, io, optics, simulate, surface
from dff.settings import VERSION
from dff.simulate import SCENES, Recipe, render_scene
from dff.simulate.render import BOUND_WINDOW_SIGMA_PX
from dff.stack import LUMINANCE, Alignment, FloatArray, FocalStack, FocusGeometry, ImageMetadata, Scene


class Skip(Exception):  # noqa: N818 - no error: the message says why a case was not run
    """A case cannot be run here; the message says why."""


@dataclass(frozen=True)
class Case:
    """One scene of a suite."""

    name: str
    load: Callable[[], Scene]
    """Raises Skip where the scene cannot be had."""
    parameters: Mapping[str, Any] = field(default_factory=dict)


def rendered_case(name: str, cache: Path, **parameters: Any) -> Case:
    """A scene of the simulator; its light is rendered once for each set of parameters and version of the simulator.

    Args:
        name: One of dff.simulate.SCENES, or an OBJ file.
        cache: Folder that rendered light is kept in.
        **parameters: Fields of dff.simulate.Recipe; snr is put on afterwards.
    """
    title = Path(name).stem if name.endswith(".obj") else name
    return Case(title, lambda: replace(_photographed(name, cache, parameters), name=title), parameters)


def _photographed(name: str, cache: Path, parameters: Mapping[str, Any]) -> Scene:
    light = {key: value for key, value in parameters.items() if key != "snr"}
    return photographed(_rendered(name, cache, light), snr=parameters.get("snr"))


def _rendered(name: str, cache: Path, parameters: Mapping[str, Any]) -> Scene:
    """The scene as light without noise."""
    if name.endswith(".obj"):
        if not Path(name).exists():
            raise Skip(f"no mesh at {name}; name the folder with --data")
    elif name not in SCENES:
        raise Skip(f"there is no scene {name!r} in this version")
    described = json.dumps([VERSION, _simulator_digest(), name, dict(sorted(parameters.items()))])
    path = cache / f"{Path(name).stem}-{hashlib.sha256(described.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        scene = render_scene(name, **parameters, snr=None, bits=None)
        with io.atomic_path(path) as temporary, temporary.open("wb") as file:
            write_scene(scene, file)
    return read_scene(path)


def photographed(light: Scene, *, snr: float | None, bits: int = 16) -> Scene:
    """The scene as `render_scene` gives it with this noise, from the same scene without noise and quantisation."""
    sensor, seed = Recipe(snr=snr, bits=bits).sensor, light.settings["seed"]
    frames = [
        sensor.expose(light.stack.frames[k], np.random.default_rng([seed, 2, k])) for k in range(len(light.stack))
    ]
    noise = np.sqrt(sensor.noise(light.sharp) ** 2 @ np.array(LUMINANCE) ** 2)
    bound = optics.focus_limit(
        noise,
        texture_variance=np.ones(()) if light.texture is None else light.texture,
        texture_frequency=1.0,
        blur_growth_px=light.settings["blur_growth_px"],
        window_sigma_px=BOUND_WINDOW_SIGMA_PX,
    )
    return replace(
        light,
        stack=replace(light.stack, frames=frames, dtype=frames[0].dtype),
        bound=bound.astype(np.float32),
        settings={**light.settings, "snr": snr, "bits": bits},
    )


def _simulator_digest() -> str:
    """Changes with any change to the simulator."""
    digest = hashlib.sha256()
    for source in sorted(Path(simulate.__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


_MAPS = ("index", "z", "sharp", "visible", "bound", "texture")
_TABLES = ("z", "pixel", "centre_px")


def write_scene(scene: Scene, file: Any) -> None:
    """Write a scene with its frames as one NPZ file."""
    stack, geometry = scene.stack, scene.stack.geometry
    if geometry is None:
        raise ValueError(f"scene {scene.name}: must have a geometry; got none; give one")
    kept = ("focal_length_mm", "f_number", "pixel_pitch_mm")
    about = {
        "name": scene.name,
        "names": stack.names,
        "settings": dict(scene.settings),
        "units": [geometry.z_unit, geometry.xy_unit, geometry.capture],
        "metadata": {name: asdict(stack.metadata)[name] for name in kept},
    }
    np.savez(
        file,
        about=np.array(json.dumps(about, default=float)),
        frames=np.stack([stack.frames[k] for k in range(len(stack))]),
        **{name: getattr(scene, name) for name in _MAPS},
        **{f"geometry_{name}": getattr(geometry, name) for name in _TABLES},
        transforms=_alignment(scene).transforms,
    )


def _alignment(scene: Scene) -> Alignment:
    size: tuple[int, int] = scene.index.shape
    return scene.alignment or Alignment.identity(len(scene.stack), size)


def read_scene(path: Path) -> Scene:
    """A scene that `write_scene` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        frames = stored["frames"]
        maps = {name: stored[name] for name in _MAPS}
        tables = {name: stored[f"geometry_{name}"] for name in _TABLES}
        transforms = stored["transforms"]
    z_unit, xy_unit, capture = about["units"]
    stack = FocalStack(
        frames=list(frames),
        names=tuple(about["names"]),
        shape=frames[0].shape,
        dtype=frames.dtype,
        metadata=ImageMetadata(**about["metadata"]),
        geometry=FocusGeometry(**tables, z_unit=z_unit, xy_unit=xy_unit, capture=capture),
    )
    alignment = replace(Alignment.identity(len(stack), maps["index"].shape), transforms=transforms)
    return Scene(name=about["name"], stack=stack, settings=about["settings"], alignment=alignment, **maps)


def stored_cases(folder: Path) -> list[Case]:
    """Path-traced stacks with exact truth, one a folder, aligned by us before any method sees them.

    Each folder holds frames/, truth.npz (z, frame, focus_z, pixel_mm), sharp.png and stack.json.
    """
    found = sorted(path.parent for path in folder.glob("*/truth.npz"))
    if not found:
        return [Case("stored", lambda: _absent(folder), {})]
    return [Case(path.name, lambda path=path: read_stored(path)) for path in found]  # type: ignore[misc]


def _absent(folder: Path) -> Scene:
    raise Skip(f"no data at {folder}; name it with --data")


def read_stored(folder: Path) -> Scene:
    """A path-traced stack in the form of our own scenes, its frames aligned; truth outside the frames is left out."""
    about = json.loads((folder / "stack.json").read_text())
    with np.load(folder / "truth.npz", allow_pickle=False) as stored:
        truth = {name: stored[name] for name in ("z", "frame", "focus_z", "pixel_mm")}
    sharp = io.read_image(folder / "sharp.png")
    lowest = float(truth["focus_z"].min())
    stack = replace(
        io.read_stack(folder / "frames"),
        geometry=optics.table_geometry(
            truth["focus_z"], sharp.shape[:2], pixel_mm=np.broadcast_to(truth["pixel_mm"], truth["focus_z"].shape)
        ),
    )
    aligned, alignment = aligned_stack(stack)
    inside = align.valid_area(alignment) & (truth["frame"] >= 0) & (truth["frame"] <= len(stack) - 1)
    shape = truth["frame"].shape
    return Scene(
        name=folder.name,
        stack=aligned,
        index=np.where(inside, truth["frame"], np.nan).astype(np.float32),
        z=(truth["z"] - lowest).astype(np.float32),
        sharp=(sharp / np.float32(255)).astype(np.float32),
        visible=np.full(shape, np.nan, np.float32),
        bound=np.full(shape, np.nan, np.float32),
        settings={**about, "alignment_residual_px": alignment.residual_rms_px},
    )


def aligned_stack(stack: FocalStack) -> tuple[FocalStack, Alignment]:
    """The stack with every frame moved onto the reference frame, and how."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alignment = align.estimate_alignment(stack)
    frames = [align.warp_frame(stack.frames[k], alignment.transforms[k]) for k in range(len(stack))]
    return replace(stack, frames=frames), alignment


def true_places(scene: Scene) -> FloatArray:
    """(H, W, 3) true x, y, z in mm of what the pixels of the reference frame see; NaN outside the sweep."""
    if scene.stack.geometry is None:
        raise ValueError(f"scene {scene.name}: must have a geometry; got none; give one")
    return surface.back_project(scene.index, scene.stack.geometry, _alignment(scene))
