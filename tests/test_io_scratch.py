"""Scratch files and files that appear whole or not at all."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dff.io import (
    ScratchStack,
    atomic_folder,
    atomic_path,
    check_space,
    clear_scratch,
    scratch,
    staged_folder,
    write_json,
)
from dff.io.atomic import read_json

SHAPE = (37, 23, 3)


def frames(dtype: str) -> np.ndarray:
    return (np.random.default_rng(0).random((5, *SHAPE)) * 200).astype(dtype)


def interrupt(path: Path) -> None:
    """Ctrl-C in the middle of writing."""
    path.write_text("half")
    raise KeyboardInterrupt


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_what_is_written_is_read(tmp_path: Path, dtype: str) -> None:
    """By frame, by rows of all frames, by rows of one frame, in any order of writing."""
    values = frames(dtype)
    with ScratchStack.create(tmp_path, 5, SHAPE, dtype) as stack:
        for k in (3, 0, 4, 1, 2):
            stack.write_frame(k, values[k])
        assert len(stack) == 5
        np.testing.assert_array_equal(stack.read_frame(3), values[3])
        np.testing.assert_array_equal(stack[-1], values[4])
        for start, stop in ((0, 37), (5, 6), (30, 37)):
            rows = stack.read_rows(start, stop)
            assert rows.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(rows, values[:, start:stop])
            np.testing.assert_array_equal(stack.read_frame_rows(2, start, stop), values[2, start:stop])


def test_frames_larger_than_a_read_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write and read less than asked for at a time."""
    monkeypatch.setattr(scratch, "_CHUNK", 1000)
    values = frames("uint16")
    with ScratchStack.create(tmp_path, 5, SHAPE, "uint16") as stack:
        for k in range(5):
            stack.write_frame(k, values[k])
        np.testing.assert_array_equal(stack.read_rows(1, 36), values[:, 1:36])


def test_a_frame_of_a_view_is_written_as_it_looks(tmp_path: Path) -> None:
    """Strides do not matter."""
    values = frames("uint8")
    with ScratchStack.create(tmp_path, 1, SHAPE, "uint8") as stack:
        stack.write_frame(0, values[0][::-1, ::-1])
        np.testing.assert_array_equal(stack.read_frame(0), values[0][::-1, ::-1])


def test_the_file_goes_whatever_happens(tmp_path: Path) -> None:
    """On leaving the block, by an exception too; on close; when forgotten."""
    with pytest.raises(KeyboardInterrupt), ScratchStack.create(tmp_path, 2, SHAPE, "uint8") as stack:
        interrupt(stack.path)
    stack = ScratchStack.create(tmp_path, 2, SHAPE, "uint8")
    stack.close()
    stack.close()
    forgotten = ScratchStack.create(tmp_path, 2, SHAPE, "uint8")
    del forgotten
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="must be open; got a closed scratch file"):
        stack.read_frame(0)


def test_memory_is_not_mapped(tmp_path: Path) -> None:
    """A process that reads strips of a file larger than its frames stays small."""
    program = (
        "import resource, sys, numpy as np\n"
        "from dff.io import ScratchStack\n"
        "with ScratchStack.create(sys.argv[1], 60, (1000, 1000, 3), 'uint8') as stack:\n"
        "    frame = np.ones((1000, 1000, 3), np.uint8)\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    for k in range(60): stack.write_frame(k, frame)\n"
        "    for top in range(0, 1000, 50): stack.read_rows(top, top + 50)\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000, "kB more than before, of a file of 180 MB"


@pytest.mark.parametrize(
    ("k", "array", "kind", "message"),
    [
        (
            0,
            np.zeros((3, 4, 3), np.uint8),
            ValueError,
            r"scratch frame 0: must be uint8 \(37, 23, 3\); got uint8 \(3, 4, 3\)",
        ),
        (0, np.zeros(SHAPE, np.uint16), ValueError, "got uint16"),
        (5, np.zeros(SHAPE, np.uint8), IndexError, "must be from 0 to 4; got 5"),
        (-1, np.zeros(SHAPE, np.uint8), IndexError, "must be from 0 to 4; got -1"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, k: int, array: np.ndarray, kind: type, message: str) -> None:
    """Another shape, another type, no such frame."""
    with ScratchStack.create(tmp_path, 5, SHAPE, "uint8") as stack, pytest.raises(kind, match=message):
        stack.write_frame(k, array)


def test_rows_outside_are_refused(tmp_path: Path) -> None:
    """No strip reaches into the next frame."""
    with ScratchStack.create(tmp_path, 5, SHAPE, "uint8") as stack:
        for start, stop in ((0, 38), (-1, 3), (4, 4)):
            with pytest.raises(ValueError, match="rows: must lie in 0 to 37"):
                stack.read_rows(start, stop)
            with pytest.raises(ValueError, match="rows: must lie in 0 to 37"):
                stack.read_frame_rows(0, start, stop)


def test_too_little_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """With both sizes and the option that helps."""
    with pytest.raises(OSError, match=r"the scratch file needs 1e\+06 GB of disk; got .* GB free; .* --scratch"):
        ScratchStack.create(tmp_path, 1000, (10**6, 10**6, 1), "uint8")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="the result needs"):
        check_space(tmp_path / "new", 10**18, "the result")
    check_space(tmp_path / "new", 1, "the result")


def test_scratch_of_dead_processes_is_cleared(tmp_path: Path) -> None:
    """That of living ones, of other machines, and other files stay."""
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    host = socket.gethostname()
    gone = tmp_path / f"dff-scratch-{host}-{int(dead.stdout)}-abc.part"
    kept = [
        tmp_path / f"dff-scratch-{host}-{os.getpid()}-abc.part",
        tmp_path / f"dff-scratch-elsewhere-{int(dead.stdout)}-abc.part",
        tmp_path / "dff-scratch-notes.part",
    ]
    for path in (gone, *kept):
        path.write_text("x")
    assert clear_scratch(tmp_path) == [gone]
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_killed_run_is_cleared_by_the_next(tmp_path: Path) -> None:
    """Even one that could not clean up."""
    program = (
        "import os, signal, sys\nfrom dff.io import ScratchStack\n"
        "stack = ScratchStack.create(sys.argv[1], 1, (9, 9, 1), 'uint8')\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with ScratchStack.create(tmp_path, 1, (9, 9, 1), "uint8") as stack:
        assert list(tmp_path.iterdir()) == [stack.path]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """The old content stays until the new is complete, also on Ctrl-C."""
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as temporary:
        assert temporary.name == "a.txt.part"
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        interrupt(temporary)
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_files_that_name_each_other_appear_together(tmp_path: Path) -> None:
    """A mesh and its texture, by writers that choose the format by the ending."""
    with atomic_folder(tmp_path) as temporary:
        for name in ("mesh.obj", "mesh.mtl"):
            (temporary / name).write_text(name)
        assert list(tmp_path.iterdir()) == [temporary]
    assert {path.name for path in tmp_path.iterdir()} == {"mesh.obj", "mesh.mtl"}
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path) as temporary:
        interrupt(temporary / "mesh.obj")
    assert (tmp_path / "mesh.obj").read_text() == "mesh.obj"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """An earlier folder is replaced as a whole at the end, or stays as it was."""
    target = tmp_path / "result"
    with staged_folder(target) as staging:
        (staging / "a").write_text("1")
        assert not target.exists()
    with pytest.raises(KeyboardInterrupt), staged_folder(target) as staging:
        interrupt(staging / "b")
    assert [path.name for path in target.iterdir()] == ["a"]
    with staged_folder(target) as staging:
        (staging / "b").write_text("2")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [target]


def test_json_is_strict_and_keeps_every_digit(tmp_path: Path) -> None:
    """NaN is null, arrays are lists on one line, text keeps its brackets and accents."""
    value = {"a": np.array([0.1, np.nan, 1 / 3]), "path": Path("x"), "text": "f[1, 2]é", "n": np.int64(3), "none": None}
    write_json(tmp_path / "a.json", value)
    assert "[0.1, null, 0.3333333333333333]" in (tmp_path / "a.json").read_text(encoding="utf-8")
    back = {"a": [0.1, None, 1 / 3], "path": "x", "text": "f[1, 2]é", "n": 3, "none": None}
    assert read_json(tmp_path / "a.json") == back
