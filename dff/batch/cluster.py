"""Jobs on a Dask cluster: a task a stack, one stack at a time in a worker process, memory as a resource of workers.

The frames and the results lie where every worker finds them under the same path. A worker that dies costs its stack an
attempt: the scheduler gives it to another, which goes on where the first one stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dff.batch.jobs import Job, Row, run_job
from dff.batch.pool import OnStage
from dff.pipeline import available_memory_gb

_TOPIC = "dff-batch"
_WAIT_S = 60
_TELL_S = 1.0
_POLL_S = 0.5
_MARGIN = 0.9
"""Share of a worker's memory that a stack may take: its nanny ends a worker that takes nearly all."""


class StackError(RuntimeError):
    """A stack failed in a way that may pass."""


def run_on_cluster(jobs: Sequence[Job], scheduler: str, *, retries: int, on_stage: OnStage) -> Iterator[Row]:
    """Reconstruct stacks on the workers of a scheduler; gives the row of each as it ends.

    Args:
        jobs: The stacks.
        scheduler: Address such as tcp://host:8786.
        retries: Further attempts at a stack that failed for want of memory, disk or network.
        on_stage: Called as (stack, stage, done, total).

    Raises:
        ImportError: Dask is not installed.
        OSError: there is no such scheduler, or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("--scheduler: needs Dask; it is not installed; pip install 'dff[cluster]'") from error
    if not jobs:
        return
    try:
        client = Client(scheduler, timeout=_WAIT_S)
    except (OSError, ValueError) as error:
        raise OSError(f"--scheduler: must be a Dask scheduler; got no answer from {scheduler}; start one") from error
    with client:
        largest_gb = _with_resources(client, scheduler)
        client.subscribe_topic(_TOPIC, lambda event: on_stage(*event[1]["told"]))
        yield from _ended(client, [_within(job, largest_gb) for job in jobs], retries)


def _with_resources(client: Any, scheduler: str) -> float:
    """Let every worker, later ones too, offer its memory and one stack; gives the memory of the largest."""
    from distributed import WorkerPlugin

    class Offer(WorkerPlugin):
        """Resources of a worker that was started without them."""

        name = "dff-offer"

        async def setup(self, worker: Any) -> None:
            await worker.set_resources(dff_memory_gb=_memory_of(worker), dff_stacks=1)

    client.register_plugin(Offer())
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        offered = client.run_on_scheduler(_offered)
        if any(offered):
            return float(max(offered))
        time.sleep(_POLL_S)
    raise OSError(f"--scheduler: must have workers; got none from {scheduler} within {_WAIT_S} s; start dask worker")


def _offered(dask_scheduler: Any) -> list[float]:
    return [worker.resources.get("dff_memory_gb", 0.0) for worker in dask_scheduler.workers.values()]


def _memory_of(worker: Any) -> float:
    limit = worker.memory_manager.memory_limit
    return _MARGIN * limit / 1e9 if limit else available_memory_gb()


def _within(job: Job, limit_gb: float) -> Job:
    """A job that fits into the largest worker."""
    if job.memory_gb <= limit_gb:
        return job
    settings = job.settings.but(max_memory_gb=max(0.5, limit_gb))
    return replace(job, settings=settings, memory_gb=limit_gb)


def _ended(client: Any, jobs: Sequence[Job], retries: int) -> Iterator[Row]:
    from distributed import as_completed

    futures = {
        client.submit(
            run_task,
            job,
            key=f"{job.name}-{job.digest}-{time.time_ns()}",
            pure=False,
            retries=retries,
            resources={"dff_memory_gb": job.memory_gb, "dff_stacks": 1},
        ): job
        for job in jobs
    }
    try:
        for future in as_completed(futures):
            job = futures[future]
            error = future.exception()
            yield future.result() if error is None else Row(job.name, "failed", _told(error), job.digest)
            future.release()
    except BaseException:
        client.cancel(list(futures), force=True)
        raise


def _told(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "the workers must reach the end of the stack; got all of them killed; look for too little memory"
    return " ".join(str(error).split()) or type(error).__name__


def run_task(job: Job) -> Row:
    """A job in a worker: tells its progress, and ends early when it was cancelled.

    Raises:
        StackError: a failure that may pass, which the scheduler tries again.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    told = 0.0

    def on_progress(stage: str, done: int, total: int) -> None:
        nonlocal told
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise StackError("the batch must go on; got it cancelled; run the same command again")
        if done == total or time.monotonic() - told > _TELL_S:
            told = time.monotonic()
            worker.log_event(_TOPIC, {"told": (job.name, stage, done, total)})

    threads = job.settings.threads or worker.state.nthreads
    row = run_job(replace(job, settings=job.settings.but(threads=threads)), on_progress)
    if row.again:
        raise StackError(row.error)
    return row
