"""A run that is killed at any moment goes on where it stopped, and the result is the same bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dff import io, pipeline
from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import Progress, silent

SETTINGS = Settings(threads=1, step_mm=0.1, pixel_size_mm=0.02, formats="ply,obj", slabs="6/2", max_memory_gb=0.6)
SIZE_PX = 96
MOMENTS = [pytest.param(4, id="4"), pytest.param(20, id="20", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of a dome, moved against each other."""
    folder = tmp_path_factory.mktemp("frames")
    stack = render_scene("hemisphere", size_px=SIZE_PX + 12, frames=10, blur_growth_px=0.5).stack
    for k in range(10):
        io.write_image(folder / f"frame_{k}.png", stack.frames[k][k : k + SIZE_PX, 12 - k : 12 - k + SIZE_PX])
    return folder


@pytest.fixture(scope="module")
def whole(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a run that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole") / "result"
    reconstruct(frames, output, resume=False)
    alignment = io.read_reconstruction(output).alignment
    assert len(np.unique(alignment.transforms, axis=0)) > 5, "half the frames are moved"
    return output


def reconstruct(
    frames: Path, output: Path, settings: Settings = SETTINGS, *, resume: bool = True, on_progress: Progress = silent
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack = pipeline.open_stack(frames, settings)
        plan = replace(pipeline.plan_for(stack, settings), strip_rows=16, fusion=(192 + 32, 192 + 32), workers=(2, 2))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline.run, "plan_for", lambda *_: plan)
            pipeline.reconstruct_to_folder(stack, output, settings, resume=resume, on_progress=on_progress)


def killed(frames: Path, output: Path, cpu_s: float) -> None:
    """A run that the system ends, without a word, once it has used so much processor time."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    reconstruct(frames, output)


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a result; of reconstruction.json all but the times."""
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    found["reconstruction.json"] = json.loads(found["reconstruction.json"])
    del found["reconstruction.json"]["timings_s"]
    return found


def processes() -> Any:
    """Processes that start from one that has everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dff.pipeline", "dff.simulate"])
    return context


@pytest.mark.parametrize("moments", MOMENTS)
def test_a_killed_run_goes_on_to_the_same_result(frames: Path, whole: Path, tmp_path: Path, moments: int) -> None:
    """Whatever the moment: kill -9, then --resume."""
    wanted, rng, context = contents(whole), np.random.default_rng(moments), processes()
    started = time.process_time()
    reconstruct(frames, tmp_path / "timed")
    spent, stopped = time.process_time() - started, 0
    for number in range(moments):
        output = tmp_path / f"result{number}"
        run = context.Process(target=killed, args=(frames, output, rng.uniform(0.02, spent)))
        run.start()
        run.join()
        assert run.exitcode in (0, -signal.SIGPROF)
        stopped += not output.exists()
        if not output.exists():
            reconstruct(frames, output)
        assert contents(output) == wanted
        assert not list(tmp_path.glob(".*"))
    assert stopped > moments / 2, "most were stopped before their end"


def interrupted(frames: Path, output: Path, stage: str, *, resume: bool) -> None:
    """A run that Ctrl-C ends in the middle of a stage."""

    def interrupt(name: str, done: int, total: int) -> None:
        if name == stage and done >= total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(frames, output, resume=resume, on_progress=interrupt)


def test_finished_stages_are_not_run_again(frames: Path, whole: Path, tmp_path: Path) -> None:
    """Ctrl-C keeps what is finished; what goes on starts from there, with less memory and other scratch too."""
    output = tmp_path / "result"
    for stage in ("read frames", "align", "warp", "measure focus", "refine depth", "fuse", "slabs", "mesh"):
        interrupted(frames, output, stage, resume=True)
    stages: dict[str, int] = {}
    other = SETTINGS.but(max_memory_gb=0.7, scratch=str(tmp_path))
    reconstruct(frames, output, other, on_progress=lambda name, done, _: stages.setdefault(name, done))
    assert not stages.keys() & {"read frames", "align", "warp"}
    assert stages["refine depth"] == stages["fuse"] == SIZE_PX
    wanted, found = contents(whole), contents(output)
    for name in ("max_memory_gb", "scratch"):
        del wanted["reconstruction.json"]["settings"][name], found["reconstruction.json"]["settings"][name]
    assert found == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_watcher_is_shown_what_an_earlier_run_read(frames: Path, tmp_path: Path) -> None:
    """All frames, those that are decoded already as their small pictures."""
    output = tmp_path / "result"
    interrupted(frames, output, "read frames", resume=True)
    seen: dict[int, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack = pipeline.open_stack(frames, SETTINGS)
        watcher = pipeline.Watcher(on_frame=seen.__setitem__)
        pipeline.reconstruct_to_folder(stack, output, SETTINGS, resume=True, watcher=watcher)
    assert list(seen) == list(range(10))
    assert all(np.abs(frame.astype(float) / 257 - seen[k]).mean() < 4 for k, frame in enumerate(stack.frames) if k < 4)


def test_without_resume_the_leftovers_go(frames: Path, tmp_path: Path) -> None:
    """A new run deletes what is there, and leaves nothing when it is interrupted."""
    output = tmp_path / "result"
    interrupted(frames, output, "refine depth", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [".result.part"]
    first: list[int] = []

    def interrupt(name: str, done: int, total: int) -> None:
        first.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(frames, output, resume=False, on_progress=interrupt)
    assert first == [0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window_sigma_px": 7.0}, "--resume: the run was begun with --window .*; got 7.0; go on with the same"),
        ({"measure": "laplacian"}, "--measure"),
        ({"every": 2}, "--every 1; got 2"),
    ],
)
def test_other_settings_are_refused(frames: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    """In one line, and what was finished stays."""
    interrupted(frames, tmp_path / "result", "align", resume=True)
    with pytest.raises(ValueError, match=words) as caught:
        reconstruct(frames, tmp_path / "result", SETTINGS.but(**change))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob(".result.part/journal.jsonl"))


def test_changed_frames_are_refused(frames: Path, tmp_path: Path) -> None:
    """A frame that was written again since, and one that is gone."""
    copies = tmp_path / "frames"
    shutil.copytree(frames, copies)
    output = tmp_path / "result"
    interrupted(copies, output, "align", resume=True)
    one = sorted(copies.glob("*.png"))[3]
    os.utime(one)
    with pytest.raises(ValueError, match="got frames that were changed since; go on with the same, or start anew"):
        reconstruct(copies, output)
    one.unlink()
    with pytest.raises(ValueError, match="got other frames"):
        reconstruct(copies, output)


def test_frames_that_are_in_memory_are_not_resumed(tmp_path: Path) -> None:
    """Nothing tells whether they are the same."""
    stack = render_scene("plane", size_px=64, frames=4).stack
    with pytest.raises(ValueError, match="--resume: needs frames that come from files"):
        pipeline.reconstruct_to_folder(stack, tmp_path / "result", resume=True)


def test_two_runs_do_not_write_one_output(frames: Path, tmp_path: Path) -> None:
    """The second is told so in one line, and the first goes on."""
    output = tmp_path / "result"
    seen: list[str] = []

    def second(name: str, done: int, total: int) -> None:
        if not seen:
            seen.append(name)
            with pytest.raises(BlockingIOError, match="one run at a time"):
                reconstruct(frames, output)

    reconstruct(frames, output, on_progress=second)
    assert seen
    assert output.exists()


def test_a_machine_started_anew_starts_the_run_anew(frames: Path, tmp_path: Path) -> None:
    """What the system had not yet written to the disk is lost then, and nothing tells what."""
    output = tmp_path / "result"
    interrupted(frames, output, "refine depth", resume=True)
    journal = tmp_path / ".result.part" / "journal.jsonl"
    header, *rest = journal.read_text().splitlines(keepends=True)
    if json.loads(header)["boot"] is None:
        pytest.skip("this system does not tell when it was started")
    journal.write_text(json.dumps({**json.loads(header), "boot": "another"}) + "\n" + "".join(rest))
    stages: dict[str, int] = {}
    reconstruct(frames, output, on_progress=lambda name, done, _: stages.setdefault(name, done))
    assert stages["read frames"] == 0


def test_an_earlier_result_survives_a_kill_while_it_is_replaced(tmp_path: Path) -> None:
    """It is put back by the next run."""
    target, old = tmp_path / "result", tmp_path / ".result.part" / "old"
    old.mkdir(parents=True)
    (old / "a").write_text("1")
    with pytest.raises(KeyboardInterrupt), io.staged_folder(target):
        raise KeyboardInterrupt
    assert (target / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
