"""How a surface is shown: contours, smoothing of the view alone, clip box, full screen, narrow screens, keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dff import io, surface
from dff.optics import stepped_geometry
from dff.stack import Alignment, DepthMap, Reconstruction
from viewers.page import write_page

SIZE = {"width": 1000, "height": 700}
SIDE, FRAMES, STEP_MM = 96, 20, 0.1
NOISE = 0.15
EDGE = 60
"""Column at which the ramp ends in a cliff."""


@pytest.fixture(scope="module")
def result() -> Reconstruction:
    """A noisy ramp, level from top to bottom, that falls off a cliff."""
    x = np.tile(np.arange(SIDE, dtype=np.float32), (SIDE, 1))
    index = 4 + 0.1 * x + np.where(x >= EDGE, 5, 0) + np.random.default_rng(0).normal(0, NOISE, x.shape)
    index = index.astype(np.float32)
    return Reconstruction(
        all_in_focus=np.full((SIDE, SIDE, 3), 120, np.uint8),
        depth=DepthMap(index, np.full_like(index, 0.9), np.full_like(index, NOISE)),
        geometry=stepped_geometry(STEP_MM * np.arange(FRAMES), (SIDE, SIDE), pixel_size_mm=0.01),
        alignment=Alignment.identity(FRAMES, (SIDE, SIDE)),
        names=tuple(f"frame {k}" for k in range(FRAMES)),
    )


@pytest.fixture(scope="module")
def path(result: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("display") / "ramp"
    io.write_reconstruction(result, folder)
    return write_page(folder, folder.parent / "scan.html")


@pytest.fixture(scope="module")
def page(browser: Any, path: Path) -> Iterator[Any]:
    page = browser.new_page(viewport=SIZE)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
    run(page, "dff.set({lampShare: 0, grid: false}); dff.controls.perspective(false); dff.preset('front')")
    yield page
    page.close()


def run(page: Any, script: str) -> None:
    page.evaluate("async () => {" + script + "; await dff.scene.settled(); }")


def colours(page: Any, places: list[list[float]]) -> Any:
    """(n, 3) colours of the finished view."""
    got = page.evaluate(
        """(places) => {
            const view = document.getElementById('view'), canvas = new OffscreenCanvas(view.width, view.height);
            const context = canvas.getContext('2d');
            context.drawImage(view, 0, 0);
            return places.map(([x, y]) => Array.from(context.getImageData(Math.round(x), Math.round(y), 1, 1).data));
        }""",
        places,
    )
    return np.array(got, float)[:, :3]


def shown_index(page: Any) -> Any:
    """(H, W) index at which pixels are drawn."""
    return np.reshape(page.evaluate("Array.from(dff.surface.index, (_, i) => dff.surface.shownAt(i))"), (SIDE, SIDE))


def test_contours_lie_at_their_heights(page: Any, result: Reconstruction) -> None:
    """The view darkens where the ramp crosses a fifth contour, and is as before half way between."""
    run(page, "dff.scene.setSmoothing(12); dff.setRelief(1); dff.controls.mode('height'); dff.preset('front')")
    shown = shown_index(page)
    points = surface.back_project(shown.astype(np.float32), result.geometry, result.alignment)[48, 8 : EDGE - 8]
    interval = 0.05
    levels = np.arange(5 * interval, 2, 5 * interval)
    levels = levels[(levels > points[:, 2].min() + interval) & (levels < points[:, 2].max() - interval)]
    assert len(levels) >= 1
    order = np.argsort(points[:, 2])

    def across(height: float) -> list[list[float]]:
        """Places on the screen within 3 px of a height."""
        point = [float(np.interp(height, points[order, 2], points[order, axis])) for axis in range(3)]
        x, y = page.evaluate("(p) => dff.camera.project(p).slice(0, 2)", point)
        return [[x + dx, y] for dx in range(-3, 4)]

    on, off = (np.array([across(level + shift) for level in levels]) for shift in (0, interval / 2))
    places = np.concatenate([on, off]).reshape(-1, 2).tolist()
    plain = colours(page, places).sum(axis=1).reshape(2, len(levels), 7)
    run(page, f"dff.set({{contour: {interval}}})")
    lined = colours(page, places).sum(axis=1).reshape(2, len(levels), 7)
    assert (lined[0] / plain[0]).min(axis=1).max() < 0.5
    assert (lined[1] / plain[1]).max(axis=1).min() > 0.95
    run(page, "dff.set({contour: 0}); dff.controls.mode('picture')")


def test_a_noisy_surface_is_shown_calm_and_read_as_it_is(page: Any, result: Reconstruction) -> None:
    """Noise falls to less than half, the cliff stays as sharp, and what is measured does not change at all."""
    assert page.evaluate("dff.scene.restful") >= 3
    truth = 4 + 0.1 * np.arange(SIDE) + np.where(np.arange(SIDE) >= EDGE, 5, 0)
    run(page, "dff.scene.setSmoothing(8)")
    shown = shown_index(page)
    inner = np.s_[8:-8, 8:-8]
    assert (shown - truth)[inner].std() < NOISE / 2
    assert np.abs((shown - truth)[8:-8, EDGE - 3 : EDGE + 3].mean(axis=0)).max() < 0.4
    read = page.evaluate("dff.surface.at(30, 40)")
    assert read["index"] == pytest.approx(float(result.depth.index[40, 30]), abs=1e-3)
    run(page, "dff.scene.setSmoothing(0)")
    assert page.evaluate("dff.surface.shown.every((code, i) => code === dff.surface.index[i])")


def test_the_clip_box_is_moved_with_its_sliders(page: Any) -> None:
    """By the keyboard too: what lies left of X = 0 goes, and comes back."""
    page.click("text=Clip box")
    run(page, "dff.preset('front')")
    drawn = page.evaluate("dff.surface.drawn.reduce((n, _, i) => n + dff.surface.isDrawn(i), 0)")
    slider = page.locator("input[aria-label='X from']")
    slider.evaluate("(bar) => { bar.value = 0; bar.dispatchEvent(new Event('input')); }")
    half = page.evaluate("dff.surface.drawn.reduce((n, _, i) => n + dff.surface.isDrawn(i), 0)")
    assert half == pytest.approx(drawn / 2, rel=0.06)
    slider.focus()
    page.keyboard.press("Home")
    assert page.evaluate("dff.surface.drawn.reduce((n, _, i) => n + dff.surface.isDrawn(i), 0)") == drawn


def test_full_screen_and_back(page: Any) -> None:
    page.focus("#view")
    page.keyboard.press("f")
    page.wait_for_function("Boolean(document.fullscreenElement)")
    page.keyboard.press("f")
    page.wait_for_function("!document.fullscreenElement")


def test_every_control_is_reached_and_named(page: Any) -> None:
    """Everything that can be pressed or slid takes the focus and has a name for a screen reader."""
    nameless = page.evaluate(
        """Array.from(document.querySelectorAll('button, input, select, canvas[tabindex], summary'))
            .filter((e) => e.tabIndex < 0 || !(e.getAttribute('aria-label') || e.title || e.textContent.trim()
                || e.labels?.[0]?.textContent.trim()))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_a_larger_picture_and_a_narrow_screen_leave_room_for_the_model(browser: Any, path: Path) -> None:
    """The model is framed in what is left, and nothing is wider than the screen."""
    for size, script in (((1000, 700), "dff.toggleWide()"), ((390, 780), "dff.togglePanel('link')")):
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
        run(page, script)
        free = page.evaluate("dff.free()")
        seen = page.evaluate("dff.surface.landmarks(dff.meta.box).map((p) => dff.camera.project(p).slice(0, 2))")
        xs, ys = np.array(seen).T
        assert xs.min() > free["left"] - 1
        assert xs.max() < size[0] - free["right"] + 1
        assert ys.min() > free["top"] - 1
        assert ys.max() < size[1] - free["bottom"] + 1
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("document.querySelector('#bar .name').clientWidth") > 30
        page.close()


@pytest.mark.slow
def test_a_page_of_12_megapixels_opens_measures_and_is_painted(browser: Any, tmp_path: Path) -> None:
    """4000 x 3000 pixels with textures, without a graphics card: every pixel is there, and the brush answers."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:3000, :4000].astype(np.float32)
    index = 4 + 8 * np.exp(-((x - 2000) ** 2 + (y - 1500) ** 2) / 1e6) + rng.normal(0, 0.02, x.shape)
    picture = np.repeat(np.repeat(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8), 10, 0), 10, 1)
    result = Reconstruction(
        all_in_focus=picture,
        depth=DepthMap(index.astype(np.float32), np.full(x.shape, 0.9, np.float32), np.full(x.shape, 0.1, np.float32)),
        geometry=stepped_geometry(STEP_MM * np.arange(FRAMES), (3000, 4000), pixel_size_mm=0.001),
        alignment=Alignment.identity(FRAMES, (3000, 4000)),
        names=tuple(f"frame {k}" for k in range(FRAMES)),
    )
    io.write_reconstruction(result, tmp_path / "large")
    page = browser.new_page(viewport=SIZE)
    page.goto(write_page(tmp_path / "large", tmp_path / "scan.html").as_uri())
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=240_000)
    assert page.evaluate("[dff.surface.width, dff.surface.height, dff.meta.stride]") == [4000, 3000, 1]
    page.evaluate("dff.measurements.add('distance', [[2000, 1500], [100, 100]])")
    value = next(v for v in page.evaluate("dff.measurements.entries[0].values") if v["name"] == "ΔZ")
    assert value["value"] == pytest.approx((float(index[1500, 2000]) - float(index[100, 100])) * STEP_MM, rel=0.01)
    seconds = page.evaluate(
        """async () => {
            const start = performance.now();
            dff.brush.choose('unknown');
            dff.brush.setRadius(60);
            dff.brush.begin([2000, 1500]);
            dff.brush.move([2400, 1500]);
            dff.brush.end();
            await dff.edits.shown;
            return (performance.now() - start) / 1000;
        }"""
    )
    assert page.evaluate("dff.surface.at(2200, 1500).known") is False
    page.close()
    assert seconds < 20
