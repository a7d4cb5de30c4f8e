"""The process of a command: what it loads and when, what it does when that fails, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dff.benchmark.speed_stacks import write_speed_stack

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small frames."""
    folder = tmp_path_factory.mktemp("program") / "frames"
    write_speed_stack(folder, 0.05, 6, "jpeg")
    return folder


@pytest.fixture
def no_torch(tmp_path: Path) -> str:
    """A folder before all others on the path, in which torch cannot be loaded."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "torch.py").write_text("raise ImportError('torch is broken')")
    return os.pathsep.join((str(folder), str(ROOT)))


def ran(*words: str | Path, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    """A process of Python's that has ended."""
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *map(str, words)], env=environment, capture_output=True, text=True)


def test_a_library_that_cannot_be_loaded_ends_the_run(frames: Path, tmp_path: Path, no_torch: str) -> None:
    """Though another thread loads it while frames are read: one line, exit code 2, and nothing is left."""
    output = tmp_path / "result"
    done = ran("-m", "dff.cli", "reconstruct", frames, "-o", output, "--quiet", path=no_torch)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == "dff: error: torch is broken"
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_too_little_memory_ends_the_run(tmp_path: Path) -> None:
    """Though frames are read before the plan is known."""
    write_speed_stack(tmp_path / "frames", 1, 3, "jpeg")
    done = ran(
        "-m", "dff.cli", "reconstruct", tmp_path / "frames", "-o", tmp_path / "result", "--quiet", "--max-memory", "0.5"
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("dff: error: --max-memory: 3 frames of")
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_frames_are_registered_without_torch(frames: Path, tmp_path: Path, no_torch: str) -> None:
    """It takes as long to load as a few frames to register."""
    done = ran("-m", "dff.cli", "align", frames, "-o", tmp_path / "aligned", "--quiet", path=no_torch)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "aligned" / "alignment.json").is_file()


def test_the_end_of_a_process_leaves_nothing_undone() -> None:
    """Threads and exit functions are waited for, what was printed is there, and the exit code is as asked."""
    code = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from dff import program
program.begin()
atexit.register(print, "third", end="")
threading.Thread(target=lambda: (time.sleep(0.1), print("first ", end=""))).start()
ThreadPoolExecutor(1).submit(lambda: (time.sleep(0.2), print("second ", end="")))
program.end(3)
"""
    done = ran("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (3, "first second third", "")
