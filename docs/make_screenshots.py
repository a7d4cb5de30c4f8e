"""Screenshots of the viewer for the documents, from any result.

Usage: python docs/make_screenshots.py RESULT [FOLDER]

Needs Chromium on PATH and `pip install playwright`. The folder defaults to docs/images.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from viewers.page import write_page

FLAGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
SCENES = {
    "viewer": "dff.home()",
    "viewer-height": """
        dff.controls.mode('height');
        const {width, height} = dff.surface;
        dff.measurements.add('profile', [[0.15 * width, 0.6 * height], [0.85 * width, 0.55 * height]]);
    """,
    "viewer-focus": """
        dff.measurements.entries = []; dff.measurements.select(-1);
        dff.controls.mode('picture');
        document.querySelector('#link [data-value=frames]')?.click();
        dff.setFocus(dff.surface.count >> 1);
    """,
}


def main(result: str, folder: str = str(Path(__file__).parent / "images")) -> None:
    """Make the page, open it, and save a picture of every scene."""
    from playwright.sync_api import sync_playwright

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        path = write_page(result, Path(scratch) / "scan.html")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=true]", state="attached", timeout=120_000)
        for name, script in SCENES.items():
            _shoot(page, script, target / f"{name}.jpg")
        browser.close()


def _shoot(page: Any, script: str, path: Path) -> None:
    page.evaluate("async () => {" + script + "; await dff.scene.settled(); }")
    page.wait_for_timeout(700)
    page.screenshot(path=str(path), type="jpeg", quality=88)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
