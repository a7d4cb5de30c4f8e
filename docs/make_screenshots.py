"""Makes the pictures of the README and of docs/viewer.md anew, from the demo stack.

Usage: python docs/make_screenshots.py [FOLDER]

Needs Chromium on PATH and `pip install playwright`. The folder defaults to docs/images.
"""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dff import io, pipeline
from dff.preview.lettering import INK, write_text
from dff.settings import Settings
from viewers.live import live_view
from viewers.page import write_page
from viewers.render import RenderOptions, render_result

ROOT = Path(__file__).parent.parent
FLAGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 780}
SETTINGS = Settings(z_file=str(ROOT / "data/demo/z.csv"))
SCENES = {
    "viewer": "dff.home()",
    "viewer-height": """
        dff.controls.mode('height'); dff.preset('front');
        const {width, height} = dff.surface;
        dff.measurements.add('profile', [[0.06 * width, 0.5 * height], [0.94 * width, 0.5 * height]]);
        dff.measurements.add('distance', [[0.22 * width, 0.36 * height], [0.7 * width, 0.17 * height]]);
        dff.measurements.select(0);
    """,
    "viewer-focus": """
        dff.measurements.entries = []; dff.measurements.select(-1); dff.hint(null); dff.controls.mode('picture');
        document.querySelector('#link [data-value=frames]')?.click();
        dff.setFocus(9); dff.home();
    """,
    "viewer-retouch": """
        const pull = (kind, radius, ...points) => {
            dff.brush.choose(kind); dff.brush.setRadius(radius); dff.brush.begin(points[0]);
            points.slice(1).forEach((point) => dff.brush.move(point)); dff.brush.end();
        };
        document.querySelector('#link [data-value=picture]')?.click(); dff.toggleWide();
        pull('fill', 20, [100, 385], [160, 412], [230, 418], [290, 400]);
        pull('unknown', 12, [560, 430], [600, 450]);
        dff.brush.choose('nearer'); dff.brush.setRadius(14);
        await dff.edits.shown; dff.home(); dff.hover([545, 350]);
    """,
}


def main(folder: str = str(Path(__file__).parent / "images")) -> None:
    """Reconstruct the demo while the browser looks on, then make every picture of its result."""
    from playwright.sync_api import sync_playwright

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        result = Path(scratch) / "demo"
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        watch(browser, result, target / "viewer-live.jpg")
        path = write_page(result, Path(scratch) / "scan.html")
        page = opened(browser, path.as_uri(), DESK)
        for name, script in SCENES.items():
            shoot(page, script, target / f"{name}.jpg")
        shoot(opened(browser, path.as_uri(), PHONE), "dff.togglePanel('link')", target / "viewer-phone.jpg")
        browser.close()
        save(overview(result), target / "overview.jpg")
        save(both_stereos(result, Path(scratch)), target / "stereo.jpg")


def opened(browser: Any, address: str, size: dict[str, int]) -> Any:
    """A page of the viewer, ready."""
    page = browser.new_page(viewport=size)
    page.goto(address)
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=120_000)
    return page


def shoot(page: Any, script: str, path: Path) -> None:
    """A screenshot once everything is drawn."""
    page.evaluate("async () => {" + script + "; await dff.scene.settled(); }")
    page.wait_for_timeout(700)
    page.screenshot(path=str(path), type="jpeg", quality=82)
    print(path)


def watch(browser: Any, result: Path, path: Path) -> None:
    """Reconstruct the demo, with a screenshot of the page when depth is known to the frame."""
    stack = pipeline.open_stack(ROOT / "data/demo", SETTINGS)
    with live_view(stack, result, SETTINGS) as server:
        page = opened(browser, server.address, DESK)
        watcher = server.run.watcher
        looked: list[bool] = []

        def on_rows(*found: Any) -> None:
            if not looked:
                page.wait_for_selector("#live.aside", timeout=60_000)
                shoot(page, "dff.home()", path)
                looked.append(True)
            watcher.on_rows(*found)

        watched: Callable[..., Any] = functools.partial(
            pipeline.reconstruct_to_folder, stack, result, SETTINGS, watcher=replace(watcher, on_rows=on_rows)
        )
        watched(on_progress=server.run.telling(lambda *_: None))
        page.close()


def overview(result: Path) -> Any:
    """One frame, the heights, and the surface, side by side."""
    frame = io.read_stack(ROOT / "data/demo").frames[4]
    found = io.read_reconstruction(result)
    height = cv2.cvtColor(cv2.imread(str(result / "previews/depth.png")), cv2.COLOR_BGR2RGB)
    options = RenderOptions(size_px=frame.shape[:2])
    with tempfile.TemporaryDirectory() as folder:
        (path,) = render_result(result, folder, ["still"], options)
        still = io.read_image(path)
    titles = (
        f"one of {len(found.names)} frames",
        "height, mm",
        f"surface of {np.count_nonzero(found.depth.known) / 1e3:.0f} 000 points",
    )
    return in_a_row([frame, height[:, : frame.shape[1]], still], titles)


def both_stereos(result: Path, scratch: Path) -> Any:
    """The anaglyph of the mesh beside that of the frames."""
    pictures = []
    for stereo in ("mesh", "frames"):
        options = RenderOptions(size_px=(480, 640), stereo=stereo)
        (path,) = render_result(result, scratch / stereo, ["anaglyph"], options)
        pictures.append(io.read_image(path))
    return in_a_row(pictures, ("--stereo mesh", "--stereo frames"))


def in_a_row(pictures: list[Any], titles: tuple[str, ...], height_px: int = 360) -> Any:
    """Pictures of one height with a line of text below each."""
    gap, foot = 10, 30
    cells = []
    for picture, title in zip(pictures, titles, strict=True):
        width = round(picture.shape[1] * height_px / picture.shape[0])
        cell = np.full((height_px + foot, width, 3), 255, np.uint8)
        cell[:height_px] = cv2.resize(picture, (width, height_px), interpolation=cv2.INTER_AREA)
        write_text(cell, title, (width / 2, height_px + foot / 2), size_px=17, anchor="centre", colour=INK)
        cells += [cell, np.full((height_px + foot, gap, 3), 255, np.uint8)]
    return np.concatenate(cells[:-1], axis=1)


def save(picture: Any, path: Path) -> None:
    """A JPEG."""
    io.write_image(path, picture, quality=85)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
