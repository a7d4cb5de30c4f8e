"""Many stacks: a bad one stops nothing, a killed process costs an attempt, what is done is kept."""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dff import io, pipeline
from dff.batch import Row, run_batch, watch_folder
from dff.batch.forecast import Expected, Forecast
from dff.batch.watch import Arrivals
from dff.settings import Settings
from dff.simulate import render_scene

SETTINGS = Settings(align="none", threads=1, z_file="z.csv", formats="ply", max_memory_gb=0.6)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stacks, one of them deeper, and one of files that are no pictures."""
    folder = tmp_path_factory.mktemp("batch") / "stacks"
    for name, shape in (("dome", "hemisphere"), ("day 1/tilt", "plane")):
        io.write_scene(render_scene(shape, size_px=64, frames=6, blur_growth_px=0.5), folder / name)
    (folder / "bad").mkdir()
    for k in range(3):
        (folder / "bad" / f"{k}.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


def states(rows: list[Row]) -> dict[str, str]:
    return {row.name: row.state for row in rows}


def assert_same(result: Path, stack: Path, output: Path) -> None:
    """A result has the maps of a run of its own, bit for bit."""
    settings = SETTINGS.but(z_file=str(stack / "z.csv"))
    single = pipeline.reconstruct_to_folder(pipeline.open_stack(stack, settings), output, settings)
    found = io.read_reconstruction(result)
    np.testing.assert_array_equal(found.depth.index, single.depth.index)
    np.testing.assert_array_equal(found.depth.confidence, single.depth.confidence)
    np.testing.assert_array_equal(found.all_in_focus, single.all_in_focus)


def test_stacks_are_found_at_any_depth(stacks: Path, tmp_path: Path) -> None:
    """Folders of frames, files of many pages; not results, not hidden folders."""
    shutil.copytree(stacks, tmp_path / "all")
    for name in (".hidden", "result"):
        shutil.copytree(stacks / "dome", tmp_path / "all" / name)
    (tmp_path / "all" / "result" / "reconstruction.json").write_text("{}")
    pages = tmp_path / "all" / "more" / "pages.tif"
    pages.parent.mkdir()
    tifffile.imwrite(pages, np.zeros((4, 8, 8), np.uint8), photometric="minisblack")
    assert list(io.list_stacks(tmp_path / "all")) == ["bad", "day 1/tilt", "dome", "more/pages.tif"]


def test_a_batch_is_the_single_runs(stacks: Path, tmp_path: Path) -> None:
    """The same maps bit for bit, a bad stack as a line of the table, and nothing is done twice."""
    stages: list[str] = []
    rows = run_batch(stacks, tmp_path / "out", SETTINGS, jobs=2, on_stage=lambda job, stage, *_: stages.append(job))
    assert states(rows) == {"bad": "failed", "day 1/tilt": "done", "dome": "done"}
    assert set(stages) == {"day 1/tilt", "dome"}
    with (tmp_path / "out" / "batch.csv").open(newline="") as file:
        table = {line["name"]: line for line in csv.DictReader(file)}
    assert "must be whole" in table["bad"]["error"]
    assert float(table["dome"]["known_percent"]) > 60
    page = (tmp_path / "out" / "batch.html").read_text()
    assert "must be whole" in page
    assert "day%201/tilt" in page
    assert_same(tmp_path / "out" / "dome", stacks / "dome", tmp_path / "single")
    assert states(run_batch(stacks, tmp_path / "out", SETTINGS)) == {
        "bad": "failed", "day 1/tilt": "kept", "dome": "kept",
    }  # fmt: skip
    other = run_batch(stacks, tmp_path / "out", SETTINGS.but(window_sigma_px=7.0))
    assert all("replace it with --force" in row.error for row in other if row.name != "bad")


def test_a_folder_without_stacks_is_refused(tmp_path: Path) -> None:
    """In one line."""
    with pytest.raises(ValueError, match="must hold focal stacks; got none"):
        run_batch(tmp_path, tmp_path / "out")


def test_a_killed_process_costs_an_attempt_only(stacks: Path, tmp_path: Path) -> None:
    """The stack goes on in a new process, and is the same; a stack that kills every process fails alone."""
    killed: list[str] = []

    def kill(job: str, stage: str, done: int, total: int) -> None:
        if job == "dome" and stage == "refine depth" and len(killed) < limit:
            killed.append(job)
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)

    for limit, state in ((1, "done"), (2, "failed")):
        killed.clear()
        rows = run_batch(stacks, tmp_path / f"out{limit}", SETTINGS, jobs=1, on_stage=kill)
        row = next(row for row in rows if row.name == "dome")
        assert (row.state, row.attempts) == (state, 2)
        assert states(rows)["day 1/tilt"] == "done"
        assert state == "done" or "SIGKILL" in row.error


def test_stacks_wait_for_memory(stacks: Path, tmp_path: Path) -> None:
    """Two that do not fit together run one after the other, although there are cores."""
    at_work: set[str] = set()
    most = 0

    def watch(job: str, stage: str, done: int, total: int) -> None:
        nonlocal most
        at_work.add(job)
        most = max(most, len(at_work))

    run_batch(
        stacks,
        tmp_path / "out",
        SETTINGS,
        jobs=2,
        memory_gb=0.7,
        on_stage=watch,
        on_row=lambda row, _: at_work.discard(row.name),
    )
    assert most == 1


def test_a_stack_has_settled_when_nothing_changes(tmp_path: Path) -> None:
    """Files that still grow or arrive make it wait; a later change makes it arrive again."""
    arrivals, folder = Arrivals(tmp_path, settle_s=5), tmp_path / "a"
    folder.mkdir()

    def look(now_s: float) -> list[str]:
        return [name for name, _ in arrivals.settled(now_s)]

    assert look(0) == []
    (folder / "1.jpg").write_bytes(b"x")
    assert (look(1), look(5)) == ([], [])
    (folder / "1.jpg").write_bytes(b"xy")
    assert (look(6), look(10), look(11), look(20)) == ([], [], ["a"], [])
    (folder / "2.jpg").write_bytes(b"x")
    assert (look(21), look(26), look(40)) == ([], ["a"], [])


def test_stacks_are_reconstructed_as_they_arrive(stacks: Path, tmp_path: Path) -> None:
    """One that arrives during the watch, a bad one in between, and one that changes later."""
    inbox, rows = tmp_path / "inbox", []

    def arrive() -> bool:
        if not inbox.exists():
            shutil.copytree(stacks / "bad", inbox / "bad")
            shutil.copytree(stacks / "dome", inbox / "dome")
        elif len(rows) == 2:
            (inbox / "dome" / "note.txt").write_text("later")
            shutil.copytree(stacks / "day 1" / "tilt", inbox / "tilt", dirs_exist_ok=True)
        return len(rows) < 3 and time.monotonic() < deadline

    deadline = time.monotonic() + 60
    watch_folder(inbox, tmp_path / "out", SETTINGS, settle_s=0.1, interval_s=0.2, on_row=rows.append, goes_on=arrive)
    assert [(row.name, row.state) for row in rows] == [("bad", "failed"), ("dome", "done"), ("tilt", "done")]
    assert not multiprocessing.active_children()


def test_an_interrupted_batch_leaves_no_process_and_goes_on(stacks: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a stack: what is finished of it is not done again."""

    def interrupt(job: str, stage: str, done: int, total: int) -> None:
        if job == "dome" and stage == "refine depth":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(stacks, tmp_path / "out", SETTINGS, jobs=1, on_stage=interrupt)
    assert not multiprocessing.active_children()
    stages: set[str] = set()
    rows = run_batch(
        stacks, tmp_path / "out", SETTINGS, jobs=1, on_stage=lambda job, stage, *_: stages.add(f"{job} {stage}")
    )
    assert states(rows) == {"bad": "failed", "day 1/tilt": "kept", "dome": "done"}
    assert "dome align" not in stages
    assert "dome refine depth" in stages


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster of two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit="2GB"
    ) as local:
        yield local.scheduler_address


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_and_survives_a_killed_worker(cluster: str, stacks: Path, tmp_path: Path) -> None:
    """A worker killed in the middle of a stack: another goes on with it, and the result is the same bit for bit."""
    killer = threading.Thread(target=_kill_at_work, args=(cluster, tmp_path / "out" / ".dome.part"))
    killer.start()
    rows = run_batch(stacks, tmp_path / "out", SETTINGS, scheduler=cluster)
    killer.join()
    assert states(rows) == {"bad": "failed", "day 1/tilt": "done", "dome": "done"}
    assert_same(tmp_path / "out" / "dome", stacks / "dome", tmp_path / "single")


def _kill_at_work(address: str, work: Path) -> None:
    """Kill -9 the worker process that has begun a stack."""
    from distributed import Client

    deadline = time.monotonic() + 60
    while not (work / "journal.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with Client(address) as client:
        tasks = client.processing()
        busy = next(worker for worker, keys in tasks.items() if any("dome" in str(key) for key in keys))
        pid = client.run(os.getpid, workers=[busy])[busy]
    os.kill(pid, signal.SIGKILL)


def test_a_scheduler_that_is_not_there_is_one_line(
    stacks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the address."""
    pytest.importorskip("distributed")
    from dff.batch import cluster as module

    monkeypatch.setattr(module, "_WAIT_S", 0.5)
    with pytest.raises(OSError, match=r"must be a Dask scheduler; got no answer from tcp://127\.0\.0\.1:9"):
        run_batch(stacks, tmp_path / "out", SETTINGS, scheduler="tcp://127.0.0.1:9")


def test_a_dry_run_tells_what_each_stack_takes(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a stack and the sum; nothing is written."""
    from dff import cli

    call = ["batch", str(stacks), "-o", str(tmp_path / "out"), "--align", "none", "--quiet", "--dry-run"]
    assert cli.main([*call, "--jobs", "2", "--total-memory", "3"]) == 0
    told = capsys.readouterr().err
    for words in (
        "dome        6 of 64 x 64 px",
        "GB of memory",
        "bad",
        "2 to do, 0 kept, 1 that cannot",
        "within 3.0 GB",
    ):
        assert words in told
    assert list(tmp_path.iterdir()) == []


def test_the_time_of_a_batch_is_that_of_stacks_side_by_side() -> None:
    """As many at a time as cores and memory allow, each as soon as there is room."""
    stacks = tuple(Expected(str(k), 6, (64, 64), gb, 1.0, s) for k, (s, gb) in enumerate([(10, 1), (4, 1), (3, 1)]))
    assert Forecast(stacks, (), 1, 9.0).seconds == 17
    assert Forecast(stacks, (), 2, 9.0).seconds == 10
    assert Forecast(stacks, (), 3, 2.0).seconds == 10
    assert Forecast(stacks, (), 3, 1.5).seconds == 17
    assert Forecast(stacks, (), 3, 0.5).seconds == 17
    assert Forecast((), (), 3, 0.5).seconds == 0
