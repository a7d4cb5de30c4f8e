"""The page in a real browser, against the truth of a simulated staircase."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_result import PATCH, staircase_result

from dff import io, surface
from dff.stack import Reconstruction
from viewers.page import COLOUR_MAPS, write_page
from viewers.server import ResultServer

SIZE = {"width": 900, "height": 600}


@pytest.fixture(scope="module")
def result() -> Reconstruction:
    return staircase_result()


@pytest.fixture(scope="module")
def points(result: Reconstruction) -> Any:
    """(H, W, 3) where the library says every pixel lies."""
    return surface.back_project(result.depth.index, result.geometry, result.alignment)


@pytest.fixture(scope="module")
def folder(result: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stairs") / "stairs"
    io.write_reconstruction(result, folder)
    for k in range(len(result.geometry)):
        io.write_image(io.result_paths(folder).frame_preview(k), np.full((32, 32, 3), 10 * k, np.uint8))
    return folder


@pytest.fixture(scope="module")
def opened(browser: Any, folder: Path) -> Iterator[Any]:
    """The offline page; whatever it asks the network for or complains of is in `page.trouble`."""
    path = write_page(folder, folder.parent / "scan.html")
    page = browser.new_page(viewport=SIZE)
    page.trouble = []
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("console", lambda message: page.trouble.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda asked: None if asked.url[:5] in ("file:", "data:", "blob:") else page.trouble.append(asked.url),
    )
    page.context.set_offline(True)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    yield page
    page.close()


@pytest.fixture
def page(opened: Any) -> Any:
    """The page as it opened, without relief light, seen along the axis."""
    run(
        opened,
        """
        dff.controls.mode('picture'); dff.controls.points(false); dff.setFocus(null);
        dff.set({lampShare: 0, contour: 0, grid: false, ranges: {}});
        dff.setThreshold({minConfidence: 0.5, hideStrays: true});
        [0, 1, 2].forEach((axis) => dff.setClip(axis, [-Infinity, Infinity]));
        Object.assign(dff.measurements, {entries: [], active: -1, tool: null}).show();
        dff.controls.perspective(false); dff.setRelief(1); dff.preset('front'); dff.hint(null);
        """,
    )
    return opened


def run(page: Any, script: str) -> None:
    """Run a script in the page and wait until everything is drawn."""
    page.evaluate("async () => {" + script + "; await dff.scene.settled(); }")


def screen_place(page: Any, point: Any) -> list[float]:
    """CSS px at which the camera shows a point of the world."""
    place: list[float] = page.evaluate("(point) => dff.camera.project(point).slice(0, 2)", [float(v) for v in point])
    return place


def shown_colour(page: Any, place: list[float]) -> Any:
    """Mean colour of 3 x 3 px of the finished view."""
    return (
        np.array(
            page.evaluate(
                """([x, y]) => {
            const view = document.getElementById('view'), canvas = new OffscreenCanvas(3, 3);
            const context = canvas.getContext('2d');
            context.drawImage(view, Math.round(x) - 1, Math.round(y) - 1, 3, 3, 0, 0, 3, 3);
            return Array.from(context.getImageData(0, 0, 3, 3).data);
        }""",
                place,
            ),
            float,
        )
        .reshape(9, 4)[:, :3]
        .mean(axis=0)
    )


def ramp(name: str, level: float) -> Any:
    import cv2

    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], COLOUR_MAPS[name])[:, 0, ::-1]
    return colours[round(float(np.clip(level, 0, 1)) * 255)].astype(float)


def middle(result: Reconstruction, stair: int) -> tuple[int, int]:
    """Row and column in the middle of a stair."""
    height, width = result.depth.index.shape
    return height // 3, round((stair + 0.5) * width / 6)


def test_the_page_opens_offline_without_complaint(opened: Any) -> None:
    assert opened.get_attribute("html", "data-ready") == "true"
    assert opened.trouble == []


def test_every_pixel_lies_where_back_projection_puts_it(opened: Any, points: Any) -> None:
    """Pixel sizes, shifts and turns of the frames are in the page's table, to a ten-thousandth of a pixel."""
    rows, columns = np.random.default_rng(0).integers(2, 94, (2, 40))
    got = opened.evaluate(
        "(places) => places.map(([x, y]) => dff.surface.at(x, y)).map((p) => p.known ? p.position : null)",
        np.stack([columns, rows], axis=1).tolist(),
    )
    for row, column, position in zip(rows, columns, got, strict=True):
        if np.isnan(points[row, column, 0]):
            assert position is None
        else:
            assert position == pytest.approx(points[row, column], abs=2e-4)


@pytest.mark.parametrize("kind", ["surface", "points"])
@pytest.mark.parametrize(("turn", "tilt", "perspective"), [(0, 0, False), (30, 25, True)])
def test_the_cursor_finds_what_is_drawn(
    page: Any, points: Any, result: Reconstruction, kind: str, turn: float, tilt: float, perspective: bool
) -> None:
    """The pixel under the place where geometry puts a pixel is that pixel, from any side."""
    run(
        page,
        f"dff.controls.points({json.dumps(kind == 'points')}); dff.controls.perspective({json.dumps(perspective)})",
    )
    run(page, f"dff.look({turn}, {tilt})")
    for stair in (1, 4):
        row, column = middle(result, stair)
        x, y = screen_place(page, points[row, column])
        found = page.evaluate("([x, y]) => dff.scene.pick(x, y)", [x, y])
        assert found == pytest.approx([column, row], abs=1.0)


def test_the_readout_tells_the_height_of_a_stair(page: Any, points: Any, result: Reconstruction) -> None:
    """Within 1 % of the truth, in mm, with the mouse over the model; the picture's cursor follows."""
    for stair in (2, 5):
        row, column = middle(result, stair)
        page.mouse.move(*screen_place(page, points[row, column]))
        words = page.inner_text("#readout").split()
        height = float(words[words.index("Z") + 1])
        assert height == pytest.approx(points[row, column, 2], rel=0.01)
        assert page.evaluate("dff.picture.cursor") == pytest.approx([column, row], abs=1.0)


def test_the_picture_reads_the_same_point(page: Any, points: Any, result: Reconstruction) -> None:
    row, column = middle(result, 3)
    x, y = page.evaluate("(p) => dff.picture.toCanvas(p).map((v) => v / dff.picture.ratio)", [column, row])
    box = page.locator(".picture canvas").bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    words = page.inner_text("#readout").split()
    assert float(words[words.index("X") + 1]) == pytest.approx(points[row, column, 0], abs=0.011)
    assert float(words[words.index("Z") + 1]) == pytest.approx(points[row, column, 2], rel=0.01)


def test_dragging_turns_and_the_wheel_zooms(page: Any) -> None:
    before = page.evaluate("[dff.camera.turn, dff.camera.tilt, dff.camera.distance]")
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(460, 270, steps=4)
    page.mouse.up()
    page.mouse.wheel(0, -240)
    after = page.evaluate(
        "async () => { await dff.scene.settled(); return [dff.camera.turn, dff.camera.tilt, dff.camera.distance]; }"
    )
    assert after[0] > before[0] + 10
    assert after[1] > before[1] + 5
    assert after[2] < 0.8 * before[2]


def expected_colour(
    mode: str, result: Reconstruction, row: int, column: int, height: float, ranges: dict[str, Any]
) -> Any:
    low, high = ranges[mode]
    if mode == "height":
        return ramp("viridis", (height - low) / (high - low))
    if mode == "confidence":
        return ramp("cividis", (float(result.depth.confidence[row, column]) - low) / (high - low))
    if mode == "frame":
        k = round(float(result.depth.index[row, column]))
        return ramp("turbo", (k - low) / (high - low)) * (1 if k % 2 == 0 else 0.82)
    if mode == "error":
        step = abs(float(result.geometry.z[0] - result.geometry.z[1]))
        sigma = float(result.depth.sigma[row, column]) * step
        return ramp("magma", np.log(sigma / low) / np.log(high / low))
    return result.all_in_focus[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).mean(axis=0).astype(float)


@pytest.mark.parametrize("mode", ["picture", "height", "confidence", "frame", "error"])
def test_colours_say_what_they_should(page: Any, points: Any, result: Reconstruction, mode: str) -> None:
    """Where geometry puts a stair, the view has the colour of its value."""
    run(page, f"dff.controls.mode('{mode}')")
    ranges = {
        name: page.evaluate(f"dff.scene.range('{name}')")
        for name in ("picture", "height", "confidence", "frame", "error")
    }
    for stair in (1, 3, 4):
        row, column = middle(result, stair)
        seen = shown_colour(page, screen_place(page, points[row, column]))
        wanted = expected_colour(mode, result, row, column, points[row, column, 2], ranges)
        assert np.abs(seen - wanted).max() < (30 if mode == "picture" else 14), (stair, seen, wanted)


def test_unknown_is_a_hole(page: Any, points: Any) -> None:
    """The unknown patch shows the ground, and nothing is read there."""
    rows, columns = PATCH
    around = points[rows.start - 3 : rows.stop + 3, columns.start - 3 : columns.stop + 3].reshape(-1, 3)
    place = screen_place(page, np.nanmean(around, axis=0))
    assert page.evaluate("([x, y]) => dff.scene.pick(x, y)", place) is None
    assert shown_colour(page, place).max() < 60


def test_the_surface_is_cut_at_the_stairs(page: Any, result: Reconstruction) -> None:
    """No triangle spans a riser, and both sides of it are there."""
    drawn = page.evaluate("Array.from(dff.surface.drawn)")
    drawn = np.array(drawn, np.uint8).reshape(result.depth.index.shape)
    risers = np.abs(np.diff(result.depth.index, axis=1)) > result.settings.cut_frames
    assert risers.any()
    assert not (drawn[:, :-1][risers] & 1).any()
    across, down = surface.joined(result.depth.index, result.settings.cut_frames)
    whole = across[:-1] & down[:, :-1]
    assert np.array_equal(drawn[:-1, :-1] & 1 > 0, whole)


def test_less_confident_points_go(page: Any, points: Any, result: Reconstruction) -> None:
    """Confidence rises downward in this result: raising the threshold removes the top."""
    row, column = 20, 40
    place = screen_place(page, points[row, column])
    assert page.evaluate("([x, y]) => dff.scene.pick(x, y)", place) is not None
    run(page, f"dff.setThreshold({{minConfidence: {float(result.depth.confidence[row, column]) + 0.05}}})")
    assert page.evaluate("([x, y]) => dff.scene.pick(x, y)", place) is None


def test_the_clip_box_cuts(page: Any, points: Any, result: Reconstruction) -> None:
    low, high = (middle(result, stair) for stair in (1, 4))
    limit = float(points[low][2] + points[high][2]) / 2
    run(page, f"dff.setClip(2, [{limit}, Infinity])")
    assert page.evaluate("([x, y]) => dff.scene.pick(x, y)", screen_place(page, points[low])) is None
    assert page.evaluate("([x, y]) => dff.scene.pick(x, y)", screen_place(page, points[high])) is not None


def test_the_band_in_focus_lights_up(page: Any, points: Any, result: Reconstruction) -> None:
    row, column = middle(result, 3)
    place, other = screen_place(page, points[row, column]), screen_place(page, points[middle(result, 0)])
    dark, dark_other = shown_colour(page, place), shown_colour(page, other)
    run(page, f"dff.setFocus({round(float(result.depth.index[row, column]))})")
    assert shown_colour(page, place).sum() > dark.sum() + 30
    assert shown_colour(page, other).sum() < 0.6 * dark_other.sum()


def values_of(page: Any) -> dict[str, dict[str, Any]]:
    entry = page.evaluate("dff.measurements.entries.at(-1)")
    return {value["name"]: value for value in entry["values"]}


def click_on_model(page: Any, point: Any) -> None:
    page.mouse.click(*screen_place(page, point))


def test_a_distance_is_measured_by_two_clicks(page: Any, points: Any, result: Reconstruction) -> None:
    """Within a pixel of the distance between the two places."""
    a, b = points[middle(result, 1)], points[middle(result, 4)]
    page.click("button[data-tool=distance]")
    click_on_model(page, a)
    click_on_model(page, b)
    values = values_of(page)
    assert values["distance"]["value"] == pytest.approx(float(np.linalg.norm(b - a)), abs=0.04)
    assert values["ΔZ"]["value"] == pytest.approx(float(b[2] - a[2]), rel=0.01)
    assert values["ΔZ"]["unit"] == "mm"
    assert "Distance 1" in page.inner_text(".list")


def areas_of(result: Reconstruction, one: int, two: int) -> list[list[int]]:
    corners = []
    for stair in (one, two):
        row, column = middle(result, stair)
        corners += [[column - 4, row - 6], [column + 4, row + 6]]
    return corners


def test_a_step_has_its_height_and_uncertainty(page: Any, points: Any, result: Reconstruction) -> None:
    page.evaluate("(corners) => dff.measurements.add('step', corners)", areas_of(result, 1, 3))
    step = values_of(page)["step"]
    truth = float(points[middle(result, 3)][2] - points[middle(result, 1)][2])
    assert step["value"] == pytest.approx(truth, rel=0.01)
    assert 0 < step["uncertainty"] < 0.1 * truth


def test_statistics_of_an_area_are_those_of_its_pixels(page: Any, points: Any, result: Reconstruction) -> None:
    rows, columns = np.s_[30:51], np.s_[20:61]
    page.evaluate("dff.measurements.add('area', [[20, 30], [60, 50]])")
    values, heights = values_of(page), points[rows, columns, 2]
    assert values["mean Z"]["value"] == pytest.approx(float(np.nanmean(heights)), abs=1e-4)
    assert values["Sq"]["value"] == pytest.approx(float(np.nanstd(heights)), rel=1e-3)
    assert values["pixels"]["value"] == np.isfinite(heights).sum()


def test_an_angle_is_that_between_two_lines(page: Any, points: Any) -> None:
    places = [[10, 30], [30, 60], [80, 66]]
    page.evaluate("(places) => dff.measurements.add('angle', places)", places)
    a, apex, b = (points[row, column] for column, row in places)
    cosine = (a - apex) @ (b - apex) / np.linalg.norm(a - apex) / np.linalg.norm(b - apex)
    assert values_of(page)["angle"]["value"] == pytest.approx(float(np.degrees(np.arccos(cosine))), abs=0.01)


def test_a_profile_runs_up_the_stairs(page: Any, points: Any, result: Reconstruction) -> None:
    """Its samples are the pixels' heights, the plot appears, and the CSV has a row each."""
    row = 40
    page.evaluate(f"dff.measurements.add('profile', [[2, {row}], [90, {row}]])")
    samples = page.evaluate("dff.measurements.profile().map(({along, z}) => [along, z])")
    heights = np.array([sample[1] for sample in samples], float)
    np.testing.assert_allclose(heights, points[row, 2:91, 2], atol=1e-4)
    assert samples[-1][0] == pytest.approx(float(np.linalg.norm(points[row, 90, :2] - points[row, 2, :2])), abs=1e-3)
    assert page.locator("canvas.plot").is_visible()
    with page.expect_download() as waiting:
        page.click("button.profile")
    lines = Path(waiting.value.path()).read_text().splitlines()
    assert len(lines) == len(samples) + 1
    assert "mm" in lines[0]


def test_measuring_a_hole_says_so(page: Any) -> None:
    rows, columns = PATCH
    place = [(columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2]
    page.evaluate("(place) => dff.measurements.add('distance', [place, [10, 10]])", place)
    assert "Nothing was measured" in page.inner_text("#hint")
    assert page.evaluate("dff.measurements.entries.length") == 0


def test_measurements_are_taken_back(page: Any) -> None:
    page.evaluate("dff.measurements.add('point', [[20, 40]])")
    page.keyboard.press("Control+z")
    assert page.evaluate("dff.measurements.entries.length") == 0


def test_csv_has_a_row_a_quantity(page: Any, result: Reconstruction) -> None:
    page.evaluate("(corners) => dff.measurements.add('step', corners)", areas_of(result, 0, 2))
    with page.expect_download() as waiting:
        page.click("text=Measurements (CSV)")
    lines = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("number,name,kind,quantity,value")
    assert len(lines) == 1 + len(values_of(page))
    assert lines[1].split(",")[3] == "step"


def test_the_visible_part_is_saved_as_points(page: Any, points: Any) -> None:
    """The PLY holds exactly the points that are drawn, where they are."""
    run(page, "dff.setClip(2, [0.9, Infinity])")
    with page.expect_download() as waiting:
        page.click("text=Visible points (PLY)")
    header, body = Path(waiting.value.path()).read_bytes().split(b"end_header\n", 1)
    kind = np.dtype([("p", "<f4", 3), ("c", "u1", 3), ("confidence", "<f4")])
    cloud = np.frombuffer(body, kind)
    drawn = page.evaluate("Array.from(dff.surface.drawn, (v) => v & 4)")
    wanted = points.reshape(-1, 3)[(np.array(drawn) > 0) & (points[..., 2].ravel() >= 0.9)]
    assert b"unit: mm" in header
    np.testing.assert_allclose(cloud["p"], wanted, atol=2e-4)


def test_the_view_is_saved_as_a_picture(page: Any, tmp_path: Path) -> None:
    """The part between the panels."""
    with page.expect_download() as waiting:
        page.click("text=Picture (PNG) >> nth=0")
    path = tmp_path / "view.png"
    waiting.value.save_as(path)
    picture = io.read_image(path)
    free = page.evaluate("dff.free()")
    assert picture.shape[0] == SIZE["height"] - free["top"] - free["bottom"]
    assert picture.shape[1] == SIZE["width"] - free["left"] - free["right"]
    assert picture[..., :3].std() > 5


def test_keys_do_what_the_help_says(page: Any) -> None:
    page.focus("#view")
    page.keyboard.press("m")
    assert page.evaluate("dff.scene.state.points") is True
    page.keyboard.press("c")
    assert page.evaluate("dff.scene.state.mode") == "height"
    page.keyboard.press("2")
    assert page.evaluate("dff.camera.turn") == 90
    page.keyboard.press("d")
    assert "two points" in page.inner_text("#hint")
    page.keyboard.press("Escape")
    assert page.evaluate("dff.measurements.tool") is None


def test_without_scale_it_says_so(browser: Any, result: Reconstruction, tmp_path: Path) -> None:
    """Lengths are px, heights frames, and no distance mixes the two."""
    from dff.optics import unknown_geometry

    size = result.depth.index.shape
    unscaled = replace(result, geometry=unknown_geometry(range(len(result.geometry)), size))
    io.write_reconstruction(unscaled, tmp_path / "result")
    page = browser.new_page(viewport=SIZE)
    page.goto(write_page(tmp_path / "result", tmp_path / "scan.html").as_uri())
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
    assert "X, Y in px, Z in frames" in page.inner_text("#bar")
    page.evaluate("dff.measurements.add('distance', [[10, 10], [40, 50]])")
    names = [value["name"] for value in page.evaluate("dff.measurements.entries[0].values")]
    page.close()
    assert names == ["ΔXY", "ΔZ"]


def test_served_measurements_are_kept_in_the_result(browser: Any, folder: Path) -> None:
    """They are there after the page is loaded again, and in the folder."""
    server = ResultServer(folder)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        page = browser.new_page(viewport=SIZE)
        for _ in range(2):
            page.goto(server.address)
            page.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
            page.evaluate("async () => { dff.measurements.add('point', [[20, 40]]); await dff.measurements.saving; }")
        names = page.evaluate("dff.measurements.entries.map((entry) => entry.name)")
        page.close()
    finally:
        server.close()
        thread.join()
    assert names == ["Point 1", "Point 2"]
    assert len(json.loads((folder / "measurements.json").read_text())["measurements"]) == 2
