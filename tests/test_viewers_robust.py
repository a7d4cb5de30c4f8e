"""What users meet besides the good case: nothing measured, two frames, no scale, no graphics, two windows, no mouse."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_result import staircase_result

from dff import io, surface
from dff.cli import main
from dff.optics import stepped_geometry, unknown_geometry
from dff.stack import Alignment, DepthMap, Reconstruction
from viewers.page import write_page
from viewers.server import ResultServer

SIZE = {"width": 900, "height": 600}


@pytest.fixture(scope="module")
def result() -> Reconstruction:
    return staircase_result()


@pytest.fixture(scope="module")
def path(result: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the staircase without a scale."""
    base = tmp_path_factory.mktemp("robust")
    geometry = unknown_geometry(range(len(result.geometry)), result.depth.index.shape)
    return paged(replace(result, geometry=geometry), base)


@pytest.fixture
def page(browser: Any, path: Path) -> Iterator[Any]:
    page = opened(browser, path.as_uri())
    yield page
    page.close()


def paged(result: Reconstruction, base: Path) -> Path:
    io.write_reconstruction(result, base / "result")
    return write_page(base / "result", base / "scan.html")


def opened(browser: Any, address: str, script: str = "") -> Any:
    page = browser.new_page(viewport=SIZE)
    page.trouble = []
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.add_init_script(script)
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    return page


def settled(page: Any, script: str = "") -> None:
    page.evaluate("async () => {" + script + "; await dff.scene.settled(); }")


def downloaded(page: Any, button: str) -> str:
    with page.expect_download() as waiting:
        page.click(button)
    return Path(waiting.value.path()).read_bytes().decode("utf-8", "replace")


def bright_share(page: Any) -> float:
    """Share of the view that is brighter than the ground."""
    return float(
        page.evaluate(
            """() => {
            const view = document.getElementById('view'), canvas = new OffscreenCanvas(view.width, view.height);
            const context = canvas.getContext('2d');
            context.drawImage(view, 0, 0);
            const { data } = context.getImageData(0, 0, view.width, view.height);
            let bright = 0;
            for (let i = 0; i < data.length; i += 4) bright += Math.max(data[i], data[i + 1], data[i + 2]) > 70;
            return (4 * bright) / data.length;
        }"""
        )
    )


def ramp(size_px: tuple[int, int], frames: int) -> Reconstruction:
    """A slope from the first frame to the last."""
    index = np.tile(np.linspace(0, frames - 1, size_px[1], dtype=np.float32), (size_px[0], 1))
    return Reconstruction(
        all_in_focus=np.full((*size_px, 3), 150, np.uint8),
        depth=DepthMap(index, np.full_like(index, 0.9), np.full_like(index, 0.05)),
        geometry=stepped_geometry(0.1 * np.arange(frames), size_px, pixel_size_mm=0.01),
        alignment=Alignment.identity(frames, size_px),
        names=tuple(f"frame {k}" for k in range(frames)),
    )


def test_nothing_measured_opens_and_says_so(browser: Any, tmp_path: Path) -> None:
    """A hole everywhere: no mark on the view, no point to read or to measure, an empty cloud."""
    found = ramp((40, 50), 5)
    depth = DepthMap(np.full((40, 50), np.nan, np.float32), np.zeros((40, 50), np.float32), found.depth.sigma)
    page = opened(browser, paged(replace(found, depth=depth), tmp_path).as_uri())
    settled(page, "dff.set({grid: false})")
    assert bright_share(page) < 0.001
    assert "0 % measured" in page.text_content("#bar")
    page.evaluate("dff.hover([20, 20])")
    assert "not measured" in page.inner_text("#readout")
    page.evaluate("dff.measurements.add('profile', [[1, 1], [30, 30]])")
    assert "crosses no surface" in page.inner_text("#hint")
    assert "element vertex 0" in downloaded(page, "text=Visible points (PLY)")
    assert page.trouble == []
    page.close()


def test_two_frames_are_enough(browser: Any, tmp_path: Path) -> None:
    """Heights between the two planes are read as the library has them."""
    found = ramp((30, 40), 2)
    points = surface.back_project(found.depth.index, found.geometry, found.alignment)
    page = opened(browser, paged(found, tmp_path).as_uri())
    got = page.evaluate("[0, 13, 39].map((x) => dff.surface.at(x, 9).position)")
    np.testing.assert_allclose(got, points[9, [0, 13, 39]], atol=2e-4)
    settled(page, "dff.setFocus(1)")
    assert bright_share(page) > 0.01
    assert page.trouble == []
    page.close()


def test_files_without_a_scale_say_px_and_frames(page: Any) -> None:
    """Every unit in both tables and in the cloud; no length mixes the two."""
    page.evaluate("dff.measurements.add('distance', [[10, 10], [40, 50]])")
    page.evaluate("dff.measurements.add('profile', [[2, 40], [90, 40]])")
    rows = [line.split(",") for line in downloaded(page, "text=Measurements (CSV)").splitlines()]
    column = rows[0].index("unit")
    units = {row[3]: row[column] for row in rows[1:]}
    assert units["ΔXY"] == units["length"] == "px"
    assert units["ΔZ"] == units["lowest"] == "frames"
    assert "mm" not in units.values()
    assert "distance" not in units
    head = downloaded(page, "button.profile").splitlines()[0]
    assert "X px" in head
    assert "Z frames" in head
    assert "unit: x, y in px, z in frames" in downloaded(page, "text=Visible points (PLY)")


def test_without_webgl_it_says_what_to_do(browser: Any, path: Path) -> None:
    none = """const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
            return kind === 'webgl2' ? null : get.call(this, kind, ...rest); };"""
    page = opened(browser, path.as_uri(), none)
    assert page.get_attribute("html", "data-ready") == "failed"
    assert "WebGL2" in page.inner_text("#loading")
    assert "hardware acceleration" in page.inner_text("#loading")
    page.close()


def test_a_reset_of_the_graphics_driver_is_survived(page: Any) -> None:
    """The view says so while it is gone, and is the same afterwards, down to what the cursor finds."""
    settled(page, "dff.controls.mode('height'); dff.preset('front')")
    place = page.evaluate("dff.camera.project(dff.surface.at(30, 40).position).slice(0, 2)")
    before = bright_share(page), page.evaluate("(place) => dff.scene.pick(...place)", place)
    page.evaluate("() => { window.lost = dff.scene.gl.getExtension('WEBGL_lose_context'); lost.loseContext(); }")
    page.wait_for_selector("#hint:not([hidden])")
    assert "reset" in page.inner_text("#hint")
    assert page.evaluate("(place) => dff.scene.pick(...place)", place) is None
    page.evaluate("() => lost.restoreContext()")
    page.wait_for_selector("#hint", state="hidden")
    settled(page)
    after = bright_share(page), page.evaluate("(place) => dff.scene.pick(...place)", place)
    assert after[0] == pytest.approx(before[0], rel=0.02)
    assert after[1] == pytest.approx(before[1], abs=0.01)
    assert page.trouble == []


def test_the_window_is_resized(page: Any) -> None:
    """The view follows, and the model stays framed in what is free."""
    for width, height in ((1100, 500), (700, 700)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function("([w, h]) => dff.camera.size[0] === w && dff.camera.size[1] === h", arg=[width, height])
        settled(page)
        free = page.evaluate("dff.free()")
        seen = np.array(
            page.evaluate("dff.surface.landmarks(dff.meta.box).map((p) => dff.camera.project(p).slice(0, 2))")
        )
        low, high = seen.min(axis=0), seen.max(axis=0)
        assert low[0] > free["left"]
        assert high[0] < width - free["right"]
        assert low[1] > free["top"]
        assert high[1] < height - free["bottom"]
        room = (width - free["left"] - free["right"], height - free["top"] - free["bottom"])
        assert max((high - low) / room) > 0.75


def test_a_distance_is_measured_with_the_keyboard(page: Any) -> None:
    """From the tab key to the number, without a mouse."""
    page.focus("[data-tool=distance]")
    page.keyboard.press("Enter")
    page.focus(".picture canvas")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    start = page.evaluate("dff.picture.cursor")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Space")
    value = page.evaluate("dff.measurements.entries[0].values[0]")
    moved = page.evaluate("dff.picture.cursor[0]") - start[0]
    assert moved == pytest.approx(13, abs=1)
    assert value["name"] == "ΔXY"
    assert value["value"] == pytest.approx(moved, abs=1.5)


def test_a_large_page_opens_coarse_and_becomes_whole(browser: Any, tmp_path: Path) -> None:
    """Its first picture is made of measured points; then every pixel is there, and what was set stays set."""
    found = ramp((1300, 1400), 8)
    points = surface.back_project(found.depth.index, found.geometry, found.alignment)
    watch = """Object.defineProperty(window, 'dff', { configurable: true, get() { return this.app; }, set(app) {
        this.app = app;
        const { surface } = app;
        this.early = { size: [surface.height, surface.width], point: surface.at(40, 50).position,
            pixel: surface.toResult([40, 50]) };
        app.controls.mode('height');
    } });"""
    page = opened(browser, paged(found, tmp_path).as_uri(), watch)
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
    early = page.evaluate("early")
    assert early["size"][0] * early["size"][1] < 300_000
    column, row = early["pixel"]
    np.testing.assert_allclose(early["point"], points[row, column], atol=2e-3)
    settled(page)
    assert page.evaluate("[dff.surface.height, dff.surface.width, dff.scene.state.mode]") == [1300, 1400, "height"]
    np.testing.assert_allclose(page.evaluate("dff.surface.at(801, 602).position"), points[602, 801], atol=2e-3)
    assert page.trouble == []
    page.close()


def test_two_windows_keep_what_both_measured(browser: Any, result: Reconstruction, tmp_path: Path) -> None:
    """A list that another window has written meanwhile is joined, not replaced; strokes are not overwritten."""
    io.write_reconstruction(result, tmp_path / "result")
    server = ResultServer(tmp_path / "result")
    thread = threading.Thread(target=server.serve)
    thread.start()
    add = "async (all) => { for (const p of all) dff.measurements.add('point', [p]); await dff.measurements.saving; }"
    try:
        one, two = (opened(browser, server.address) for _ in range(2))
        one.evaluate(add, [[20, 40], [30, 40]])
        two.evaluate(add, [[70, 60]])
        one.evaluate("async () => { dff.measurements.remove(0); await dff.measurements.saving; }")
        chosen = two.evaluate("dff.measurements.entries[dff.measurements.active].points[0]")
        stored = json.loads((tmp_path / "result/measurements.json").read_text())["measurements"]
        seen = one.evaluate("dff.measurements.entries.map((entry) => entry.points[0])")
        stroke = {"kind": "unknown", "radius_px": 3, "hardness": 1, "points": [[10, 10]]}
        paint = "async (stroke) => { dff.edits.add(stroke); await dff.edits.saving; }"
        one.evaluate(paint, stroke)
        two.evaluate(paint, stroke | {"points": [[40, 40]]})
        told = two.inner_text("#hint")
        one.close()
        two.close()
    finally:
        server.close()
        thread.join()
    assert [entry["points"][0] for entry in stored] == [[30, 40], [70, 60]] == seen
    assert chosen == [70, 60]
    assert "Another window has painted" in told
    kept = json.loads((tmp_path / "result/edits.json").read_text())["edits"]
    assert [stroke["points"] for stroke in kept] == [[[10, 10]]]


def test_viewing_what_is_no_result_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for folder in (tmp_path / "photos", tmp_path / "nothing"):
        assert main(["view", str(folder), "--no-open"]) == 2
        told = capsys.readouterr().err.strip()
        assert len(told.splitlines()) == 1
        assert str(folder) in told


def test_a_port_in_use_is_told_in_one_line(
    result: Reconstruction, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    io.write_reconstruction(result, tmp_path / "result")
    server = ResultServer(tmp_path / "result")
    try:
        assert main(["view", str(tmp_path / "result"), "--no-open", "--port", str(server.port)]) == 2
    finally:
        server.http.server_close()
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 1
    assert f"--port: must be a free port of this machine; got {server.port}" in told
