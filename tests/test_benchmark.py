"""The benchmark measures what it says: figures on made-up answers, other programs by stand-ins, a whole tiny run."""

from __future__ import annotations

import json
import re
import stat
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dff import cli, io, optics
from dff.benchmark import (
    cases,
    limit,
    methods,
    peers,
    plots,
    repeatability,
    run_benchmark,
    score,
    shapes,
    speed,
    targets,
    truth,
)
from dff.benchmark.comparison import compare_folders
from dff.benchmark.cost import CommandError, Cost, measured_command
from dff.benchmark.estimate import Estimate, Method
from dff.benchmark.growth import beyond_once, fitted_exponents, growth
from dff.benchmark.speed_stacks import write_speed_stack
from dff.benchmark.suite import Options, SuiteResult
from dff.simulate import render_scene
from dff.stack import Alignment, DepthMap, FocalStack, Reconstruction, Scene

SIZE = 64
FRAMES = 8
TINY = {"size_px": SIZE, "frames": FRAMES, "blur_growth_px": 0.7, "seed": 3}
NO_COST = Cost(1.0, 2.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered scenes of these tests."""
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def scene(cache: Path) -> Scene:
    """A small scene with occlusion."""
    return cases.rendered_case("staircase", cache, **TINY, snr=35).load()


def test_noise_put_on_afterwards_is_the_noise_of_the_simulator(scene: Scene) -> None:
    """Frames, bound and truth of a cached scene are those of a scene rendered with the noise at once."""
    whole = render_scene("staircase", **TINY, snr=35)
    for k in range(FRAMES):
        np.testing.assert_array_equal(scene.stack.frames[k], whole.stack.frames[k])
    np.testing.assert_allclose(scene.bound, whole.bound, rtol=1e-4)
    np.testing.assert_array_equal(scene.index, whole.index)
    assert scene.stack.geometry is not None
    np.testing.assert_array_equal(scene.stack.geometry.z, whole.stack.geometry.z)


def test_a_scene_is_rendered_once(scene: Scene, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the same scene nor another noise of it is rendered again; another seed is."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(cases, "render_scene", refuse)
    again = cases.rendered_case("staircase", cache, **TINY, snr=150).load()
    assert again.bound.mean() < scene.bound.mean() / 2
    with pytest.raises(AssertionError, match="rendered again"):
        cases.rendered_case("staircase", cache, **{**TINY, "seed": 4}, snr=35).load()


def answer_of(scene: Scene, error: np.ndarray | float = 0.0, **parts: np.ndarray) -> Estimate:
    """An estimate with a chosen error."""
    truth = np.where(np.isfinite(scene.index), scene.index, 0)
    return Estimate(NO_COST, index=(truth + error).astype(np.float32), **parts)


def test_the_truth_has_no_error(scene: Scene) -> None:
    """A perfect answer scores zero errors, full coverage and the best picture."""
    row, sample = score.score(answer_of(scene, all_in_focus=scene.sharp), scene)
    assert row["mae_frames"] == row["interior_rmse_frames"] == 0
    assert row["height_mae_um"] < 0.01
    assert row["known_percent"] == 100
    assert row["psnr_db"] == np.inf
    assert row["ssim"] == pytest.approx(1)
    assert row["cpu_s_per_mp_frame"] == pytest.approx(1e6 / (FRAMES * SIZE * SIZE))
    assert sample is not None
    assert sample.confidence is None


def test_refusing_does_not_win(scene: Scene) -> None:
    """Leaving out the worst pixels lowers the error of the known ones, not the error that counts."""
    worst = np.zeros((SIZE, SIZE), bool)
    worst[20:44, 20:44] = True
    wrong = answer_of(scene, np.where(worst, 3.0, 0.2))
    assert wrong.index is not None
    refusing = replace(wrong, index=np.where(worst, np.nan, wrong.index).astype(np.float32))
    honest, shy = (score.score(estimate, scene)[0] for estimate in (wrong, refusing))
    assert shy["known_mae_frames"] < honest["known_mae_frames"] / 2
    assert shy["known_percent"] < 90
    assert shy["mae_frames"] > 0.2
    nothing = replace(wrong, index=np.full((SIZE, SIZE), np.nan, np.float32))
    assert score.score(nothing, scene)[0]["mae_frames"] > honest["mae_frames"]


def test_unknown_pixels_take_the_nearest_known_value() -> None:
    """Every unknown pixel has the value of a known pixel that is nearest to it."""
    random = np.random.default_rng(0)
    index = random.random((20, 30)).astype(np.float32)
    index[random.random(index.shape) < 0.7] = np.nan
    filled = score.fill_nearest(index)
    known = np.argwhere(np.isfinite(index))
    for place in np.argwhere(np.isnan(index))[::7]:
        distance = np.hypot(*(known - place).T)
        nearest = known[distance <= distance.min() + 0.05]
        assert filled[tuple(place)] in index[tuple(nearest.T)]


def test_micrometres_follow_the_geometry(scene: Scene) -> None:
    """An index that is off by a tenth of a frame is off by a tenth of the step."""
    geometry = scene.stack.geometry
    assert geometry is not None
    row, _ = score.score(answer_of(scene, 0.1), scene)
    assert row["height_median_um"] == pytest.approx(100 * abs(geometry.z[1] - geometry.z[0]), rel=0.02)


def sample_of(confidence: np.ndarray, right: np.ndarray) -> score.Sample:
    """Errors of 0.1 or 3 frames."""
    return score.Sample(np.where(right, 0.1, 3.0), confidence)


def test_calibration_is_told_from_bragging() -> None:
    """Confidence that keeps its word has a small gap; the same ranking with inflated numbers has not."""
    random = np.random.default_rng(1)
    honest = random.random(40_000)
    right = random.random(40_000) < honest
    good = score.pooled([sample_of(honest, right)])
    bragging = score.pooled([sample_of(np.sqrt(honest), right)])
    assert good["largest_gap"] < 0.03
    assert bragging["largest_gap"] > 0.15
    assert good["mae_at_half"] == pytest.approx(bragging["mae_at_half"])
    assert good["mae_at_half"] < good["mae_frames"][-1] / 1.5
    assert score.pooled([score.Sample(np.ones(9), None)]) == {}


def test_unknown_pixels_promise_nothing_and_are_trusted_last() -> None:
    """Declaring right pixels unknown neither breaks nor mends calibration; it costs error at full coverage only."""
    random = np.random.default_rng(1)
    honest = random.random(40_000)
    right = random.random(40_000) < honest
    shy = np.where(random.random(40_000) < 0.2, np.nan, honest)
    found, before = score.pooled([sample_of(shy, right)]), score.pooled([sample_of(honest, right)])
    assert found["largest_gap"] < 0.03
    assert found["mae_frames"][-1] == pytest.approx(before["mae_frames"][-1])
    assert found["mae_at_half"] > before["mae_at_half"]


def test_figures_to_reach_are_met_missed_or_not_measured() -> None:
    """A verdict follows the value; what was not run is not met."""
    clean = SuiteResult("clean", "", [{"method": "m", "mae_frames": 0.5, "median_frames": 0.2}])
    verdicts = {target.name: target.verdict for target in targets.targets({"clean": clean}, "m")}
    assert verdicts["clean, mean error"] == "met"
    assert verdicts["clean, median error"] == "missed"
    assert verdicts["noisy, mean error"] == "not measured"


def test_the_three_point_peak_is_exact_on_a_parabola() -> None:
    """A parabola's vertex comes back; a peak in the first or last frame stays where it is."""
    vertex = np.linspace(1, 5, 40).reshape(5, 8)
    volume = -0.7 * (np.arange(7)[:, None, None] - vertex) ** 2
    np.testing.assert_allclose(methods.three_point_peak(volume), vertex, atol=1e-5)
    assert methods.three_point_peak(volume + 100 * np.eye(7)[0][:, None, None]).max() == 0


def test_every_focus_measure_is_a_method_by_itself() -> None:
    """New measures appear without being named here; an unknown name is refused."""
    from dff.focus import FOCUS_MEASURES

    assert {method.name for method in methods.our_methods()} == {"straw-man", *FOCUS_MEASURES}
    with pytest.raises(ValueError, match="--methods"):
        methods.our_methods(["no-such-measure"])


def test_the_bound_of_a_plane_is_reached_by_an_error_of_that_size(cache: Path) -> None:
    """Noise of k bounds scores k, for every window."""
    scene = cases.rendered_case("textured-plane", cache, **TINY, snr=35).load()

    def method(window_px: float) -> Method:
        random = np.random.default_rng(2)
        error = 1.3 * scene.bound * (3.0 / window_px) * random.normal(size=scene.bound.shape)
        return Method("made-up", "", lambda _: answer_of(scene, error))

    for window in limit.WINDOWS_PX:
        row = limit.limit_row(scene, Method("made-up", "", lambda _: answer_of(scene), with_window=method), window)
        assert row["error_over_bound_rms"] == pytest.approx(1.3, rel=0.12)
        assert row["error_over_bound"] == pytest.approx(1.3, rel=0.12)


def test_a_method_without_a_window_is_left_out_of_the_limit_and_named(tmp_path: Path) -> None:
    """Nothing is rendered for it; a report without rows says why."""
    result = SuiteResult("limit", "")
    limit.LIMIT.run(result, Options(tmp_path, tmp_path), [Method("made-up", "", answer_of)])
    assert result.rows == []
    assert [(skipped["method"], "window" in skipped["reason"]) for skipped in result.skipped] == [("made-up", True)]
    assert list(tmp_path.iterdir()) == []


def grid() -> tuple[np.ndarray, np.ndarray]:
    """x and y of a part of 4 x 4 mm."""
    x, y = np.meshgrid(np.linspace(-2, 2, 90), np.linspace(-2, 2, 90))
    return x.ravel(), y.ravel()


def measured(name: str, z: np.ndarray) -> dict[str, float]:
    """Quantities of a part with a micrometre of noise and some gross errors."""
    x, y = grid()
    noisy = z + np.random.default_rng(0).normal(0, 0.001, z.shape)
    noisy[::97] += 0.5
    return {found.name: found.value for found in shapes.SHAPES[name](np.stack([x, y, noisy], axis=1))}


def test_known_shapes_are_measured() -> None:
    """Slope, step, radius, angle, opening, period and amplitude come back to a few per mille, despite outliers."""
    x, y = grid()
    radius = np.hypot(x, y)
    plane = measured("plane", 0.1 * x + 0.2 * y)
    assert plane["slope_deg"] == pytest.approx(np.degrees(np.arctan(np.hypot(0.1, 0.2))), rel=0.005)
    assert plane["flatness_robust_um"] == pytest.approx(1, rel=0.1)
    assert plane["flatness_rms_um"] > 20
    steps = measured("staircase", 0.3 * np.clip(np.floor((x / 2 + 1) * 3), 0, 5))
    assert steps["step_height_um"] == pytest.approx(300, rel=0.005)
    cap = measured("hemisphere", 0.2 + 1.5 * np.sqrt(np.clip(1 - (radius / 1.6) ** 2, 0, None)))
    assert cap["radius_um"] == pytest.approx(1600, rel=0.01)
    assert cap["vertical_radius_um"] == pytest.approx(1500 + 0, rel=0.01)
    assert measured("cone", np.maximum(2 - radius, 0.2))["flank_deg"] == pytest.approx(45, abs=0.1)
    groove = measured("v-groove", 0.5 + np.minimum(np.abs(x), 1.2))
    assert groove["opening_deg"] == pytest.approx(90, abs=0.2)
    assert groove["depth_um"] == pytest.approx(1200, rel=0.01)
    wave = measured("sinusoid", 1 + 0.25 * np.sin(2 * np.pi * x / 0.8))
    assert wave["period_um"] == pytest.approx(800, rel=0.005)
    assert wave["amplitude_um"] == pytest.approx(250, rel=0.05)


def test_scale_errors_are_told_apart() -> None:
    """One per cent in the plane and two per mille in height are found as such."""
    x, y = grid()
    true = np.stack([x, y, 0.3 * x + 0.1 * np.sin(9 * y)], axis=1).reshape(90, 90, 3)
    found = shapes.scale_errors(true * (1.01, 1.01, 1.002), true)
    assert found["lateral_scale_error_permille"] == pytest.approx(10, rel=0.01)
    assert found["height_scale_error_permille"] == pytest.approx(2, rel=0.05)
    assert shapes.scale_errors(np.full_like(true, np.nan), true) == {}


def test_a_command_is_measured(tmp_path: Path) -> None:
    """Processor time and memory of what it does, without those of this process; failures are told in one line."""
    work = (
        "import time; block = bytearray(80_000_000); stop = time.process_time() + 0.3\n"
        "while time.process_time() < stop: pass"
    )
    cost = measured_command([sys.executable, "-I", "-c", work], folder=tmp_path)
    assert 0.3 < cost.cpu_s < 3
    assert 0.08 < cost.peak_gb < 0.16
    with pytest.raises(CommandError, match="exit code 3: it is broken"):
        measured_command([sys.executable, "-c", "print('it is broken'); raise SystemExit(3)"], folder=tmp_path)
    with pytest.raises(CommandError, match="took more than"):
        measured_command([sys.executable, "-c", "import time; time.sleep(60)"], folder=tmp_path, timeout_s=0.5)


def program(path: Path, body: str) -> Path:
    """An executable Python script."""
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


STAND_IN_ENFUSE = """
import sys
sys.path[:0] = {path!r}
import cv2, numpy as np
frames = [cv2.imread(name, -1) for name in sys.argv[1:] if name.endswith(".png")]
assert all(frame.dtype == np.uint16 and frame.shape[2] == 3 for frame in frames), "frames"
for k in range(len(frames)):
    mask = np.zeros(frames[0].shape[:2], np.float32)
    mask[:, k::len(frames)] = 0.5
    cv2.imwrite(f"soft_{{k + 1:02d}}.tif", mask)
cv2.imwrite(sys.argv[sys.argv.index("-o") + 1], frames[2])
"""


def test_another_program_answers_through_the_adapter(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the frames as 16-bit PNG; its masks become an index, its picture keeps colours and white."""
    stand_in = program(tmp_path / "enfuse", STAND_IN_ENFUSE.format(path=sys.path))
    monkeypatch.setenv("DFF_PEER_ENFUSE", str(stand_in))
    found, missing = peers.find_peers(["enfuse"])
    assert missing == []
    estimate = found[0].estimate(scene.stack)
    assert estimate.index is not None
    assert estimate.all_in_focus is not None
    np.testing.assert_array_equal(estimate.index[5], np.arange(SIZE) % FRAMES)
    np.testing.assert_allclose(estimate.all_in_focus, scene.stack.frames[2] / 65535, atol=1e-6)
    assert estimate.cost.peak_gb > 0


STAND_IN_FOCUS_STACK = """
import sys
sys.path[:0] = {path!r}
import cv2, numpy as np
frames = [cv2.imread(name) for name in sys.argv[1:] if name.endswith(".png") and not name.startswith("--")]
told = dict(word[2:].split("=") for word in sys.argv[1:] if "=" in word)
levels = np.arange(len(frames) + 1) * 255 / len(frames)
cv2.imwrite(told["depthmap"], np.tile(np.rint(levels).astype(np.uint8), (frames[0].shape[0], 1)))
cv2.imwrite(told["output"], frames[1])
"""


def test_the_grey_levels_of_focus_stack_become_frames(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Black is unknown, white the last frame, the levels between are spread evenly over the others."""
    stand_in = program(tmp_path / "focus-stack", STAND_IN_FOCUS_STACK.format(path=sys.path))
    monkeypatch.setenv("DFF_PEER_FOCUS_STACK", str(stand_in))
    (method,), _ = peers.find_peers(["focus-stack"])
    assert method.own_alignment
    estimate = method.estimate(scene.stack)
    assert estimate.index is not None
    assert estimate.all_in_focus is not None
    assert np.isnan(estimate.index[:, 0]).all()
    np.testing.assert_allclose(estimate.index[3, 1:], np.arange(FRAMES), atol=0.02)
    np.testing.assert_allclose(estimate.all_in_focus, scene.stack.frames[1] / 65535, atol=1 / 255)


STAND_IN_OPENFOCUS = """
import glob, sys
sys.path[:0] = {path!r}
import cv2, numpy as np
_, _, _, folder, work, read_out, wanted = sys.argv
frames = np.stack([cv2.imread(name, -1) for name in sorted(glob.glob(folder + "/*.png"))]) / 65535
assert read_out == "exported" and wanted == "depth", sys.argv[3:]
np.save(work + "/index.npy", frames.std((1, 2, 3)).astype(np.float32))
"""


def test_a_program_can_be_given_the_frames_behind_our_filter(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise is down by the filter's gain, within a tenth of it in end frames too; no picture is asked for."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0.5, 0.05, (12, SIZE, SIZE, 3)).astype(np.float32)
    stack = replace(scene.stack, frames=list(noise), names=tuple("abcdefghijkl"), dtype=np.dtype(np.float32))
    stand_in = program(tmp_path / "openfocus", STAND_IN_OPENFOCUS.format(path=sys.path))
    monkeypatch.setenv("DFF_PEER_OPENFOCUS", str(stand_in))
    (method,), _ = peers.find_peers(["openfocus-filtered"])
    estimate = method.estimate(stack)
    weights = np.exp(-0.5 * np.arange(-3, 4) ** 2)
    gain = np.linalg.norm(weights) / weights.sum()
    assert estimate.all_in_focus is None
    assert estimate.index is not None
    np.testing.assert_allclose(estimate.index[3:-3], 0.05 * gain, rtol=0.03)
    np.testing.assert_allclose(estimate.index, 0.05 * gain, rtol=0.12)


def test_a_failing_program_is_noted_and_the_run_goes_on(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason stands in the report; a program that is absent is reported with how to install it."""
    monkeypatch.setenv("DFF_PEER_ENFUSE", str(program(tmp_path / "enfuse", "raise SystemExit('no licence')")))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("DFF_PEER_FOCUS_STACK", raising=False)
    found, missing = peers.find_peers(["enfuse", "focus-stack"])
    assert [peer["peer"] for peer in missing] == ["focus-stack"]
    assert missing[0]["reason"] == "not installed"
    result = SuiteResult("clean", "")
    case = cases.rendered_case("staircase", cache, **TINY, snr=35)
    truth.compare_with_truth([case], result, Options(cache, cache), [*found, methods.straw_man_method()])
    assert [row["method"] for row in result.rows] == ["straw-man"]
    assert "no licence" in result.skipped[0]["reason"]


def test_a_wrongly_named_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that names nothing is an error, not an absence; so is an unknown program."""
    monkeypatch.setenv("DFF_PEER_OPENFOCUS", "/no/such/python")
    with pytest.raises(ValueError, match="DFF_PEER_OPENFOCUS"):
        peers.find_peers(["openfocus"])
    with pytest.raises(ValueError, match="--peers"):
        peers.find_peers(["no-such-program"])


def test_what_a_program_moved_is_brought_back(scene: Scene) -> None:
    """A shifted answer is registered to the truth by its picture, and its index moves along."""
    shift = np.float32([[1, 0, 2], [0, 1, -1]])
    picture = cv2.warpAffine(scene.sharp, shift, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    index = cv2.warpAffine(np.nan_to_num(scene.index), shift, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    moved = Estimate(NO_COST, index=index, all_in_focus=picture)
    back = score.brought_back(moved, scene)
    before, after = (score.score(estimate, scene)[0] for estimate in (moved, back))
    assert after["psnr_db"] > before["psnr_db"] + 6
    assert after["known_mae_frames"] < before["known_mae_frames"] / 2
    assert after["known_percent"] < 100


@pytest.fixture(scope="module")
def report(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a tiny run without the program that it asks for."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DFF_PEER_FOCUS_STACK", raising=False)
        run_benchmark(
            ["noisy", "real"],
            methods=["straw-man", "ring-difference"],
            peers=["focus-stack"],
            output=folder,
            size_px=48,
            frames=8,
            cache=cache,
            data=folder / "absent",
        )
    return folder


def test_the_report_is_whole(report: Path) -> None:
    """JSON has every row, version and reason; Markdown has the tables; maps lie beside them."""
    told = json.loads((report / "benchmark.json").read_text())
    rows = told["suites"]["noisy"]["rows"]
    assert {(row["scene"], row["method"]) for row in rows} == {
        (scene, method)
        for scene in ("rock", "spheres", "bristles", "coin", "weak-texture")
        for method in ("straw-man", "ring-difference")
    }
    needed = {"mae_frames", "rmse_frames", "median_frames", "edge_mae_frames", "known_percent", "height_median_um"}
    assert all(needed <= row.keys() for row in rows)
    assert all({"ause_relative", "psnr_db"} <= row.keys() for row in rows if row["method"] == "ring-difference")
    assert {"dff", "seed", "machine", "versions", "command"} <= told.keys()
    assert "no stacks at" in told["suites"]["real"]["skipped"][0]["reason"]
    assert len(told["targets"]) >= 8
    text = (report / "benchmark.md").read_text()
    assert "| straw-man |" in text
    assert "focus-stack: `build from source" in text
    assert len(list((report / "maps").glob("noisy-*.png"))) == 10


def test_the_page_stands_alone_and_is_well_formed(report: Path) -> None:
    """No address is fetched, every plot is sound XML, every error map is inside."""
    page = (report / "benchmark.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) >= 3
    for drawing in drawings:
        ElementTree.fromstring(drawing)  # noqa: S314 - drawn by us
    assert page.count("data:image/jpeg") == 5 * 4


def test_equal_seeds_give_equal_figures(report: Path, cache: Path) -> None:
    """The same scene and method again gives the same errors."""
    told = json.loads((report / "benchmark.json").read_text())
    before = {(row["scene"], row["method"]): row for row in told["suites"]["noisy"]["rows"]}
    result = SuiteResult("noisy", "")
    case = cases.rendered_case("coin", cache, size_px=48, frames=8, seed=0, snr=35, blur_growth_px=0.35)
    truth.compare_with_truth([case], result, Options(cache, cache), methods.our_methods(["straw-man"]))
    assert before["coin", "straw-man"]["mae_frames"] == result.rows[0]["mae_frames"]
    assert before["coin", "straw-man"]["psnr_db"] == result.rows[0]["psnr_db"]


def test_numbers_keep_three_digits() -> None:
    """Large and small numbers are readable, unknown ones are a dash."""
    texts = [plots.three_digits(value) for value in (0.012345, 1.2345, 123.45, 0.0, float("nan"))]
    assert texts == ["0.0123", "1.23", "123", "0", "–"]


def result_of(index: np.ndarray, picture: np.ndarray) -> Reconstruction:
    """A result without anything but its maps."""
    size = index.shape
    geometry = optics.stepped_geometry(0.1 * np.arange(10), size, pixel_size_mm=0.01)
    depth = DepthMap(index.astype(np.float32), np.ones(size, np.float32), np.full(size, 0.02, np.float32))
    return Reconstruction(picture, depth, geometry, Alignment.identity(10, size), names=tuple("0123456789"))


def test_two_result_folders_are_compared(scene: Scene, tmp_path: Path) -> None:
    """The noise map keeps NaN, the numbers are in the file and in words, and nothing is overwritten unasked."""
    picture = np.rint(255 * np.clip(scene.sharp, 0, 1)).astype(np.uint8)
    random = np.random.default_rng(0)
    rows, columns = np.indices((SIZE, SIZE))
    surface = 4 + 0.02 * columns + np.sin(rows / 8)
    for name in ("one", "two"):
        index = surface + random.normal(0, 0.02, surface.shape)
        index[:4] = np.nan
        io.write_reconstruction(result_of(index, picture), tmp_path / name)
    told = compare_folders(tmp_path / "one", tmp_path / "two", tmp_path / "noise")
    figures = json.loads((tmp_path / "noise" / "comparison.json").read_text())
    assert figures["unit"] == "mm"
    assert figures["rms"] == pytest.approx(0.002, rel=0.05)
    assert figures["noise_over_promised"] == pytest.approx(1, rel=0.07)
    assert "2 µm" in told or "1.9" in told or "2.0" in told
    assert np.isnan(io.read_map(tmp_path / "noise" / "noise.tif")[:4]).all()
    with pytest.raises(ValueError, match="--force"):
        compare_folders(tmp_path / "one", tmp_path / "two", tmp_path / "noise")
    assert (
        cli.main(["compare", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(tmp_path / "noise"), "--force"])
        == 0
    )


def test_halves_of_a_real_stack_measure_its_noise(scene: Scene) -> None:
    """Odd and even frames of one stack: the noise of a made-up method is found, in frames of the whole stack."""
    whole = replace(scene.stack, geometry=optics.unknown_geometry(np.arange(float(FRAMES)), (SIZE, SIZE)))
    random = np.random.default_rng(0)
    slope = np.linspace(2, 5, SIZE)[None].repeat(SIZE, axis=0)

    def estimate(half: FocalStack) -> Estimate:
        noisy = (slope - half.positions[0]) / 2 + random.normal(0, 0.05, slope.shape)
        return Estimate(NO_COST, index=noisy.astype(np.float32))

    row = repeatability.odd_against_even(whole, Method("made-up", "", estimate))
    assert row["noise_rms_frames"] == pytest.approx(0.1, rel=0.05)
    assert row["known_percent"] == 100


def test_other_programs_are_repeatable_too_unless_they_align(scene: Scene, tmp_path: Path) -> None:
    """A program has a row like ours; one that moves the frames itself, or fails, is noted with its reason."""

    def flat(half: FocalStack) -> Estimate:
        return Estimate(NO_COST, index=np.full(half.shape[:2], 1.5, np.float32))

    def broken(half: FocalStack) -> Estimate:
        raise CommandError("peer: ended with exit code 3")

    for k in range(FRAMES):
        io.write_image(tmp_path / "stacks" / "one" / f"frame_{k}.png", scene.stack.frames[k])
    programs = [
        Method("flat", "", flat, external=True),
        Method("broken", "", broken, external=True),
        Method("mover", "", flat, external=True, own_alignment=True),
    ]
    result = SuiteResult("real", "")
    repeatability.REAL.run(result, Options(tmp_path, tmp_path), programs)
    assert [row["method"] for row in result.rows] == ["flat"]
    assert result.rows[0]["noise_rms_frames"] == pytest.approx(0, abs=1e-6)
    assert {told["method"]: told["reason"] for told in result.skipped} == {
        "broken": "peer: ended with exit code 3",
        "mover": "it moves the frames of each half by itself",
    }


def test_short_stacks_are_left_out_with_a_reason(tmp_path: Path) -> None:
    """Each half needs frames enough."""
    for k in range(5):
        picture = np.random.default_rng(k).integers(0, 255, (32, 40, 3)).astype(np.uint8)
        io.write_image(tmp_path / f"frame_{k}.png", picture)
    with pytest.raises(cases.Skip, match="5 frames"):
        repeatability.halves_of(tmp_path)


def test_wrong_names_list_the_right_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One line that names the suites, and exit code 2."""
    assert cli.main(["benchmark", "nonsense", "--quiet", "-o", str(tmp_path)]) == cli.USAGE_ERROR
    told = capsys.readouterr().err
    assert "held-back" in told
    assert told.count("\n") == 1


def test_growth_exponents_are_those_of_the_times() -> None:
    """Times made as a product of powers give the powers back; what was not varied is left out."""
    rows = [
        {"megapixels": mp, "frames": n, "cpu_s": 0.3 * mp**1.1 * n**0.9, "method": "fuse", "kind": "jpeg"}
        for mp in (2, 6)
        for n in (10, 30)
    ]
    assert fitted_exponents(rows, "cpu_s") == pytest.approx({"megapixels": 1.1, "frames": 0.9})
    assert fitted_exponents(rows[:2], "cpu_s") == pytest.approx({"frames": 0.9})
    assert fitted_exponents(rows[:1], "cpu_s") == {}
    assert growth([{**row, "cpu_s": 0.001} for row in rows], "jpeg", speed.WHOLE) == []
    assert growth(rows, "jpeg", speed.WHOLE) == ["growth, jpeg: fuse takes megapixels^1.10, frames^0.90"]
    assert growth(rows, "tiff", speed.WHOLE) == []
    whole = [{**row, "method": speed.WHOLE, "peak_gb": 0.4 * row["megapixels"] ** 0.5} for row in rows]
    assert growth(whole, "jpeg", speed.WHOLE)[1] == "growth, jpeg: peak memory is megapixels^0.50, frames^0.00"


@pytest.mark.parametrize("power", [0.9, 1.0, 1.2])
def test_the_power_of_what_grows_is_told_from_what_is_paid_once(power: float) -> None:
    """Of times that are a sum of both; too few stacks tell nothing, and one size does not."""
    rows = [
        {"megapixels": mp, "frames": n, "cpu_s": 4.0 + 1.1 * mp + 0.15 * (mp * n) ** power}
        | {"method": speed.WHOLE, "kind": "jpeg", "peak_gb": 1.0}
        for mp in (2, 6)
        for n in (10, 30, 100)
    ]
    assert beyond_once(rows, "cpu_s") == pytest.approx(power)
    assert beyond_once(rows[:4], "cpu_s") is None
    assert beyond_once([*rows[:3], *rows[:3]], "cpu_s") is None
    told = "growth, jpeg: whole program, beyond what is paid once and once a pixel, takes (megapixels x frames)"
    assert f"{told}^{power:.2f}" in growth(rows, "jpeg", speed.WHOLE)


@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
def test_speed_stacks_are_stacks(tmp_path: Path, kind: str) -> None:
    """Of the size and depth asked for, and each row sharpest where its plane is."""
    write_speed_stack(tmp_path / "s", 0.1, 8, kind)
    stack = io.read_stack(tmp_path / "s")
    assert len(stack) == 8
    assert stack.shape[0] * stack.shape[1] == pytest.approx(1e5, rel=0.01)
    assert stack.dtype == (np.uint8 if kind == "jpeg" else np.uint16)
    sharp = [np.abs(np.diff(stack.frames[k][:40].astype(float), axis=0)).mean() for k in range(8)]
    assert int(np.argmax(sharp)) in (1, 2)


def test_the_start_is_what_no_stage_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreter and libraries count as they do for other programs: stages and start make up the whole process."""
    stages = {name: {"cpu_s": 2.0, "wall_s": 1.0, "file_bytes": 1, "peak_gb": 0.5} for name in ("start", "fuse")}
    floor = {"decoding alone": {"cpu_s": 0.5, "wall_s": 0.5, "peak_gb": 0.1}}
    told = {"frames_mp": 10.0, "floor": floor, "predicted_gb": 1.0, "predicted_s": {"start": 1.0, "fuse": 2.0}}

    def measured(module: str, *words: str | Path) -> Cost:
        Path(words[-1]).write_text(json.dumps(stages if module == "speed_worker" else told))
        return Cost(cpu_s=7.0, wall_s=5.0)

    monkeypatch.setattr(speed, "_measured", measured)
    rows = speed.rows_of(speed.stage_costs(tmp_path))
    assert rows["start"]["cpu_s"] == 5
    assert rows["start"]["wall_s_per_mp_frame"] == pytest.approx(0.4)
    assert rows[speed.WHOLE]["wall_s_per_mp_frame"] == pytest.approx(0.5)
    assert rows[speed.WHOLE]["peak_gb"] == 0.5
    assert rows["fuse"]["predicted_s_per_mp_frame"] == pytest.approx(0.2)
    assert rows[speed.WHOLE]["predicted_s_per_mp_frame"] == pytest.approx(0.3)


@pytest.mark.slow
def test_speed_is_measured_stage_by_stage(tmp_path: Path) -> None:
    """Every stage has a row, the stages make up the whole, and decoding is the unit."""
    found = run_benchmark(["speed"], output=tmp_path, megapixels=[0.2], counts=[6], formats=["jpeg"])
    rows = {row["method"]: row for row in found.suites["speed"].rows}
    assert rows["decoding alone"]["over_decode"] == 1
    stages = set(rows) - {"decoding alone", "one memory pass", speed.WHOLE}
    assert {"read frames", "align", "measure focus", "label", "refine depth", "fuse", "mesh", "write"} <= stages
    assert sum(rows[stage]["cpu_s"] for stage in stages) == pytest.approx(rows[speed.WHOLE]["cpu_s"])
    assert rows["start"]["cpu_s"] > 0.1
    assert "over decoding alone" in (tmp_path / "benchmark.md").read_text()


@pytest.mark.slow
def test_speed_of_named_methods(tmp_path: Path) -> None:
    """An operator runs beside the default, no network in it, and takes less."""
    options = {"megapixels": [0.2], "counts": [6], "formats": ["jpeg"], "output": tmp_path}
    found = run_benchmark(["speed"], methods=["ring-difference", "sesf-stack"], **options)
    rows = {row["method"]: row for row in found.suites["speed"].rows}
    operator = "ring-difference: "
    assert rows[operator + "measure focus"]["cpu_s"] < rows["measure focus"]["cpu_s"]
    assert {stage.removeprefix(operator) for stage in rows if stage.startswith(operator)} <= set(rows)
