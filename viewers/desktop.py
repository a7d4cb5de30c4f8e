"""A result in a window of its own: Open3D's viewer with our colours, confidence steps and coordinates of picked points.

Needs a screen and a Vulkan driver; what is missing is said before Open3D is asked, since it ends the program instead.
"""

from __future__ import annotations

import ctypes.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import io, surface
from dff.preview.still import fitting_relief
from dff.stack import DepthMap, FloatArray, Mesh, PointCloud, Reconstruction

MODES = {
    "picture": None,
    "height": cv2.COLORMAP_VIRIDIS,
    "confidence": cv2.COLORMAP_CIVIDIS,
    "frame": cv2.COLORMAP_TURBO,
    "error": cv2.COLORMAP_MAGMA,
}
THRESHOLDS = (0.0, 0.5, 0.75, 0.9)
MAX_POINTS = 3_000_000
MAX_FACES = 1_500_000
_GROUND = np.array([0.07, 0.08, 0.09, 1], np.float32)
_BRIGHTNESS = 22_000
_CLOUD, _MESH = "points", "surface"


def show_desktop(folder: str | Path, *, ticks: int | None = None) -> None:
    """Show a result in a window until it is closed.

    Args:
        folder: A result.
        ticks: Close the window after so many turns of its loop; None waits for the user.

    Raises:
        OSError: there is no result, no screen, or no Vulkan driver.
        ValueError: the result has no surface.
    """
    check_desktop()
    model = Model.of(io.read_reconstruction(folder))
    _Window(model, f"dff: {Path(folder).resolve().name}").run(ticks)


def check_desktop() -> None:
    """Refuse where no window can be opened, naming what is missing.

    Raises:
        OSError: no screen, or no Vulkan loader.
    """
    if not sys.platform.startswith("linux"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OSError(
            "--desktop: needs a screen; got neither DISPLAY nor WAYLAND_DISPLAY; use `dff view` or `dff page`, or run "
            "it under xvfb-run"
        )
    if ctypes.util.find_library("vulkan") is None:
        raise OSError(
            "--desktop: Open3D needs the Vulkan loader; got none; install libvulkan1 and mesa-vulkan-drivers (Debian, "
            "Ubuntu), or use `dff view`"
        )


@dataclass(frozen=True)
class Model:
    """What the window shows: points with the values they can be coloured by, and the exported surface."""

    cloud: PointCloud
    values: dict[str, FloatArray]
    """(n,) of each mode but the picture."""
    mesh: Mesh
    relief: float
    """Factor on the heights that the window shows."""

    @staticmethod
    def of(result: Reconstruction) -> Model:
        """The model of a result; points of every confidence, the surface as exported."""
        settings, depth = result.settings, result.depth
        shown = surface.select_surface(
            depth,
            min_confidence=settings.min_confidence,
            outlier_sigma=settings.outlier_sigma,
            cut_frames=settings.cut_frames,
        )
        rest = (result.geometry, result.alignment, result.all_in_focus)
        mesh = surface.grid_mesh(shown, *rest, cut_frames=settings.cut_frames, max_faces=MAX_FACES)
        chosen = surface.thinned(depth.known, MAX_POINTS)
        part = DepthMap(np.where(chosen, depth.index, np.float32(np.nan)), depth.confidence, depth.sigma)
        cloud = surface.point_cloud(part, *rest, cut_frames=settings.cut_frames)
        values = {
            "height": cloud.points[:, 2],
            "confidence": cloud.confidence,
            "frame": np.round(depth.index[chosen]),
            "error": np.log(np.maximum(depth.sigma[chosen], 1e-4)),
        }
        return Model(cloud, values, mesh, fitting_relief(mesh))

    def colours(self, mode: str) -> NDArray[np.uint8]:
        """(n, 3) sRGB of the points."""
        palette = MODES[mode]
        if palette is None:
            return self.cloud.colours
        values = self.values[mode]
        low, high = (0, 1) if mode == "confidence" else np.nanpercentile(values, (0.5, 99.5))
        level = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-9)), 0, 1)
        painted = cv2.applyColorMap((level * 255 + 0.5).astype(np.uint8)[:, None], palette)
        return np.ascontiguousarray(np.asarray(painted, np.uint8).reshape(-1, 3)[:, ::-1])

    def shown_cloud(self, mode: str, threshold: float) -> PointCloud:
        """The points of enough confidence in the colours of a mode, raised as the window shows them."""
        kept = self.cloud.confidence >= threshold
        points = self.cloud.points[kept] * np.array([1, 1, self.relief], np.float32)
        colours = self.colours(mode)[kept]
        return PointCloud(points, colours, self.cloud.normals[kept], self.cloud.confidence[kept], self.cloud.unit)

    def shown_mesh(self) -> Mesh:
        """The surface, raised as the window shows it."""
        mesh = self.mesh
        normals = mesh.normals * np.array([1, 1, 1 / self.relief], np.float32)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        raised = mesh.vertices * np.array([1, 1, self.relief], np.float32)
        return Mesh(raised, mesh.triangles, normals, mesh.colours, mesh.uv, mesh.unit)

    def place_text(self, point: FloatArray) -> str:
        """Coordinates of a point of the window, in the result's unit."""
        x, y, z = (float(value) for value in point / np.array([1, 1, self.relief]))
        return f"X {x:.5g}  Y {y:.5g}  Z {z:.5g}  ({self.cloud.unit})"


class _Window:
    """Open3D's viewer, with our actions."""

    def __init__(self, model: Model, title: str) -> None:
        import open3d as o3d

        self.o3d, self.model = o3d, model
        self.mode, self.threshold = "picture", 0.5
        self.application = o3d.visualization.gui.Application.instance
        self.application.initialize()
        raised = "" if abs(model.relief - 1) < 0.01 else f", heights × {model.relief:.3g}"
        self.view: Any = o3d.visualization.O3DVisualizer(f"{title} ({model.cloud.unit}{raised})", 1280, 800)
        self.view.show_settings = True
        self.view.show_skybox(False)
        self.view.set_background(_GROUND, None)  # type: ignore[arg-type]  # the stub leaves out None
        self.view.set_ibl_intensity(_BRIGHTNESS)
        shown = model.shown_mesh()
        geometry = surface.to_open3d(shown)
        geometry.vertex.colors = self._linear(shown.colours)
        self.view.add_geometry(_MESH, geometry, self._material("defaultLit"))
        self._show_points()
        self.view.show_geometry(_CLOUD, False)
        self._add_actions()
        self.view.reset_camera_to_default()
        self.application.add_window(self.view)

    def run(self, ticks: int | None = None) -> None:
        """Until the window is closed, or for some turns of its loop."""
        if ticks is None:
            self.application.run()
            return
        for _ in range(ticks):
            self.application.run_one_tick()
        self.view.close()
        self.application.run_one_tick()

    def _linear(self, colours: NDArray[np.uint8]) -> Any:
        """Colours as Open3D's renderer takes them: light, not sRGB code."""
        table = (np.arange(256, dtype=np.float32) / 255) ** np.float32(2.2)
        return self.o3d.core.Tensor.from_numpy(np.ascontiguousarray(table[colours]))

    def _material(self, shader: str) -> Any:
        material = self.o3d.visualization.rendering.MaterialRecord()
        material.shader = shader
        material.point_size = 3
        return material

    def _show_points(self) -> None:
        self.view.remove_geometry(_CLOUD)
        shown = self.model.shown_cloud(self.mode, self.threshold)
        if len(shown) == 0:
            return
        geometry = surface.to_open3d(shown)
        geometry.point.colors = self._linear(shown.colours)
        self.view.add_geometry(_CLOUD, geometry, self._material("defaultUnlit"))

    def _add_actions(self) -> None:
        for mode in MODES:
            self.view.add_action(f"Points by {mode}", lambda _, mode=mode: self._change(mode=mode))
        for value in THRESHOLDS:
            name = f"Confidence at least {value:.0%}"
            self.view.add_action(name, lambda _, value=value: self._change(threshold=value))
        self.view.add_action("Label picked points", lambda _: self._label())
        self.view.add_action("Clear labels", lambda _: self.view.clear_3d_labels())

    def _change(self, *, mode: str | None = None, threshold: float | None = None) -> None:
        self.mode = self.mode if mode is None else mode
        self.threshold = self.threshold if threshold is None else threshold
        self._show_points()
        self.view.show_geometry(_MESH, False)
        self.view.post_redraw()

    def _label(self) -> None:
        """Write their coordinates beside the points of the current selection."""
        for chosen in self.view.get_selection_sets():
            for picked in chosen.values():
                for item in picked:
                    self.view.add_3d_label(item.point, self.model.place_text(np.asarray(item.point)))
