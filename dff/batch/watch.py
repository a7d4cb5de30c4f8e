"""New stacks are reconstructed as they arrive, for a rig that shoots all day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dff import io
from dff.batch.jobs import Row
from dff.batch.pool import OnStage, Pool
from dff.batch.run import Record, no_stage
from dff.settings import DEFAULTS, Settings

Signature = tuple[int, int, int]
"""Number of files, their bytes together, and the time of the latest change in ns."""


def signature(stack: Path) -> Signature:
    """What changes as long as files of a stack are written."""
    found = []
    for path in io.files_of(stack):
        try:
            found.append(path.stat())
        except FileNotFoundError:
            continue  # renamed while we looked
    return len(found), sum(s.st_size for s in found), max((s.st_mtime_ns for s in found), default=0)


@dataclass
class Arrivals:
    """Stacks below a folder that have not changed for a while, each given once for each change."""

    folder: Path
    settle_s: float
    _seen: dict[str, tuple[Signature, float]] = field(default_factory=dict)
    _given: dict[str, Signature] = field(default_factory=dict)

    def settled(self, now_s: float) -> Iterator[tuple[str, Path]]:
        """Name and path of the stacks that have just settled.

        Args:
            now_s: Time of any clock that only moves forward.
        """
        for name, path in io.list_stacks(self.folder).items():
            now = signature(path)
            before, since_s = self._seen.get(name, (None, now_s))
            if now != before:
                self._seen[name] = (now, now_s)
            elif now_s - since_s >= self.settle_s and self._given.get(name) != now and now[1]:
                self._given[name] = now
                yield name, path


def watch_folder(
    folder: str | Path,
    results: str | Path,
    settings: Settings = DEFAULTS,
    *,
    settle_s: float = 10.0,
    interval_s: float = 2.0,
    jobs: int = 1,
    memory_gb: float = 0.0,
    retries: int = 1,
    on_stage: OnStage = no_stage,
    on_row: Callable[[Row], None] = lambda row: None,
    goes_on: Callable[[], bool] = lambda: True,
) -> None:
    """Reconstruct every stack below a folder once it has settled, until interrupted.

    A stack that fails is left alone until its files change; one that changes after it was done is done again. What is
    unfinished when the watch ends is finished by the next one.

    Args:
        folder: Folder that stacks arrive in, as for `run_batch`; it may appear later.
        results: Folder for a result folder a stack.
        settings: Every option of every stack.
        settle_s: Seconds that the files of a stack have to stay as they are.
        interval_s: Seconds between looks at the folder.
        jobs: Stacks at a time.
        memory_gb: Memory that all stacks together may take; 0 takes what is free.
        retries: Further attempts at a stack that failed for want of memory or disk.
        on_stage: Called as (stack, stage, done, total).
        on_row: Called with the row of each stack as it ends.
        goes_on: Asked after each look.
    """
    arrivals, record = Arrivals(Path(folder), settle_s), Record(Path(results))

    def end(row: Row) -> None:
        record.add(row)
        record.write_tables([record.rows[name] for name in sorted(record.rows)])
        on_row(row)

    with Pool(jobs, memory_gb, retries, on_stage) as pool:
        while goes_on():
            looked_s = time.monotonic()
            for name, path in arrivals.settled(looked_s) if arrivals.folder.is_dir() else ():
                job = record.job(name, path, settings, force=True)
                if not isinstance(job, Row):
                    pool.submit(job)
                elif job.state == "failed":
                    end(job)
            while time.monotonic() < looked_s + interval_s:
                for row in pool.poll(interval_s / 4):
                    end(row)
