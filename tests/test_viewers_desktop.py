"""The desktop viewer: what it shows, and what it says where it cannot."""

from __future__ import annotations

import json
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


PICKS = """
import json, sys, numpy as np
from Xlib import X, XK, display
from Xlib.ext import xtest
from dff import io
from viewers.desktop import Model, _Window
model = Model.of(io.read_reconstruction(sys.argv[1]))
window = _Window(model, "test")
window._change(mode="picture", threshold=0.0)
screen = display.Display()
control = screen.keysym_to_keycode(XK.XK_Control_L)
def send(kind, detail=0, x=0, y=0):
    xtest.fake_input(screen, kind, detail, x=x, y=y)
    screen.sync()
    for _ in range(3): window.application.run_one_tick()
def click(x, y):
    send(X.MotionNotify, x=x, y=y)
    send(X.ButtonPress, 1)
    send(X.ButtonRelease, 1)
def seen(point):
    camera = window.view.scene.camera
    x, y, _, w = np.asarray(camera.get_projection_matrix()) @ np.asarray(camera.get_view_matrix()) @ [*point, 1]
    return [x / w, y / w]
for _ in range(6): window.application.run_one_tick()
# The button for picking is where the theme puts it: the first that opens a set of picked points.
buttons = [(x, y) for y in range(44, 200, 10) for x in range(980, 1270, 40)]
for place in buttons:
    if window.view.get_selection_sets(): break
    click(*place)
send(X.KeyPress, control)
told, known = [], set()
for place in ((400, 400), (450, 420), (520, 450)):
    click(*place)
    for _ in range(30): window.application.run_one_tick()
    for item in window.view.get_selection_sets()[0].get("points", ()):
        if item.order not in known:
            known.add(item.order)
            told.append([place, seen(item.point), item.index, model.place_text(np.asarray(item.point))])
send(X.KeyRelease, control)
window._label()
print("picked" + json.dumps(told))
window.view.close()
window.application.run_one_tick()
"""


@pytest.mark.slow
def test_points_are_picked_with_the_mouse(tmp_path: Path) -> None:
    """Ctrl-click on the cloud, by events of the X server: what is picked lies under the mouse and is told in mm."""
    if shutil.which("xvfb-run") is None or desktop.ctypes.util.find_library("vulkan") is None:
        pytest.skip("no xvfb-run or no Vulkan loader: apt-get install xvfb libvulkan1 mesa-vulkan-drivers")
    pytest.importorskip("Xlib", reason="no python-xlib: pip install python-xlib")
    rows, columns = np.mgrid[0:300, 0:400].astype(np.float32)
    index = 2 + np.sin(columns / 60) + 0.003 * rows
    found = Reconstruction(
        all_in_focus=np.full((300, 400, 3), 180, np.uint8),
        depth=DepthMap(index, np.full_like(index, 0.9), np.full_like(index, 0.05)),
        geometry=stepped_geometry(0.1 * np.arange(5), (300, 400), pixel_size_mm=0.02),
        alignment=Alignment.identity(5, (300, 400)),
        names=tuple("abcde"),
    )
    io.write_reconstruction(found, tmp_path / "result")
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", sys.executable, "-c", PICKS, str(tmp_path / "result")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parent.parent)
    assert "picked" in done.stdout, done.stderr[-2000:]
    picks = json.loads(done.stdout.split("picked")[1].splitlines()[0])
    assert len(picks) == 3, picks
    cloud, bar_px = desktop.Model.of(found).cloud, 24
    widths = [2 * x / (across + 1) for (x, _), (across, _), *_ in picks]
    assert max(widths) / min(widths) < 1.02
    for (_, y), (_, up), place, text in picks:
        assert bar_px + (800 - bar_px) * (1 - up) / 2 == pytest.approx(y, abs=4)
        x_mm, y_mm, z_mm = cloud.points[place]
        assert text == f"X {x_mm:.5g}  Y {y_mm:.5g}  Z {z_mm:.5g}  (mm)"
