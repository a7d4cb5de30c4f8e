"""Pictures and films of a result, made without a screen and without a graphics driver.

Everything is drawn from the surface by the software renderer of dff.preview, so it works on any server.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dff import io, preview, surface
from dff.preview.still import fitting_relief
from dff.stack import FloatArray, Mesh, Progress, Reconstruction, silent
from viewers.shear import Sheared, sheared_frames

Picture = NDArray[np.uint8]

KINDS = ("still", "sheet", "turntable", "rocking", "stereo", "anaglyph")
FACES = 250_000
SIDEWAYS = {"rocking", "stereo", "anaglyph"}
"""What can be made of the frames as well."""
ROCKING_DEG = 14.0
ROCKING_FRAMES = 20
"""Pictures of a rocking that is made of the frames."""
EYES_DEG = 5.0
"""Angle between the two eyes of a stereo pair."""
TABLE_DEG = 50.0
"""How far a surface on the turntable is laid back."""
GIF_SIDE_PX = 480
_SHEET = {
    "front": (0.0, 0.0),
    "left": (50.0, 0.0),
    "right": (-50.0, 0.0),
    "above": (0.0, -50.0),
    "below": (0.0, 50.0),
    "oblique": (24.0, 34.0),
}
# Least-squares colours for red-cyan glasses on an sRGB screen, linear light: Dubois, Proc. ICASSP 2001.
_LEFT_EYE = np.array([[0.456, 0.500, 0.176], [-0.040, -0.038, -0.016], [-0.015, -0.021, -0.005]], np.float32)
_RIGHT_EYE = np.array([[-0.043, -0.088, -0.002], [0.378, 0.734, -0.018], [-0.072, -0.113, 1.226]], np.float32)


@dataclass(frozen=True)
class RenderOptions:
    """How pictures and films are made."""

    size_px: tuple[int, int] = (720, 960)
    """(H, W)."""
    seconds: float = 6.0
    """Length of the turntable; a rocking takes half of it."""
    frames_per_s: float = 25.0
    relief: float | None = None
    """Factor on the heights; None lets them be seen."""
    stereo: str = "mesh"
    """What eyes and rocking camera see: the mesh, or the frames, moved sideways and fused again."""
    moved_to: str | Path | None = None
    """Where the source frames are now; None looks where they were."""

    def __post_init__(self) -> None:
        if self.stereo not in ("mesh", "frames"):
            raise ValueError(f"--stereo: must be mesh or frames; got {self.stereo!r}; choose one of them")
        for name, value in (("--size", min(self.size_px)), ("--seconds", self.seconds), ("--fps", self.frames_per_s)):
            if not 0 < value < 20_000:
                raise ValueError(f"{name}: must be positive; got {value:g}; give another")


def render_result(
    folder: str | Path,
    output: str | Path,
    kinds: Sequence[str] = KINDS,
    options: RenderOptions | None = None,
    *,
    on_progress: Progress = silent,
) -> list[Path]:
    """Write pictures and films of a result.

    Args:
        folder: A result.
        output: Folder for the files; it is made.
        kinds: Some of KINDS.
        options: Size, length, speed.
        on_progress: Called as (stage, done, total).

    Returns:
        The files written.

    Raises:
        ValueError: an unknown kind, or a result without any surface.
        OSError: there is no result, or files cannot be written.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"--what: must name {', '.join(KINDS)}; got {', '.join(unknown)!r}; separate names by commas")
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    chosen, result = options or RenderOptions(), io.read_reconstruction(folder)
    mesh = mesh_of(result)
    with ExitStack() as opened:
        frames = None
        if chosen.stereo == "frames" and SIDEWAYS & set(kinds):
            relief = fitting_relief(mesh) if chosen.relief is None else chosen.relief
            frames = opened.enter_context(
                sheared_frames(
                    result,
                    size_px=chosen.size_px,
                    relief=relief,
                    moved_to=chosen.moved_to,
                    on_progress=on_progress,
                )
            )
        studio = _Studio(mesh, chosen, on_progress, frames)
        return [path for kind in kinds for path in studio.make(kind, target)]


def mesh_of(result: Reconstruction, max_faces: int = FACES) -> Mesh:
    """The exported surface of a result, thinned to what a picture shows."""
    settings = result.settings
    shown = surface.select_surface(
        result.depth,
        min_confidence=settings.min_confidence,
        outlier_sigma=settings.outlier_sigma,
        cut_frames=settings.cut_frames,
    )
    parts = (shown, result.geometry, result.alignment, result.all_in_focus)
    return surface.grid_mesh(*parts, cut_frames=settings.cut_frames, max_faces=max_faces)


@dataclass(frozen=True)
class _Studio:
    """One mesh, and how it is shown."""

    mesh: Mesh
    options: RenderOptions
    on_progress: Progress
    frames: Sheared | None = None

    def make(self, kind: str, folder: Path) -> list[Path]:
        """Write the files of one kind."""
        makers: dict[str, Callable[[Path], list[Path]]] = {
            "still": self._still,
            "sheet": self._sheet,
            "turntable": functools.partial(self._film, "turntable"),
            "rocking": functools.partial(self._film, "rocking") if self.frames is None else self._rocking_frames,
            "stereo": self._stereo,
            "anaglyph": self._anaglyph,
        }
        return makers[kind](folder)

    def _still(self, folder: Path) -> list[Path]:
        self.on_progress("still", 0, 1)
        picture = preview.render_still(self.mesh, size_px=self.options.size_px, relief=self.options.relief)
        self.on_progress("still", 1, 1)
        return [_written(folder / "still.png", picture)]

    def _sheet(self, folder: Path) -> list[Path]:
        views = [preview.view_of(*angles) for angles in _SHEET.values()]
        sheet = preview.contact_sheet(list(self._drawn("sheet", views)), labels=list(_SHEET))
        return [_written(folder / "sheet.png", sheet)]

    def _film(self, kind: str, folder: Path) -> list[Path]:
        seconds = self.options.seconds * (1 if kind == "turntable" else 0.5)
        count = max(2, round(seconds * self.options.frames_per_s))
        views = turntable_views(count) if kind == "turntable" else rocking_views(count, self._home())
        rate = self.options.frames_per_s
        return write_films(folder / kind, self._drawn(kind, views), frames_per_s=rate, every=max(1, round(rate / 12.5)))

    def _rocking_frames(self, folder: Path) -> list[Path]:
        if self.frames is None:
            return []
        angles = [ROCKING_DEG * float(np.sin(2 * np.pi * k / ROCKING_FRAMES)) for k in range(ROCKING_FRAMES)]
        pictures = self.frames.views(
            [round(angle, 6) for angle in angles], on_progress=self.on_progress, stage="rocking"
        )
        return write_films(folder / "rocking", pictures, frames_per_s=2 * ROCKING_FRAMES / self.options.seconds)

    def _stereo(self, folder: Path) -> list[Path]:
        left, right = self._eyes("stereo pair")
        gap = np.full((left.shape[0], max(4, left.shape[1] // 60), 3), 255, np.uint8)
        pairs = {"stereo_parallel.png": (left, right), "stereo_cross_eyed.png": (right, left)}
        return [
            _written(folder / name, np.concatenate([first, gap, second], axis=1))
            for name, (first, second) in pairs.items()
        ]

    def _anaglyph(self, folder: Path) -> list[Path]:
        return [_written(folder / "anaglyph.png", anaglyph(*self._eyes("anaglyph")))]

    def _eyes(self, stage: str) -> tuple[Picture, Picture]:
        """What the left and the right eye see."""
        if self.frames is not None:
            left, right = self.frames.views([EYES_DEG / 2, -EYES_DEG / 2], on_progress=self.on_progress, stage=stage)
            return left, right
        home = self._home()
        left, right = self._drawn(stage, [preview.view_of(side * EYES_DEG / 2, 0) @ home for side in (1, -1)])
        return left, right

    def _home(self) -> FloatArray:
        """The view to start from: a little from the side that the surface faces."""
        x, y = self.mesh.normals.mean(axis=0)[:2]
        return preview.view_of(-12.0 if x > 0.05 else 12.0, -24.0 if y > 0.05 else 24.0)

    def _drawn(self, stage: str, views: Sequence[FloatArray]) -> Iterator[Picture]:
        relief = fitting_relief(self.mesh) if self.options.relief is None else self.options.relief
        self.on_progress(stage, 0, len(views))
        for k, picture in enumerate(
            preview.render_views(self.mesh, views, size_px=self.options.size_px, relief=relief)
        ):
            self.on_progress(stage, k + 1, len(views))
            yield picture


def write_films(path: Path, pictures: Iterable[Picture], *, frames_per_s: float, every: int = 1) -> list[Path]:
    """Write pictures as MP4, where PyAV is there, and every n-th of them, small, as GIF; gives the files.

    Args:
        path: Without ending.
        pictures: One at a time.
        frames_per_s: Speed.
        every: n.
    """
    mp4, gif = path.with_suffix(".mp4"), path.with_suffix(".gif")
    small: list[Picture] = []
    kept = _keeping(pictures, small, every)
    written = [gif]
    if importlib.util.find_spec("av") is None:
        warnings.warn(f'{mp4.name}: needs PyAV (pip install "dff[video]"); only the GIF is written', stacklevel=2)
        deque(kept, maxlen=0)
    else:
        io.write_film(mp4, kept, frames_per_s=frames_per_s)
        written = [mp4, gif]
    io.write_film(gif, small, frames_per_s=frames_per_s / every)
    return written


def turntable_views(count: int) -> list[FloatArray]:
    """Views once around a surface that lies on a table, the camera above it."""
    laid = preview.view_of(0, TABLE_DEG)
    return [laid @ _about_axis(360 * k / count) for k in range(count)]


def rocking_views(count: int, home: FloatArray) -> list[FloatArray]:
    """Views that swing about a view from left to right and back, evenly closed."""
    return [preview.view_of(ROCKING_DEG * float(np.sin(2 * np.pi * k / count)), 0) @ home for k in range(count)]


def _about_axis(degrees: float) -> FloatArray:
    """Rotation about the optical axis."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def anaglyph(left: Picture, right: Picture) -> Picture:
    """Both eyes' pictures in one for red-cyan glasses, red on the left eye.

    Args:
        left: (H, W, 3) sRGB of the left eye.
        right: The same of the right eye.
    """
    light = _linear(left) @ _LEFT_EYE.T + _linear(right) @ _RIGHT_EYE.T
    light = np.clip(light, 0, 1)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(coded * 255), np.uint8)


def _linear(picture: Picture) -> FloatArray:
    level = np.arange(256, dtype=np.float32) / 255
    table = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[picture]


def _keeping(pictures: Iterable[Picture], small: list[Picture], every: int) -> Iterator[Picture]:
    """The pictures, every n-th of which is kept in a list, small."""
    for k, picture in enumerate(pictures):
        if k % every == 0:
            small.append(preview.thumbnail(picture, min(GIF_SIDE_PX, picture.shape[1])))
        yield picture


def _written(path: Path, picture: Picture) -> Path:
    io.write_image(path, picture)
    return path
