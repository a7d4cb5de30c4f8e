"""What a run has finished, stage by stage and strip by strip, so that the next one can go on after it.

Every stage is a function of its inputs alone, and strips do not depend on how the picture is cut: what is kept is
therefore exactly what would be computed again, and a resumed run gives the same result bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff import io
from dff.pipeline.memory import give_back_freed_memory
from dff.pipeline.plan import kept_gb
from dff.settings import VERSION, Settings, flag_of
from dff.stack import Alignment, FocalStack, Progress

_FILE = "journal.jsonl"
_FREE = ("threads", "max_memory_gb", "scratch")
"""Options that change nothing of the result: a run may go on with others."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class ResumeError(ValueError):
    """What a killed run left was begun with something else."""


@dataclass
class Journal:
    """What earlier runs finished, and where this one notes the same; without a folder nothing is kept."""

    folder: Path | None = None
    keep: bool = False
    """Whether scratch files outlive an exception."""
    steps: dict[str, int] = field(default_factory=dict)
    """Steps of each stage that were finished before this run."""
    timings_s: dict[str, float] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    """Warnings of the earlier runs."""
    values: dict[str, Any] = field(default_factory=dict)
    last: str = "fuse"
    """The last stage that reads frames."""
    _told: int = 0

    @property
    def resumed(self) -> bool:
        """Whether an earlier run had begun."""
        return bool(self.steps)

    def warn_again(self) -> None:
        """Issue the warnings of the earlier runs."""
        for message in self.messages:
            warnings.warn(message, stacklevel=3)
        self._told = len(self.messages)

    def needs_frames(self, height: int) -> bool:
        """Whether a stage that reads frames was not finished before this run."""
        return self.finished(self.last) < height

    def finished(self, stage: str) -> int:
        """Steps of a stage that were finished before this run."""
        return self.steps.get(stage, 0)

    def note(self, stage: str, done: int, seconds: float, messages: Sequence[str] = ()) -> None:
        """Note that the first steps of a stage are finished, and the warnings so far."""
        if self.folder is not None:
            line = {"stage": stage, "done": done, "s": round(seconds, 3), "warnings": list(messages[self._told :])}
            io.append_line(self.folder / _FILE, line)
            self._told = len(messages)

    def value(self, name: str, find: Callable[[], Any]) -> Any:
        """A value of plain JSON, found once."""
        if name not in self.values:
            self.set_value(name, find())
        return self.values[name]

    def set_value(self, name: str, value: Any) -> None:
        """Keep a value of plain JSON."""
        self.values[name] = value
        if self.folder is not None:
            io.append_line(self.folder / _FILE, {"value": name, "is": value})

    def alignment(self, find: Callable[[], Alignment]) -> Alignment:
        """The alignment, found once."""
        path = None if self.folder is None else self.folder / "alignment.json"
        if path is not None and path.exists():
            return io.read_alignment(path)
        alignment = find()
        if path is not None:
            io.write_alignment(alignment, path)
        return alignment

    def restore(self, name: str, rows: NDArray[Any], done: int) -> None:
        """Fill the first rows of an array (n, ...) with what `keep_rows` kept."""
        if self.folder is not None and done:
            io.read_rows(self.folder / f"{name}.rows", rows, done)

    def keep_rows(self, name: str, rows: NDArray[Any], start: int) -> None:
        """Keep rows (n, ...) of an array, from row `start` on."""
        if self.folder is not None:
            io.write_rows(self.folder / f"{name}.rows", rows, start)

    @contextmanager
    def scratch(self, folder: Path, stack: FocalStack) -> Iterator[io.ScratchStack]:
        """The scratch file of the frames, that of an earlier run if it is there."""
        frames = self._reopened(stack) or io.ScratchStack.create(folder, len(stack), stack.shape, stack.dtype)
        if self.folder is not None:
            self.set_value("scratch", str(frames.path))
        try:
            yield frames
        except BaseException:
            if self.keep:
                frames.release()
            raise
        finally:
            frames.close()

    def _reopened(self, stack: FocalStack) -> io.ScratchStack | None:
        frames = None
        if "scratch" in self.values:
            frames = io.ScratchStack.reopen(self.values["scratch"], len(stack), stack.shape, stack.dtype)
        for stage in ("read frames", "warp"):
            if frames is None and self.finished(stage):
                self.steps[stage] = 0
                self.note(stage, 0, self.timings_s[stage])
        return frames


class Stages:
    """The stages of one run: who is told of their progress, how long they took, and what of them is finished.

    Several threads may be at stages of their own; who is told is told of one thing at a time.
    """

    def __init__(self, on_progress: Progress, journal: Journal, messages: Sequence[str] = ()) -> None:
        self.on_progress = on_progress
        self.journal = journal
        self.messages = messages
        """Warnings so far."""
        self.timings_s = dict(journal.timings_s)
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Time a stage; gives a function to call with the number of steps done, once what they found is kept."""
        started, before = time.perf_counter(), self.timings_s.get(name, 0.0)

        def elapsed() -> float:
            return before + time.perf_counter() - started

        def done(step: int) -> None:
            with self._one_at_a_time:
                self.journal.note(name, step, elapsed(), self.messages)
                self.on_progress(name, step, total)

        with self._one_at_a_time:
            self.on_progress(name, min(self.journal.finished(name), total), total)
        yield done
        give_back_freed_memory()
        with self._one_at_a_time:
            self.timings_s[name] = elapsed()
            self.journal.note(name, total, elapsed(), self.messages)

    def remaining(self, stage: str, items: Sequence[Any]) -> list[tuple[int, Any]]:
        """The (number, item) pairs of a stage that are not finished."""
        return list(enumerate(items))[self.journal.finished(stage) :]


def open_journal(folder: Path, stack: FocalStack, settings: Settings, *, resume: bool = False) -> Journal:
    """The journal of a run in its working folder.

    Args:
        folder: Hidden folder of the run, as `staged_folder` makes it around the result's.
        stack: The frames.
        settings: Every option.
        resume: Go on with what a killed run left, instead of starting anew.

    Raises:
        ResumeError: what is there was begun with other frames, options or versions.
        ValueError: the frames come from no files.
    """
    if resume and not stack.digest:
        raise ValueError("--resume: needs frames that come from files; got frames in memory; leave it out")
    begun, lines = _lines(folder)
    header, last = _header(stack, settings), "fuse" if settings.slabs is None else "slabs"
    if resume and begun:
        _check_same(begun, header)
        if begun["boot"] == header["boot"]:
            return _continued(folder, lines, last)
        warnings.warn("--resume: the machine was started anew since; so is the reconstruction", stacklevel=3)
    io.clear_work(folder)
    (folder / "result").mkdir(exist_ok=True)
    io.check_space(folder, int(kept_gb(stack, settings) * 1e9), "what is kept of finished stages")
    io.append_line(folder / _FILE, header)
    return Journal(folder, keep=resume, last=last)


def fingerprint(stack: FocalStack, settings: Settings) -> str:
    """Short digest of the frames and of the options that a result depends on; empty for frames in memory."""
    if not stack.digest:
        return ""
    header = {key: value for key, value in _header(stack, settings).items() if key not in ("boot", "dff", "libraries")}
    return hashlib.blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=12).hexdigest()


def _lines(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = io.read_lines(folder / _FILE)
    return (lines[0], lines[1:]) if lines else ({}, [])


def _continued(folder: Path, lines: Sequence[dict[str, Any]], last: str) -> Journal:
    for unfinished in list(folder.joinpath("result").rglob("*.part")):
        io.clear_path(unfinished)
    journal = Journal(folder, keep=True, last=last)
    for line in lines:
        if "value" in line:
            journal.values[line["value"]] = line["is"]
        else:
            journal.steps[line["stage"]] = line["done"]
            journal.timings_s[line["stage"]] = line["s"]
            journal.messages += line["warnings"]
    return journal


def _header(stack: FocalStack, settings: Settings) -> dict[str, Any]:
    """Everything that a result depends on."""
    named = {name: Path(str(getattr(settings, name))) for name in ("z_file", "alignment", "weights")}
    tables = {name: path for name, path in named.items() if path.is_file()}
    return {
        "dff": VERSION,
        "libraries": io.library_versions(),
        "settings": {name: value for name, value in settings.as_dict().items() if name not in _FREE},
        "tables": {name: hashlib.blake2b(path.read_bytes()).hexdigest() for name, path in tables.items()},
        "frames": list(stack.names),
        "look": [list(stack.shape), str(stack.dtype), stack.digest],
        "z": None if stack.geometry is None else np.asarray(stack.geometry.z).tolist(),
        "boot": _BOOT.read_text().strip() if _BOOT.exists() else None,
    }


def _check_same(begun: dict[str, Any], now: dict[str, Any]) -> None:
    cure = "go on with the same, or start anew without --resume"
    for spec in fields(Settings):
        then, given = begun["settings"].get(spec.name), now["settings"].get(spec.name)
        if then != given:
            flag = flag_of(spec.name, spec.metadata)
            raise ResumeError(f"--resume: the run was begun with {flag} {then}; got {given}; {cure}")
    for key, what in (
        ("frames", "other frames"),
        ("look", "frames that were changed since"),
        ("z", "another geometry"),
        ("tables", "a table that was changed since"),
        ("dff", "another version of dff"),
        ("libraries", "other versions of the libraries"),
    ):
        if begun.get(key) != now[key]:
            raise ResumeError(f"--resume: the run must go on as it was begun; got {what}; {cure}")
