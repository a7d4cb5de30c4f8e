"""The first run has another process compile loops, and only that."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from dff import compiled
from dff.pipeline import first_run
from dff.pipeline.first_run import compiled_beside

RUN = """
import sys
from pathlib import Path
from dff.benchmark.speed_stacks import write_speed_stack
from dff import pipeline
from dff.settings import DEFAULTS
folder, settings = Path(sys.argv[1]), DEFAULTS.but(threads=1)
write_speed_stack(folder / "frames", 0.2, 5, "jpeg")
stack = pipeline.open_stack(folder / "frames", settings)
pipeline.reconstruct_to_folder(stack, folder / "result", settings)
for name, part in sorted(sys.modules.items()):
    for loop, made in vars(part).items() if name.startswith("dff.") else ():
        if hasattr(made, "overloads") and made.py_func.__module__ == name:
            print(name, loop, *made.signatures, sep="|")
"""


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for machine code that holds none."""
    monkeypatch.setattr(compiled.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


class Started(list[str]):
    """Helpers that were started, which do nothing."""

    def __call__(self) -> subprocess.Popen[bytes]:
        self.append("one")
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


@pytest.mark.parametrize(("threads", "helpers"), [(2, 1), (1, 0)])
def test_a_run_says_that_it_compiles(threads: int, helpers: int, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And has help where it may use several threads; the helper does not outlive it."""
    started, said = Started(), list[str]()
    monkeypatch.setattr(first_run, "_started", started)
    with compiled_beside(threads, said.append):
        pass
    assert len(started) == helpers
    assert len(said) == 1
    assert "first run" in said[0]


def test_later_runs_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most loops have been compiled."""
    started, said = Started(), list[str]()
    monkeypatch.setattr(first_run, "_started", started)
    monkeypatch.setattr(first_run, "has_machine_code", lambda name: "depth" in name or "fuse" in name)
    with compiled_beside(2, said.append):
        pass
    assert (started, said) == ([], [])


def test_where_nothing_can_be_kept_nobody_helps(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is told what cures it."""
    started, said = Started(), list[str]()
    monkeypatch.setattr(first_run, "_started", started)
    monkeypatch.setattr(first_run.os, "access", lambda *_: False)
    with compiled_beside(2, said.append):
        pass
    assert started == []
    assert str(empty) in said[0]
    assert "NUMBA_CACHE_DIR" in said[0]


def test_the_helper_ends_with_the_run() -> None:
    """However that ends: its end of the pipe is closed."""
    helper = first_run._started()
    assert helper.stdin is not None
    helper.stdin.close()
    assert helper.wait(30) == 0


def test_loops_are_listed_with_all_their_arguments() -> None:
    """Once each."""
    loops = first_run._loops()
    assert len({(name, loop) for name, loop, _ in loops}) == len(loops)
    for name, loop, types in loops:
        function = getattr(importlib.import_module(name), loop).py_func
        assert len(inspect.signature(function).parameters) == len(types.split()), f"{name}.{loop}"


def test_a_run_calls_loops_with_the_types_of_the_list(tmp_path: Path) -> None:
    """From the lattice on: what it compiles is what the helper compiles."""
    done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, check=True)
    listed = {(name, loop): types for name, loop, types in first_run._loops()}
    called = [line.split("|") for line in done.stdout.splitlines()]
    assert len(called) > len(listed) / 2
    for name, loop, *signatures in called:
        if not name.startswith(("dff.align", "dff.focus")) and signatures:
            expected = str(tuple(map(compiled._type, listed.get((name, loop), "").split())))
            assert signatures == [expected], f"{name}.{loop} is called with {signatures}: say so in LOOPS"
