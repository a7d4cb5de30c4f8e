"""The desktop viewer: what it shows, and what it says where it cannot."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dff import io
from dff.optics import stepped_geometry
from dff.stack import Alignment, DepthMap, Reconstruction
from viewers import desktop


@pytest.fixture(scope="module")
def result() -> Reconstruction:
    rows, columns = np.mgrid[0:40, 0:50].astype(np.float32)
    index = 2 + np.sin(columns / 8) + 0.02 * rows
    return Reconstruction(
        all_in_focus=np.stack([columns * 5, rows * 6, 128 + 0 * rows], axis=-1).astype(np.uint8),
        depth=DepthMap(index, (0.5 + rows / 100).astype(np.float32), np.full_like(index, 0.05)),
        geometry=stepped_geometry(0.1 * np.arange(5), (40, 50), pixel_size_mm=0.02),
        alignment=Alignment.identity(5, (40, 50)),
        names=tuple("abcde"),
    )


def test_without_a_screen_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(desktop.sys, "platform", "linux")
    with pytest.raises(OSError, match=r"needs a screen.*dff page"):
        desktop.check_desktop()


def test_without_vulkan_it_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(desktop.sys, "platform", "linux")
    monkeypatch.setattr(desktop.ctypes.util, "find_library", lambda _: None)
    with pytest.raises(OSError, match="libvulkan1 and mesa-vulkan-drivers"):
        desktop.check_desktop()


def test_points_of_less_confidence_are_left_out(result: Reconstruction) -> None:
    model = desktop.Model.of(result)
    assert len(model.shown_cloud("picture", 0.0)) == result.depth.index.size
    assert len(model.shown_cloud("height", 0.75)) == np.count_nonzero(result.depth.confidence >= 0.75)


def test_every_mode_has_its_colours(result: Reconstruction) -> None:
    """The picture's are the picture's; higher is elsewhere on the map than lower."""
    model = desktop.Model.of(result)
    np.testing.assert_array_equal(model.colours("picture"), result.all_in_focus.reshape(-1, 3))
    low, high = np.argmin(model.cloud.points[:, 2]), np.argmax(model.cloud.points[:, 2])
    for mode in ("height", "confidence", "frame", "error"):
        assert model.colours(mode).shape == (len(model.cloud), 3)
    assert np.ptp(model.colours("height")[[low, high]].astype(int), axis=0).max() > 100


def test_a_picked_point_is_told_in_the_results_unit(result: Reconstruction) -> None:
    """Although the window raises the heights."""
    model = desktop.Model.of(result)
    shown = model.shown_cloud("picture", 0.0)
    x, y, z = model.cloud.points[777]
    assert model.relief != 1 or shown.points[777, 2] == z
    assert model.place_text(shown.points[777]) == f"X {x:.5g}  Y {y:.5g}  Z {z:.5g}  (mm)"


@pytest.mark.slow
def test_a_window_opens_on_a_virtual_screen(result: Reconstruction, tmp_path: Path) -> None:
    if shutil.which("xvfb-run") is None or desktop.ctypes.util.find_library("vulkan") is None:
        pytest.skip("no xvfb-run or no Vulkan loader: apt-get install xvfb libvulkan1 mesa-vulkan-drivers")
    io.write_reconstruction(result, tmp_path / "result")
    code = (
        f"from viewers.desktop import show_desktop; show_desktop({str(tmp_path / 'result')!r}, ticks=5); print('shown')"
    )
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parent.parent)
    assert "shown" in done.stdout, done.stderr[-2000:]


SHOTS = """
import sys, numpy as np
from dff import io
from viewers.desktop import Model, _Window
model = Model.of(io.read_reconstruction(sys.argv[1]))
window = _Window(model, "test")
def shown(name, turns=4):
    for _ in range(turns): window.application.run_one_tick()
    window.view.export_current_image(f"{sys.argv[1]}/{name}.png")
    window.view.post_redraw()
    for _ in range(turns): window.application.run_one_tick()
shown("surface")
for mode in ("height", "confidence"):
    window._change(mode=mode, threshold=0.0)
    shown(mode)
window._change(mode="height", threshold=1.1)
shown("nothing")
window.view.close()
window.application.run_one_tick()
"""


@pytest.mark.slow
def test_the_window_shows_colours_and_threshold(result: Reconstruction, tmp_path: Path) -> None:
    """Pictures of the window: modes differ, and above every confidence nothing is left but the ground."""
    if shutil.which("xvfb-run") is None or desktop.ctypes.util.find_library("vulkan") is None:
        pytest.skip("no xvfb-run or no Vulkan loader: apt-get install xvfb libvulkan1 mesa-vulkan-drivers")
    folder = tmp_path / "result"
    io.write_reconstruction(result, folder)
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", sys.executable, "-c", SHOTS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parent.parent)
    names = ("surface", "height", "confidence", "nothing")
    assert all((folder / f"{name}.png").exists() for name in names), done.stderr[-2000:]
    pictures = {name: io.read_image(folder / f"{name}.png")[..., :3].astype(int) for name in names}
    bright = {name: (picture.max(axis=2) > 60) for name, picture in pictures.items()}
    assert all(bright[name].mean() > 0.01 for name in ("surface", "height", "confidence"))
    assert not bright["nothing"].any()
    both = bright["height"] & bright["confidence"]
    assert np.abs(pictures["height"] - pictures["confidence"])[both].mean() > 20
