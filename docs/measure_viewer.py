"""Measures what docs/viewer.md says of large pages: size, seconds, memory, and frames of 0.25, 1 and 4 million points.

Usage: python docs/measure_viewer.py [MEGAPIXELS]

Needs Chromium on PATH and `pip install playwright`. Without a graphics card the browser draws in software; the seconds
a frame takes are then of that, and only their ratios mean something.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dff import io, preview
from dff.optics import stepped_geometry
from dff.stack import Alignment, DepthMap, Reconstruction
from viewers.page import write_page

FLAGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
FRAMES = 60
DRAWN_MEGAPIXELS, STEPS = 16, (8, 4, 2)
"""Of a map of so many megapixels every 8th, 4th and 2nd row and column are 0.25, 1 and 4 million points."""
FRAME_MS = """([step, points]) => {
    const { scene } = dff, times = [];
    scene.job = null;
    scene.state.points = points;
    for (let k = 0; k < 5; k++) {
        const target = scene.target(0, 1), started = performance.now();
        scene.begin(target);
        scene.drawRows(step, 0, scene.rowsOf(step));
        scene.finish(target, 0);
        times.push(performance.now() - started);
    }
    return Math.min(...times);
}"""


def main(megapixels: str = "12") -> None:
    """Make two results and their pages, open them, and print the figures as a table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, path = Path(scratch) / "result", Path(scratch) / "scan.html"
        result = synthetic(float(megapixels))
        io.write_reconstruction(result, folder)
        for k in range(FRAMES):
            small = preview.thumbnail(cv2.blur(result.all_in_focus, (41, 41)), 640)
            io.write_image(io.result_paths(folder).frame_preview(k), small, quality=80)
        wall_s, cpu_s = timed(lambda: write_page(folder, path))
        row("page", f"{path.stat().st_size / 1e6:.1f} MB")
        row("`dff page`", f"{wall_s:.1f} s, {cpu_s:.1f} s of processor time")
        in_browser(path, measure_opening)
        io.write_reconstruction(synthetic(DRAWN_MEGAPIXELS), Path(scratch) / "dense")
        in_browser(write_page(Path(scratch) / "dense", path, max_megapixels=DRAWN_MEGAPIXELS + 1), measure_frames)


def synthetic(megapixels: float) -> Reconstruction:
    """A rough relief with the noise of a good stack, and a picture as hard to pack as a photograph."""
    size = (round((megapixels * 0.75e6) ** 0.5), round((megapixels / 0.75 * 1e6) ** 0.5))
    random = np.random.default_rng(0)
    relief = sum(
        cv2.resize(random.random((4 * scale, 5 * scale), np.float32), size[::-1], interpolation=cv2.INTER_CUBIC) / scale
        for scale in (1, 4, 16, 64)
    )
    index = np.interp(relief, (relief.min(), relief.max()), (3, FRAMES - 4)).astype(np.float32)
    index += random.standard_normal(size, np.float32) * 0.03
    confidence = cv2.GaussianBlur(random.random(size, np.float32), (0, 0), 9)
    confidence = np.clip((confidence - confidence.mean()) / confidence.std() * 0.15 + 0.85, 0, 1)
    index[confidence < 0.55], confidence[confidence < 0.55] = np.nan, 0
    grain = cv2.GaussianBlur(random.standard_normal(size, np.float32), (0, 0), 1.2) * 60
    light = np.clip(60 + 90 * (relief - relief.min()) / np.ptp(relief) + grain, 0, 255)
    return Reconstruction(
        all_in_focus=(light[..., None] * np.array([1, 0.9, 0.75])).astype(np.uint8),
        depth=DepthMap(index, confidence, np.where(np.isnan(index), np.nan, np.float32(0.04))),
        geometry=stepped_geometry(0.02 * np.arange(FRAMES), size, pixel_size_mm=0.0015),
        alignment=Alignment.identity(FRAMES, size),
        names=tuple(f"{k:03d}.jpg" for k in range(FRAMES)),
        suffix=".jpg",
    )


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def in_browser(path: Path, measure: Callable[[Any, Any], None]) -> None:
    """Open a page in a browser of its own and measure it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(path.as_uri(), wait_until="commit", timeout=120_000)
        page.wait_for_selector("html[data-ready=true]", state="attached", timeout=120_000)
        measure(browser, page)
        browser.close()


def measure_opening(browser: Any, page: Any) -> None:
    """How soon a page is drawn, and what it takes."""
    row("drawn by", page.evaluate("dff.scene.driver"))
    row("first picture after", f"{page.evaluate('dff.loadMs') / 1000:.1f} s")
    row("everything is there after", f"{page.evaluate('dff.wholeMs') / 1000:.1f} s")
    page.evaluate("() => dff.scene.settled()")
    row("every pixel is drawn after", f"{page.evaluate('performance.now()') / 1000:.1f} s")
    page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    for kind, name in (("renderer", "memory of the page"), ("GPU", "memory of the drawing")):
        # Chromium keeps spare renderers beside that of the page, which is the largest.
        used = max(resident_mb(entry["id"]) for entry in processes if entry["type"] == kind)
        row(name, f"{used:.0f} MB")


def measure_frames(browser: Any, page: Any) -> None:
    """How long frames take of 0.25, 1 and 4 million points, and of a surface of as many pixels, as ratios."""
    rows, columns = page.evaluate("dff.meta.size")
    for points in (True, False):
        times = [page.evaluate(FRAME_MS, [step, points]) for step in STEPS]
        told = ", ".join(
            f"{rows * columns / step**2 / 1e6:.2f} M: {spent / times[1]:.2f}" for step, spent in zip(STEPS, times)
        )
        row(f"a frame of {'points' if points else 'surface'}, ratio", f"{told} (1 is {times[1]:.0f} ms)")


def resident_mb(process: int) -> float:
    """Memory of a process on Linux."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def row(name: str, text: str) -> None:
    """A row of the table."""
    print(f"| {name} | {text} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
