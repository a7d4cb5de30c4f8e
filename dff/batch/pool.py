"""Jobs in processes of this machine, as many at a time as memory, disk and cores allow.

A process that dies, killed for want of memory for example, costs its job an attempt and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from dff import program
from dff.batch.jobs import Job, Row, run_job, with_attempts
from dff.pipeline import available_memory_gb

_TELL_S = 0.2
"""Progress is told at most this often."""

OnStage = Callable[[str, str, int, int], None]
"""Called as (job, stage, done, total)."""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_gb(memory_gb: float) -> float:
    """Memory that all jobs together may take: what was asked for, or nearly all that is free."""
    return memory_gb or 0.9 * available_memory_gb()


@dataclass
class _Worker:
    process: Any
    connection: Connection
    job: Job | None = None
    attempts: int = 0


class Pool:
    """Worker processes, and the jobs that wait for one."""

    def __init__(self, jobs: int, memory_gb: float, retries: int, on_stage: OnStage) -> None:
        """At most so many jobs at a time, together within so much memory; 0 lets the machine decide."""
        self.jobs = jobs or cores()
        self.memory_gb = share_gb(memory_gb)
        self.retries = retries
        self.on_stage = on_stage
        self._waiting: deque[tuple[Job, int]] = deque()
        self._workers: list[_Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        """End every process at once; what their jobs have finished stays for the next time."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers.clear()

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._waiting and not any(worker.job for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn."""
        self._waiting.append((job, 1))

    def poll(self, timeout_s: float = 0.5) -> list[Row]:
        """Begin what can begin, and give the rows of jobs that ended within a time."""
        self._begin()
        busy = {worker.connection: worker for worker in self._workers if worker.job}
        if not busy:
            time.sleep(0 if self._waiting else timeout_s)
            return []
        rows = [self._heard(busy[link]) for link in wait(list(busy), timeout_s) if isinstance(link, Connection)]
        return [row for row in rows if row]

    def _begin(self) -> None:
        for job, attempts in list(self._waiting):
            running = [worker.job for worker in self._workers if worker.job]
            if len(running) >= self.jobs:
                return
            if running and not self._fits(job, running):
                continue
            self._waiting.remove((job, attempts))
            worker = next((worker for worker in self._workers if not worker.job), None) or self._new_worker()
            worker.job, worker.attempts = job, attempts
            worker.connection.send(job)

    def _fits(self, job: Job, running: list[Job]) -> bool:
        memory_gb = sum(other.memory_gb for other in running) + job.memory_gb
        scratch_gb = sum(other.scratch_gb for other in running) + job.scratch_gb
        folder = Path(job.settings.scratch or job.output)
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        apart = all(other.output != job.output for other in running)
        return apart and memory_gb <= self.memory_gb and scratch_gb * 1e9 <= shutil.disk_usage(existing).free

    def _new_worker(self) -> _Worker:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([run_job.__module__])
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there,), daemon=True)
        process.start()
        there.close()
        self._workers.append(_Worker(process, here))
        return self._workers[-1]

    def _heard(self, worker: _Worker) -> Row | None:
        """What a worker says: progress, or the row of its job; None where the job goes on."""
        job = worker.job
        if job is None:
            return None
        try:
            said = worker.connection.recv()
        except (EOFError, OSError):
            said = self._buried(worker)
        if not isinstance(said, Row):
            self.on_stage(job.name, *said)
            return None
        worker.job = None
        if said.again and worker.attempts <= self.retries:
            self._waiting.append((job, worker.attempts + 1))
            return None
        return with_attempts(said, worker.attempts)

    def _buried(self, worker: _Worker) -> Row:
        """The row of a job whose process died."""
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        name = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        job = worker.job
        return Row(
            job.name if job else "",
            "failed",
            f"the process must reach its end; got {name}; look for too little memory, or lower --jobs",
            job.digest if job else "",
            again=True,
        )


def _work(connection: Connection) -> None:
    """A worker: jobs in, progress and rows out, until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    program.tell_libraries()
    told = 0.0

    def on_progress(stage: str, done: int, total: int) -> None:
        nonlocal told
        if done in (0, total) or time.monotonic() - told > _TELL_S:
            told = time.monotonic()
            connection.send((stage, done, total))

    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(run_job(job, on_progress))
