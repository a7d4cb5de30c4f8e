"""The brush in a real browser: what is painted, taken back, kept and applied is what the library makes of it."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dff import io, pipeline
from dff.edits import Stroke, stroke_distance, stroke_weight
from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import Reconstruction
from dff.surface import fill_smoothly
from viewers.page import write_page
from viewers.server import ResultServer

SIZE = {"width": 1000, "height": 700}
SIDE, FRAMES = 96, 10


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of a simulated staircase whose frames lie on disk."""
    base = tmp_path_factory.mktemp("brush")
    scene = render_scene("staircase", size_px=SIDE, frames=FRAMES, bits=8)
    io.write_scene(scene, base / "frames")
    settings = Settings(align="none", threads=1, z_file=str(base / "frames" / "z.csv"), cut_frames=1.0)
    pipeline.reconstruct_to_folder(io.read_stack(base / "frames"), base / "result", settings)
    return base / "result"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "result")
    return tmp_path / "result"


@pytest.fixture(scope="module")
def result(made: Path) -> Reconstruction:
    return io.read_reconstruction(made)


@pytest.fixture
def served(browser: Any, folder: Path) -> Iterator[Any]:
    """The served page of a result of its own."""
    server = ResultServer(folder)
    thread = threading.Thread(target=server.serve)
    thread.start()
    page = browser.new_page(viewport=SIZE)
    open_page(page, server.address)
    yield page
    page.close()
    server.close()
    thread.join()


@pytest.fixture(scope="module")
def opened(browser: Any, made: Path) -> Iterator[Any]:
    page = browser.new_page(viewport=SIZE)
    open_page(page, write_page(made, made.parent / "scan.html").as_uri())
    yield page
    page.close()


@pytest.fixture
def offline(opened: Any) -> Iterator[Any]:
    """The offline page; what a test paints is gone after it."""
    yield opened
    opened.evaluate("dff.brush.choose(null); dff.edits.clear()")
    ready(opened)


def open_page(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)


def ready(page: Any) -> None:
    """Wait until strokes are shown and kept."""
    page.evaluate("async () => { await dff.edits.shown; await dff.edits.saving; await dff.scene.settled(); }")


def maps_of(page: Any) -> Any:
    """(4, H, W) index, confidence, sigma and flags of the page."""
    names = ("index", "confidence", "sigma", "flags")
    return np.array([page.evaluate(f"Array.from(dff.surface.{name})") for name in names]).reshape(4, SIDE, SIDE)


def on_picture(page: Any, x: float, y: float) -> tuple[float, float]:
    """Place on the screen of a pixel in the picture."""
    px, py = page.evaluate("(p) => dff.picture.toCanvas(p).map((v) => v / dff.picture.ratio)", [x, y])
    box = page.locator(".picture canvas").bounding_box()
    return box["x"] + px, box["y"] + py


def pull(page: Any, *places: tuple[float, float]) -> None:
    """Pull the brush over the picture with the mouse."""
    page.mouse.move(*on_picture(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*on_picture(page, *place), steps=6)
    page.mouse.up()
    ready(page)


def choose(page: Any, kind: str, radius: float = 6.0) -> None:
    page.evaluate(f"dff.brush.choose(null); dff.brush.choose('{kind}'); dff.brush.setRadius({radius})")


def near(points: list[list[float]]) -> Any:
    """(H, W) distance from a path."""
    stroke = Stroke("unknown", np.array(points, float), 1e4)
    return stroke_distance(stroke, np.s_[0:SIDE, 0:SIDE])


def test_the_page_covers_the_pixels_that_the_library_covers(offline: Any) -> None:
    """The same pixels belong to a stroke, and the same weights, for paths of all kinds."""
    rng = np.random.default_rng(0)
    for count, radius, hardness in ((1, 7.3, 1.0), (2, 12.0, 0.5), (9, 4.0, 0.0), (3, 30.0, 0.8)):
        points = np.round(rng.uniform(-10, SIDE + 10, (count, 2)), 1)
        content = {"kind": "unknown", "radius_px": radius, "hardness": hardness, "points": points.tolist()}
        got = offline.evaluate(
            """async (stroke) => {
                const { coverage } = await import("dff/strokes.js"), cover = coverage(stroke, dff.surface);
                return cover && { ...cover, weight: Array.from(cover.weight), inside: Array.from(cover.inside) };
            }""",
            content,
        )
        stroke = Stroke("unknown", points, radius, hardness)
        distance = stroke_distance(stroke, np.s_[0:SIDE, 0:SIDE])
        inside, weight = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
        if got:
            window = np.s_[got["top"] : got["top"] + got["height"], got["left"] : got["left"] + got["width"]]
            inside[window] = np.reshape(got["inside"], (got["height"], got["width"]))
            weight[window] = np.reshape(got["weight"], (got["height"], got["width"]))
        clear = np.abs(distance - stroke.reach_px) > 1e-3
        np.testing.assert_array_equal(inside[clear], (distance <= stroke.reach_px)[clear])
        np.testing.assert_allclose(weight, stroke_weight(stroke, distance), atol=1e-4)


def test_the_page_fills_as_the_library_fills(offline: Any) -> None:
    """A hole in a bowl with a rim of noise: within a few hundredths of a frame."""
    y, x = np.mgrid[:50, :60].astype(np.float32)
    bowl = 4 + ((x - 30) ** 2 + (y - 25) ** 2) / 400 + np.random.default_rng(0).normal(0, 0.05, x.shape)
    area = np.hypot(x - 26, y - 24) < 16
    truth, _ = fill_smoothly(bowl.astype(np.float32), np.full_like(x, 0.1), area)
    values = [[None if hole else float(v)] for hole, v in zip(area.ravel(), bowl.ravel())]
    got = offline.evaluate(
        """async ([values, area]) => {
            const { membrane } = await import("dff/strokes.js");
            return Array.from(membrane(Float32Array.from(values, ([v]) => v ?? NaN), Uint8Array.from(area), 60, 50));
        }""",
        [values, area.astype(int).ravel().tolist()],
    )
    assert np.abs(np.reshape(got, area.shape) - truth)[area].max() < 0.05


def test_a_hole_is_painted_and_taken_back(offline: Any) -> None:
    """With the mouse on the picture; undo brings every map back, redo and the keys do too."""
    before = maps_of(offline)
    choose(offline, "unknown")
    pull(offline, (30, 40), (60, 40))
    after = maps_of(offline)
    away = near([[30, 40], [60, 40]])
    assert not after[0][away < 4.5].any()
    assert (after[2][away < 4.5] == 255).all()
    np.testing.assert_array_equal(after[:3, away > 6.5], before[:3, away > 6.5])
    offline.keyboard.press("Control+z")
    ready(offline)
    np.testing.assert_array_equal(maps_of(offline), before)
    offline.keyboard.press("Control+Shift+z")
    ready(offline)
    np.testing.assert_array_equal(maps_of(offline), after)
    offline.click("text=Clear")
    ready(offline)
    np.testing.assert_array_equal(maps_of(offline), before)


def test_a_frame_is_painted_into_map_and_picture(offline: Any, result: Reconstruction) -> None:
    """The index becomes the frame's number, and the picture what the small frame shows there."""
    choose(offline, "frame", 9)
    offline.evaluate("dff.setFocus(8); dff.picture.layer = 'picture'")
    pull(offline, (70, 60))
    quantum = offline.evaluate("dff.surface.meta.quantum")
    away = near([[70, 60]])
    assert (maps_of(offline)[0][away < 7] == round(8 / quantum) + 1).all()
    shown = offline.evaluate(
        """() => {
            const canvas = new OffscreenCanvas(96, 96), context = canvas.getContext("2d");
            context.drawImage(dff.surface.picture, 0, 0);
            return Array.from(context.getImageData(0, 0, 96, 96).data);
        }"""
    )
    frame = io.read_image(result.files[8]).astype(float)
    inside = away < 5
    off = np.abs(np.reshape(shown, (SIDE, SIDE, 4))[..., :3] - frame)[inside].mean()
    other = np.abs(result.all_in_focus.astype(float) - frame)[inside].mean()
    assert off < 8
    assert other > 2 * off


def test_the_model_is_painted_too(offline: Any) -> None:
    """A pull over the surface paints; one that starts beside it still turns the model."""
    before = maps_of(offline)
    offline.evaluate("dff.preset('front')")
    choose(offline, "unknown")
    ready(offline)
    box = offline.evaluate("[dff.free().left, dff.free().top, innerWidth - dff.free().right]")
    middle = [(box[0] + box[2]) / 2, SIZE["height"] / 2]
    pixel = offline.evaluate("(p) => dff.scene.pick(...p)", middle)
    offline.mouse.move(*middle)
    offline.mouse.down()
    offline.mouse.move(middle[0] + 30, middle[1], steps=4)
    offline.mouse.up()
    ready(offline)
    column, row = np.round(pixel).astype(int)
    assert maps_of(offline)[0][row, column] == 0
    turn = offline.evaluate("dff.camera.turn")
    offline.mouse.move(box[0] + 4, box[1] + 4)
    offline.mouse.down()
    offline.mouse.move(box[0] + 60, box[1] + 4, steps=4)
    offline.mouse.up()
    assert offline.evaluate("dff.camera.turn") > turn + 5
    offline.click("text=Clear")
    ready(offline)
    np.testing.assert_array_equal(maps_of(offline), before)


def test_the_keyboard_paints(offline: Any) -> None:
    """B takes the brush, arrows move it over the picture, the space bar paints, a full stop widens it."""
    offline.evaluate("dff.brush.choose('unknown'); dff.brush.choose(null)")
    offline.focus(".picture canvas")
    offline.keyboard.press("b")
    assert offline.evaluate("dff.brush.kind") == "unknown"
    radius = offline.evaluate("dff.brush.radius")
    offline.keyboard.press(".")
    assert offline.evaluate("dff.brush.radius") > radius
    offline.evaluate("dff.hover([40, 40]); dff.brush.setRadius(4)")
    offline.keyboard.press("ArrowRight")
    offline.keyboard.press("Space")
    ready(offline)
    assert offline.evaluate("dff.edits.strokes.at(-1).points") == [[42, 40]]
    offline.keyboard.press("Control+z")
    offline.keyboard.press("Escape")
    ready(offline)
    assert offline.evaluate("[dff.brush.kind, dff.edits.strokes.length]") == [None, 0]


def test_alt_click_takes_the_frame_from_there(offline: Any, result: Reconstruction) -> None:
    choose(offline, "frame")
    offline.keyboard.down("Alt")
    pull(offline, (20, 50))
    offline.keyboard.up("Alt")
    assert offline.evaluate("dff.scene.state.focus") == round(float(result.depth.index[50, 20]))
    assert offline.evaluate("dff.edits.strokes.length") == 0


def test_offline_strokes_are_saved_as_the_command_reads_them(offline: Any, folder: Path) -> None:
    """What is downloaded changes the right pixels."""
    choose(offline, "unknown", 5)
    pull(offline, (20, 70), (44, 70))
    with offline.expect_download() as waiting:
        offline.click("text=Save edits.json")
    shutil.copy(waiting.value.path(), folder / "edits.json")
    before = io.read_reconstruction(folder).depth.known
    after = pipeline.apply_edits(folder).depth.known
    away = near([[20, 70], [44, 70]])
    assert not after[away < 4].any()
    np.testing.assert_array_equal(after[away > 5.6], before[away > 5.6])


def test_strokes_are_kept_shown_again_applied_and_taken_back(served: Any, folder: Path, made: Path) -> None:
    """Reloading shows the edit; applying writes the result; its undo shows the untouched maps to the last bit."""
    untouched = maps_of(served)
    choose(served, "frame", 7)
    served.evaluate("dff.setFocus(8)")
    pull(served, (30, 30), (50, 34))
    painted = maps_of(served)
    assert io.read_edits(folder / "edits.json").counts == {"frame": 1}
    served.reload()
    served.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
    ready(served)
    np.testing.assert_array_equal(maps_of(served), painted)
    served.click(".retouch summary")
    with served.expect_navigation(timeout=60_000):
        served.click("text=Apply to the result")
    served.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
    ready(served)
    after = io.read_reconstruction(folder)
    away = near([[30, 30], [50, 34]])
    assert (after.depth.index[away < 5.5] == 8).all()
    np.testing.assert_array_equal(maps_of(served)[:3], painted[:3])
    assert served.evaluate("dff.edits.isApplied")
    served.evaluate("dff.edits.undo()")
    ready(served)
    np.testing.assert_array_equal(maps_of(served), untouched)
    assert json.loads((folder / "edits.json").read_text())["edits"] == []
    served.evaluate("dff.edits.redo()")
    ready(served)
    assert served.evaluate("dff.edits.isApplied")
    assert pipeline.apply_edits(folder).edits == {"frame": 1}
    served.evaluate("dff.edits.clear()")
    ready(served)
    pipeline.apply_edits(folder)
    served.reload()
    served.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
    np.testing.assert_array_equal(maps_of(served), untouched)


def test_source_frames_are_served_at_full_size_while_they_are_there(served: Any, result: Reconstruction) -> None:
    """The page has the frame itself, not its preview; what is no frame is not found."""
    pixels = served.evaluate(
        """async () => {
            const bitmap = await dff.picture.sources.load(3), canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
            const context = canvas.getContext("2d");
            context.drawImage(bitmap, 0, 0);
            const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
            return [width, height, Array.from(data)];
        }"""
    )
    frame = io.read_image(result.files[3]).astype(float)
    assert pixels[:2] == [SIDE, SIDE]
    assert np.abs(np.reshape(pixels[2], (SIDE, SIDE, 4))[..., :3] - frame).mean() < 4
    codes = served.evaluate(
        """() => Promise.all(['source/0.jpg', 'source/10.jpg', 'source/-1.jpg', 'source/x.jpg', 'source/']
            .map((path) => fetch(path).then((answer) => answer.status)))"""
    )
    assert codes == [200, 404, 404, 404, 404]


# ---- fingers


class Fingers:
    """Touches sent to Chromium as a touch screen sends them."""

    def __init__(self, page: Any) -> None:
        self.client = page.context.new_cdp_session(page)

    def send(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
        self.client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, start: list[tuple[float, float]], stop: list[tuple[float, float]], steps: int = 5) -> None:
        """Fingers that move together from their starts to their stops."""
        self.send("touchStart", start[0])
        if len(start) > 1:
            self.send("touchStart", *start)
        for step in range(1, steps + 1):
            t = step / steps
            moved = [(a + t * (c - a), b + t * (d - b)) for (a, b), (c, d) in zip(start, stop)]
            self.send("touchMove", *moved)
        self.send("touchEnd")


@pytest.fixture
def phone(browser: Any, made: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    page = context.new_page()
    path = made.parent / "phone.html"
    open_page(page, (path if path.exists() else write_page(made, path)).as_uri())
    page.evaluate("async () => { await dff.scene.settled(); }")
    yield page
    context.close()


def test_one_finger_turns_two_fingers_zoom_and_move(phone: Any) -> None:
    fingers = Fingers(phone)
    before = phone.evaluate("[dff.camera.turn, dff.camera.distance, ...dff.camera.target]")
    fingers.drag([(150, 300)], [(250, 300)])
    after = phone.evaluate("[dff.camera.turn, dff.camera.distance, ...dff.camera.target]")
    assert after[0] > before[0] + 20
    assert after[1] == before[1]
    fingers.drag([(150, 300), (240, 300)], [(90, 300), (300, 300)])
    closer = phone.evaluate("[dff.camera.turn, dff.camera.distance, ...dff.camera.target]")
    assert closer[0] == after[0]
    assert closer[1] == pytest.approx(after[1] * 90 / 210, rel=0.02)
    fingers.drag([(150, 300), (240, 300)], [(150, 400), (240, 400)])
    moved = phone.evaluate("[dff.camera.turn, dff.camera.distance, ...dff.camera.target]")
    assert moved[1] == pytest.approx(closer[1], rel=1e-3)
    assert moved[2:] != closer[2:]


def test_a_tap_measures_and_panels_open(phone: Any) -> None:
    """The panels are behind their buttons, and a tap is a click."""
    assert not phone.locator("#look").is_visible()
    phone.tap("button[aria-label='Picture and measurements']")
    phone.tap("button[data-tool=point]")
    phone.tap("button[aria-label='Picture and measurements']")
    x, y = phone.evaluate(
        "() => { const p = dff.surface.at(48, 40); return dff.camera.project(p.position).slice(0, 2); }"
    )
    phone.touchscreen.tap(x, y)
    assert phone.evaluate("dff.measurements.entries.length") == 1


def test_a_finger_paints_and_a_second_one_drops_the_stroke(phone: Any) -> None:
    phone.tap("button[aria-label='Picture and measurements']")
    choose(phone, "unknown", 5)
    fingers = Fingers(phone)
    start, stop = on_picture(phone, 30, 50), on_picture(phone, 60, 50)
    fingers.drag([start], [stop])
    ready(phone)
    assert phone.evaluate("dff.edits.strokes.length") == 1
    assert maps_of(phone)[0][50, 45] == 0
    zoom = phone.evaluate("dff.picture.zoom")
    fingers.drag([start, stop], [(start[0] - 20, start[1]), (stop[0] + 20, stop[1])])
    ready(phone)
    assert phone.evaluate("dff.edits.strokes.length") == 1
    assert phone.evaluate("dff.picture.zoom") > 1.1 * zoom
