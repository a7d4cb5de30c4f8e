"""The whole way from frames to result: laws, metric truth, memory plan, interruption."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from dff import io, optics, pipeline
from dff.depth import LATTICE
from dff.focus import RowMeasure
from dff.pipeline import clock, duration, plan, run, tiling
from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import FocalStack, ImageMetadata, Scene
from dff.surface import back_project

ALIGNED = Settings(align="none", threads=1)


@pytest.fixture(scope="module")
def dome() -> Scene:
    """A small hemisphere in 14 frames."""
    return render_scene("hemisphere", size_px=96, frames=14, blur_growth_px=0.5, snr=200)


def without_geometry(stack: FocalStack) -> FocalStack:
    return replace(stack, geometry=None)


def mapped(stack: FocalStack, change: Callable[[NDArray[Any]], NDArray[Any]]) -> FocalStack:
    frames = [change(stack.frames[k]) for k in range(len(stack))]
    return replace(stack, frames=frames, shape=frames[0].shape, dtype=frames[0].dtype)


def errors(index: NDArray[np.floating[Any]], scene: Scene) -> NDArray[np.floating[Any]]:
    return np.abs(index - scene.index)[np.isfinite(index) & np.isfinite(scene.index)]


def test_known_depth_is_recovered(dome: Scene) -> None:
    """Most pixels of a textured dome are known, and right to a fraction of a frame."""
    result = pipeline.reconstruct(dome.stack, ALIGNED)
    found = errors(result.depth.index, dome)
    assert found.size > 0.6 * dome.index.size
    assert np.median(found) < 0.25


def test_tiles_of_any_size_give_the_same_result(dome: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index, confidence and picture do not depend on how the picture is cut, nor on how many tiles are in work."""
    whole = pipeline.reconstruct(dome.stack, ALIGNED)
    plan = run.plan_for(dome.stack, ALIGNED)
    assert len(plan.strips(96)) == 1
    for rows, columns, fusion, workers in (
        (4, 96, (256 + 32, 512), 1),
        (20, 96, (256 + 64, 512), 2),
        (40, 32, (256, 192 + 32), 3),
    ):
        cut = replace(plan, strip_rows=rows, tile_columns=columns, fusion=fusion, workers=(workers, workers))
        monkeypatch.setattr(run, "plan_for", lambda *_, cut=cut: cut)
        strips = pipeline.reconstruct(dome.stack, ALIGNED)
        np.testing.assert_array_equal(strips.depth.index, whole.depth.index)
        np.testing.assert_array_equal(strips.depth.confidence, whole.depth.confidence)
        np.testing.assert_array_equal(strips.all_in_focus, whole.all_in_focus)


def test_a_watcher_sees_the_result_grow(dome: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames, alignment, labels, then rows of depth and picture: put together they are the result."""
    plan = run.plan_for(dome.stack, ALIGNED)
    cut = replace(plan, strip_rows=40, fusion=(256 + 64, 512))
    monkeypatch.setattr(run, "plan_for", lambda *_: cut)
    seen: list[Any] = []
    names = [spec.name for spec in fields(pipeline.Watcher)]
    watcher = pipeline.Watcher(**{name: lambda *found, name=name: seen.append((name, found)) for name in names})
    result = pipeline.reconstruct(dome.stack, ALIGNED, watcher=watcher)
    assert list(dict.fromkeys(name for name, _ in seen)) == names
    shown = {name: [found for other, found in seen if other == name] for name in names}
    assert [k for k, _ in shown["on_frame"]] == list(range(14))
    assert shown["on_alignment"][0][0] is result.alignment
    labels = np.kron(shown["on_labels"][0][0], np.ones((LATTICE, LATTICE)))
    assert np.nanmedian(np.abs(labels - result.depth.index)) < 1
    assert [top for top, _ in shown["on_rows"]] == [0, 40, 80]
    for part in ("index", "confidence", "sigma"):
        rows = np.concatenate([getattr(depth, part) for _, depth in shown["on_rows"]])
        np.testing.assert_array_equal(rows, getattr(result.depth, part))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in shown["on_picture"]]), result.all_in_focus)


def test_any_number_of_threads_gives_the_same_result(dome: Scene) -> None:
    """Registration, maps and picture, bit for bit."""
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for threads in (1, 2, 3):
            results.append(pipeline.reconstruct(dome.stack, Settings(threads=threads)))
    for other in results[1:]:
        np.testing.assert_array_equal(other.alignment.transforms, results[0].alignment.transforms)
        np.testing.assert_array_equal(other.depth.index, results[0].depth.index)
        np.testing.assert_array_equal(other.depth.confidence, results[0].depth.confidence)
        np.testing.assert_array_equal(other.depth.sigma, results[0].depth.sigma)
        np.testing.assert_array_equal(other.all_in_focus, results[0].all_in_focus)


def test_frames_are_decoded_at_once_where_memory_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """RAW frames take more each; those of a video, and those that come from no file, come one after the other."""
    frames = [np.zeros((1, 1, 3), np.uint8)] * 4
    look: dict[str, Any] = {"shape": (4000, 6000, 3), "dtype": np.dtype(np.uint16)}
    stack = FocalStack(frames=frames, names=tuple("abcd"), suffix=".tif", files=tuple("abcd"), **look)
    workers = {
        suffix: plan.frames_at_once(replace(stack, suffix=suffix), ALIGNED, 64) for suffix in (".tif", ".nef", ".mp4")
    }
    assert 64 > workers[".tif"] > workers[".nef"] >= 2
    assert workers[".mp4"] == plan.frames_at_once(replace(stack, files=()), ALIGNED, 64) == 1
    assert plan.frames_at_once(stack, ALIGNED, 2) == 2


def test_a_forecast_names_every_stage(dome: Scene) -> None:
    """With a time that is not negative, and the longest in words."""
    found = pipeline.forecast(without_geometry(dome.stack), ALIGNED)
    stages = {"start", "read frames", "measure focus", "label", "refine depth", "fuse", "previews", "write"}
    assert found.keys() >= stages
    assert all(seconds >= 0 for seconds in found.values())
    assert "about" in pipeline.told_time(found)


def test_a_forecast_scales_with_pixels_and_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that are made of what is paid once and what grows with pixels and frames are drawn on to the whole."""
    frames = [np.zeros((1, 1, 3), np.uint8)] * 100
    size = (2000, 3000, 3)
    stack = FocalStack(frames=frames, names=tuple(map(str, range(100))), shape=size, dtype=np.dtype(np.uint8))
    # The first of the larger ones, and the last, are disturbed.
    more_s, sizes_px = [4.0, 0.0, 0.0, 7.0, 0.0, 0.0, 3.0], [(256, 256)] * 3 + [(512, 2048)] * 4

    def ready(chosen: FocalStack, *_: object) -> object:
        count = len(chosen)
        return duration._Ready(count, {"read frames": 0.2 + 0.1 * count, "align": 0.3 * count, "warp": 0.0}, [])

    def centre(_: object, __: object, settings: Settings, count: int, ___: object) -> object:
        (height, width), once_s = sizes_px.pop(0), more_s.pop(0) + 0.25
        part = replace(stack.subset(range(count)), shape=(height, width, 3))
        share = height * width / 1e6
        taken_s = {"label": once_s + share * (0.5 + 0.1 * count), "mesh": once_s + share * 2.0, "align": once_s}
        return duration._Centre(part, pipeline.plan_for(part, settings), taken_s)

    monkeypatch.setattr(duration, "_made_ready", ready)
    monkeypatch.setattr(duration._Centre, "of", centre)
    found = pipeline.forecast(stack, ALIGNED)
    assert found["label"] == pytest.approx(4.25 + 6 * (0.5 + 0.1 * 100))
    assert found["mesh"] == pytest.approx(4.25 + 6 * 2)
    assert found["read frames"] == pytest.approx(0.2 + 0.1 * 100)
    assert found["align"] == pytest.approx(4 + 0.3 * 100)
    assert found["warp"] == 0


def test_stages_that_overlap_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken while two are open is half of each; between stages it is the last one's."""
    times = iter([0.0, 1.0, 3.0, 7.0, 8.0, 10.0, 11.0])
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(times))
    seconds = clock.StageSeconds()
    for step in (
        ("read", 0, 2),
        ("read", 2, 2),
        ("mesh", 0, 1),
        ("previews", 0, 1),
        ("mesh", 1, 1),
        ("previews", 1, 1),
    ):
        seconds(*step)
    assert seconds.seconds == {"start": 1.0, "read": 2.0 + 4.0, "mesh": 1.0 + 1.0, "previews": 1.0 + 1.0}


def test_a_reversed_stack_with_the_far_frame_first_gives_the_same_heights(dome: Scene) -> None:
    """Turning the stack round and saying so changes nothing."""
    stack = without_geometry(dome.stack)
    settings = ALIGNED.but(step_mm=0.1, pixel_size_mm=0.02)
    forward = pipeline.reconstruct(stack, settings)
    backward = pipeline.reconstruct(stack.subset(range(len(stack))[::-1]), settings.but(first="far"))
    z = [optics.height_map(result.depth.index, result.geometry) for result in (forward, backward)]
    both = np.isfinite(z[0]) & np.isfinite(z[1])
    assert both.mean() > 0.6
    assert np.abs(z[0] - z[1])[both].max() < 0.002


@pytest.mark.parametrize(("measure", "percent"), [("ring-difference", 97), ("sesf-stack", 97)])
def test_exposure_does_not_move_depth(dome: Scene, measure: str, percent: float) -> None:
    """Half the light gives the same index map; rounding may turn a few labels, which windows around them see."""
    settings = ALIGNED.but(measure=measure)
    full = pipeline.reconstruct(dome.stack, settings).depth.index
    half = pipeline.reconstruct(mapped(dome.stack, lambda frame: frame // 2), settings).depth.index
    both = np.isfinite(full) & np.isfinite(half)
    assert both.sum() > 0.95 * np.isfinite(full).sum()
    assert np.percentile(np.abs(full - half)[both], percent) < 0.02


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("fusion", ["weighted", "pick", "pyramid"])
def test_bit_depth_is_kept(dome: Scene, dtype: Any, fusion: str) -> None:
    """8 bits in, 8 bits out; 16 in, 16 out, with more than 256 values."""
    shift = 8 if dtype == np.uint8 else 0
    stack = mapped(dome.stack, lambda frame: (frame >> shift).astype(dtype))
    picture = pipeline.reconstruct(stack, ALIGNED.but(fusion=fusion)).all_in_focus
    assert picture.dtype == dtype
    assert picture.shape == stack.shape
    assert dtype == np.uint8 or len(np.unique(picture)) > 1000


def test_grey_frames_are_reconstructed(dome: Scene) -> None:
    """One channel in, one channel out."""
    result = pipeline.reconstruct(mapped(dome.stack, lambda frame: frame[..., 1:2]), ALIGNED)
    assert result.all_in_focus.shape == (96, 96, 1)
    assert np.median(errors(result.depth.index, dome)) < 0.25


def test_an_unknown_scale_is_said_and_not_invented(dome: Scene) -> None:
    """Without a step the result is in frames and px, with a warning."""
    with pytest.warns(UserWarning, match="scale is not known"):
        result = pipeline.reconstruct(without_geometry(dome.stack), ALIGNED)
    assert (result.geometry.z_unit, result.geometry.xy_unit) == ("frames", "px")
    assert any("scale is not known" in message for message in result.warnings)


@pytest.mark.filterwarnings("ignore:alignment")
@pytest.mark.parametrize("capture", ["telecentric", "rail", "ring"])
@pytest.mark.parametrize(
    ("size_px", "frames", "height_tolerance"), [(144, 16, 0.004), pytest.param(384, 36, 0.002, marks=pytest.mark.slow)]
)
def test_a_known_object_comes_back_in_mm(capture: str, size_px: int, frames: int, height_tolerance: float) -> None:
    """Lateral scale after back-projection is right to 0.2 %, and height scale too where the picture is not tiny."""
    render = functools.partial(
        render_scene, "plane", size_px=size_px, frames=frames, blur_growth_px=0.5, snr=None, capture=capture
    )
    reference = frames // 2
    for _ in range(3):
        scene = render(reference=reference)
        result = pipeline.reconstruct(scene.stack, Settings(threads=1))
        if capture == "telecentric" or result.alignment.reference == reference:
            break
        reference = result.alignment.reference  # the truth lives in the pixels of one frame: let it be this one
    truth = back_project(scene.index, scene.stack.geometry, result.alignment)
    points = back_project(result.depth.index, result.geometry, result.alignment)
    known = np.isfinite(points).all(-1) & np.isfinite(truth).all(-1) & (result.depth.confidence > 0.5)
    for edge in (np.s_[:16], np.s_[-16:], np.s_[:, :16], np.s_[:, -16:]):
        known[edge] = False  # windows that the border cuts see a slope from one side only
    assert known.mean() > 0.4
    for axis in range(3):
        scale, _ = np.polyfit(truth[known][:, axis].astype(float), points[known][:, axis].astype(float), 1)
        assert scale == pytest.approx(1, abs=height_tolerance if axis == 2 else 0.002)
    assert np.ptp(points[known][:, 2]) == pytest.approx(np.ptp(truth[known][:, 2]), rel=0.05)


def test_a_table_in_any_order_sorts_the_frames(dome: Scene, tmp_path: Path) -> None:
    """Shuffled frames with a table of their heights give the heights of the ordered stack."""
    stack = dome.stack
    order = np.random.default_rng(3).permutation(len(stack))
    z = np.asarray(stack.geometry.z)[order]
    table = tmp_path / "z.csv"
    table.write_text("frame,z_mm\n" + "".join(f"{stack.names[k]},{height}\n" for k, height in zip(order, z)))
    settings = ALIGNED.but(z_file=str(table), pixel_size_mm=0.02)
    with pytest.warns(UserWarning, match="not named in the order"):
        shuffled = pipeline.reconstruct(without_geometry(stack).subset(list(order)), settings)
    ordered = pipeline.reconstruct(without_geometry(stack), settings.but(z_file=str(table)))
    heights = [optics.height_map(result.depth.index, result.geometry) for result in (shuffled, ordered)]
    np.testing.assert_allclose(heights[0], heights[1], atol=3e-4)


def test_left_out_frames_leave_their_gap(dome: Scene) -> None:
    """Leaving frames out does not shrink the sweep: the others keep their places."""
    kept = [k for k in range(14) if k not in (4, 5)]
    stack = without_geometry(dome.stack).subset(kept)
    geometry = pipeline.resolve_geometry(stack, Settings(step_mm=0.1))
    np.testing.assert_allclose(np.abs(np.diff(geometry.z)), [0.1, 0.1, 0.1, 0.3] + [0.1] * 7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step_mm": 0.1, "z_file": "z.csv"}, "--step"),
        ({"magnification": 2.0, "pixel_size_mm": 0.01}, "--magnification"),
        ({"capture": "ring"}, "--z-file"),
        ({"capture": "rail"}, "--step"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(dome: Scene, changes: dict[str, Any], words: str) -> None:
    """One line that names the option at fault."""
    with pytest.raises(ValueError, match=words) as caught:
        pipeline.resolve_geometry(without_geometry(dome.stack), Settings(**changes))
    assert "\n" not in str(caught.value)


def test_magnification_needs_the_pitch_of_the_sensor(dome: Scene) -> None:
    """Neither files nor options tell it: one line that asks for it."""
    stack = replace(without_geometry(dome.stack), metadata=ImageMetadata())
    with pytest.raises(ValueError, match="--pixel-pitch"):
        pipeline.resolve_geometry(stack, Settings(magnification=2.0))


def test_bands_of_a_tile_change_nothing(dome: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logits of a few rows at a time say what those of the whole tile say, bit for bit."""
    whole = pipeline.reconstruct(dome.stack, ALIGNED)
    monkeypatch.setattr(tiling, "BAND_PIXELS", 1)
    monkeypatch.setattr(tiling, "LEAST_BAND_ROWS", 12)
    assert len(tiling.band_spans((8, 40), 100)) == 3
    banded = pipeline.reconstruct(dome.stack, ALIGNED)
    for one, other in zip(vars(whole.depth).values(), vars(banded.depth).values()):
        np.testing.assert_array_equal(one, other)


def test_memory_is_planned_within_the_limit() -> None:
    """Strips shrink as frames are added, the prediction stays below the limit, and too little is refused."""
    for count in (8, 32, 128):
        frames = [np.zeros((1, 1, 3), np.uint8)] * count
        stack = FocalStack(
            frames=frames, names=tuple(map(str, range(count))), shape=(2000, 3000, 3), dtype=np.dtype(np.uint8)
        )
        for limit in (1.5, 2.5, 8.0):
            plan = run.plan_for(stack, Settings(max_memory_gb=limit))
            assert plan.memory_gb <= limit
            assert plan.scratch_gb == pytest.approx(count * 0.018, rel=1e-6)
            covered = [row for start, stop in plan.strips(2000) for row in range(start, stop)]
            assert covered == list(range(2000))
    assert run.plan_for(replace(stack, shape=(2000, 3000, 3)), Settings(threads=2, max_memory_gb=8)).workers == (2, 2)
    with pytest.raises(ValueError, match="--max-memory"):
        run.plan_for(replace(stack, shape=(20000, 30000, 3)), Settings(max_memory_gb=1.0))


def test_hundreds_of_large_frames_fit_into_the_usual_memory() -> None:
    """300 frames of 24 megapixels, with the default network, on any number of threads."""
    frames = [np.zeros((1, 1, 3), np.uint8)] * 300
    stack = FocalStack(
        frames=frames, names=tuple(map(str, range(300))), shape=(4000, 6000, 3), dtype=np.dtype(np.uint8)
    )
    for threads in (1, 2, 16):
        assert run.plan_for(stack, Settings(threads=threads)).memory_gb <= Settings().max_memory_gb


def test_a_network_sees_every_row_once_and_parts_change_nothing(dome: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It decides the labels, the operator refits them; strips and parts of any size give the same."""
    seen: list[tuple[int, int]] = []
    settings = ALIGNED.but(measure="sesf-stack")
    plan = run.plan_for(dome.stack, settings)
    whole = pipeline.reconstruct(dome.stack, settings)
    estimator = run.make_estimator(settings, pipeline.resolve_geometry(dome.stack, settings))
    rows = estimator.measure.rows
    assert rows is not None

    class Counted:
        def __init__(self, count: int, size_px: tuple[int, int]):
            self.rows = rows.open(count, size_px)

        def push(self, planes: Tensor, above_px: int = 0, below_px: int = 0) -> Tensor:
            seen.append((planes.shape[1] - above_px - below_px, planes.shape[2]))
            return self.rows.push(planes, above_px, below_px)

    counted = replace(estimator, measure=replace(estimator.measure, rows=replace(rows, open=Counted)))
    monkeypatch.setattr(run, "make_estimator", lambda *_: counted)
    for strip_rows, columns, parts in ((20, 96, 1), (64, 64, 2)):
        monkeypatch.setattr(
            run, "plan_for", lambda *_, size=(strip_rows, columns, rows.context_px): replace(plan, sites=size)
        )
        seen.clear()
        cut = pipeline.reconstruct(dome.stack, settings)
        assert sum(height * width for height, width in seen) == parts * dome.index.size
        np.testing.assert_array_equal(cut.depth.index, whole.depth.index)


def test_the_plan_counts_the_network(dome: Scene) -> None:
    """The more memory a column takes in a network, the narrower its parts; where the least does not fit, it is said."""
    few = replace(without_geometry(dome.stack), shape=(64, 9600, 3))
    stack = replace(few, frames=list(few.frames) * 5, names=tuple(map(str, range(5 * len(few)))), files=())

    def planned(column_bytes: float) -> plan.Plan:
        rows = RowMeasure(lambda *_: None, 8, 128, 256, column_bytes)  # type: ignore[arg-type, return-value]
        halos = {"halo_px": 56, "channels": 1, "fusion_halo_px": 16}
        return plan.make_plan(stack, ALIGNED.but(max_memory_gb=1.5), rows=rows, by_bands=True, **halos)  # type: ignore[arg-type]

    plans = [planned(column_bytes) for column_bytes in (500, 3000, 18000)]
    parts = [found.sites[1] for found in plans]
    assert parts[0] > parts[1] > parts[2] > 0
    assert parts[1] % 256 == 0
    assert plans[0].memory_gb <= plans[1].memory_gb <= plans[2].memory_gb <= 1.5
    assert {found.scratch_gb for found in plans} == {plans[0].scratch_gb}
    with pytest.raises(ValueError, match="--max-memory"):
        planned(1e6)


@pytest.mark.filterwarnings("ignore:alignment")
def test_an_alignment_can_be_applied_again(dome: Scene, tmp_path: Path) -> None:
    """The saved transforms give the same result as the run that found them."""
    first = pipeline.reconstruct(dome.stack, Settings(threads=1))
    path = tmp_path / "alignment.json"
    io.write_alignment(first.alignment, path)
    again = pipeline.reconstruct(dome.stack, Settings(threads=1, alignment=str(path)))
    np.testing.assert_array_equal(first.depth.index, again.depth.index)
    with pytest.raises(ValueError, match="must be made for"):
        pipeline.reconstruct(dome.stack.subset(range(5)), Settings(alignment=str(path)))


def test_a_result_folder_is_whole_and_reads_back(dome: Scene, tmp_path: Path) -> None:
    """Every promised file is there, and reading the folder gives the reconstruction."""
    output = tmp_path / "result"
    result = pipeline.reconstruct_to_folder(dome.stack, output, ALIGNED.but(formats="ply,obj,glb,stl,xyz"))
    names = {path.name for path in output.iterdir()}
    assert names >= {
        "all_in_focus.png", "depth.tif", "index.tif", "confidence.tif", "sigma.tif", "alignment.json",
        "reconstruction.json", "points.ply", "mesh.ply", "mesh.obj", "mesh.glb", "mesh.stl", "points.xyz", "previews",
    }  # fmt: skip
    assert not [path for path in tmp_path.rglob("*.part")]
    back = io.read_reconstruction(output)
    np.testing.assert_array_equal(back.depth.index, result.depth.index)
    np.testing.assert_array_equal(back.all_in_focus, result.all_in_focus)
    assert back.settings == result.settings
    assert back.timings_s.keys() == result.timings_s.keys()


def test_an_interrupted_run_leaves_nothing(dome: Scene, tmp_path: Path) -> None:
    """Ctrl-C at any stage leaves neither output nor scratch behind."""
    stages: list[str] = []
    pipeline.reconstruct_to_folder(
        dome.stack, tmp_path / "first", ALIGNED, on_progress=lambda name, *_: stages.append(name)
    )
    for stop_at in sorted(set(stages)):

        def interrupt(stage: str, done: int, total: int, stop_at: str = stop_at) -> None:
            if stage == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pipeline.reconstruct_to_folder(dome.stack, tmp_path / "second", ALIGNED, on_progress=interrupt)
        assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_a_blank_stack_has_no_depth_and_says_so(tmp_path: Path) -> None:
    """Frames without any texture give unknown depth everywhere, no surface, and a warning."""
    frames = [np.full((64, 64, 3), 128, np.uint8)] * 6
    stack = FocalStack(frames=frames, names=tuple("abcdef"), shape=(64, 64, 3), dtype=np.dtype(np.uint8))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = pipeline.reconstruct_to_folder(stack, tmp_path / "result", ALIGNED)
    assert not result.depth.known.any()
    assert (result.depth.confidence == 0).all()
    assert any("no pixel has a trustworthy depth" in str(entry.message) for entry in caught)
    assert not (tmp_path / "result" / "points.ply").exists()
    np.testing.assert_array_equal(result.all_in_focus, frames[0])
