"""How close to the physical limit: a textured plane over steps, windows and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dff import metrics
from dff.benchmark.cases import rendered_case
from dff.benchmark.estimate import Method
from dff.benchmark.score import Row, fill_nearest
from dff.benchmark.suite import Options, Suite, SuiteResult, loaded
from dff.simulate.render import BOUND_WINDOW_SIGMA_PX
from dff.stack import Scene

GROWTHS_PX = (0.3, 0.5, 0.7, 1.0, 1.4)
WINDOWS_PX = (2.0, 3.0, 4.0)
NOISES_SNR = (35, 150)
SCENE = "textured-plane"
_NO_WINDOW = "must have a window to vary; got none; choose a focus operator"


def _run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    shared = {"size_px": options.size_px, "frames": options.frames, "seed": options.seed}
    cases = [
        rendered_case(SCENE, options.cache, **shared, snr=snr, blur_growth_px=growth)
        for snr in NOISES_SNR
        for growth in GROWTHS_PX
    ]
    for method in methods:
        if method.with_window is None:
            result.skip(SCENE, method.name, _NO_WINDOW)
    windowed = [method for method in methods if method.with_window]
    for scene in loaded(result, cases, options) if windowed else ():
        for method in windowed:
            result.rows += [limit_row(scene, method, window) for window in WINDOWS_PX]


def limit_row(scene: Scene, method: Method, window_sigma_px: float) -> Row:
    """Error over bound where no window reaches over the border; the bound is inverse to the window."""
    if method.with_window is None:
        raise ValueError(f"{method.name}: {_NO_WINDOW}")
    index = fill_nearest(_index(method.with_window(window_sigma_px), scene))
    bound = scene.bound * (BOUND_WINDOW_SIGMA_PX / window_sigma_px)
    ratio = metrics.error_over_bound(index, scene.index, bound, pixels=_middle(scene.index.shape))
    error = (index - scene.index)[_middle(scene.index.shape)]
    return {
        "scene": scene.name,
        "method": method.name,
        "snr": scene.settings["snr"],
        "blur_growth_px": scene.settings["blur_growth_px"],
        "window_sigma_px": window_sigma_px,
        "rms_frames": float(np.sqrt(np.nanmean(error**2))),
        "error_over_bound_rms": ratio.rms,
        "error_over_bound": ratio.robust,
    }


def _index(method: Method, scene: Scene) -> np.ndarray:
    index = method.estimate(scene.stack).index
    return np.full(scene.index.shape, np.nan, np.float32) if index is None else index


def _middle(shape: tuple[int, ...]) -> np.ndarray:
    margin = min(int(3 * max(WINDOWS_PX)) + 8, min(shape) // 4)
    inside = np.zeros(shape, bool)
    inside[margin:-margin, margin:-margin] = True
    return inside


LIMIT = Suite("limit", "textured plane: error over the least error that physics allows, over step and window", _run)
