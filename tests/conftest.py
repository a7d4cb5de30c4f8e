"""What all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dff.training.scenes import TrainingScene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; the environment variable DFF_SHARED names it, ../shared is the default."""
    folder = Path(os.environ.get("DFF_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}: set DFF_SHARED")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For tiny tensors: threads would only wait for each other."""
    import torch

    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="session")
def collage() -> TrainingScene:
    """A small noise-free stack of a step between two planes."""
    from dff.simulate import SCENES, render_scene
    from dff.training.collage import Collage
    from dff.training.scenes import from_scene

    optics = {"blur_growth_px": 0.5, "snr": None, "bits": None, "seed": 3, "sampling_px": 4.0}
    SCENES["collage"] = Collage()
    try:
        return from_scene(render_scene("collage", size_px=48, frames=12, **optics))
    finally:
        del SCENES["collage"]


@pytest.fixture(scope="session")
def collages(collage: TrainingScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of three scenes."""
    import numpy as np

    from dff.training.scenes import FIRST_SEED

    folder = tmp_path_factory.mktemp("collages")
    for number in range(3):
        kept = replace(collage, index=np.roll(collage.index, number, 0), frames=np.roll(collage.frames, number, 1))
        np.savez(folder / f"{FIRST_SEED + number}.npz", **vars(kept))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium without a window."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
